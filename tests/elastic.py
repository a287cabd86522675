"""Bodies of Elasticsearch's `_bulk` for tests."""

from __future__ import annotations

import json
from typing import Any, Final

from ess_ray.intake.decoded import Decoded

NDJSON: Final = "application/x-ndjson"


def lines(*values: Any) -> bytes:
    """Write a line for each value; bytes are as they are."""
    return b"".join((value if isinstance(value, bytes) else json.dumps(value).encode()) + b"\n" for value in values)


def create(document: Any, **about: Any) -> bytes:
    """Write an action and its document; `id` and `index` are what the action says."""
    return lines({"create": {f"_{name}": value for name, value in about.items()}}, document)


def items_of(decoded: Decoded) -> list[tuple[str, dict[str, Any]]]:
    """Read what is told of each action: its name, and its item."""
    read = json.loads(b"[" + decoded.told + b"]")
    return [pair for item in read for pair in item.items()]
