"""JSON of values with integers of any size: a client's numbers go out as they came in.

May live here: value -> text. May not: what is written, reading (`json` reads such integers, `orjson` rounds them).
"""

from __future__ import annotations

import json
from typing import Any

import orjson


def dumps(value: Any) -> bytes:
    """Write a JSON value; keys may be numbers. Raises TypeError for what is none."""
    try:
        return orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS)
    except TypeError:  # also for integers beyond 64 bits, which are rare, and cost more
        return json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()
