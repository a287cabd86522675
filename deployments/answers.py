"""JSON answers, made in one way by every application.

May live here: how a value becomes an answer. May not: errors (`problem`), events (`sse`), what is answered.
"""

from __future__ import annotations

from typing import Any

import orjson
from fastapi import Response


def json_answer(content: Any, status: int = 200) -> Response:
    """Make an answer of a JSON value; keys may be numbers, as those of virtual nodes are."""
    return Response(orjson.dumps(content, option=orjson.OPT_NON_STR_KEYS), status, media_type="application/json")
