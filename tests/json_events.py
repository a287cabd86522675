"""Events pushed as JSON, decoded as they are read one by one."""

from __future__ import annotations

import json
from typing import Any

from ess_ray.core.event import RECORD_SCHEMA
from ess_ray.intake.decoded import Decoded
from ess_ray.intake.formats.format import Body
from ess_ray.intake.formats.json_events import decode_events
from ess_ray.intake.limits import IntakeLimits

NOW_US = 1_790_000_000_000_000
LIMITS = IntakeLimits()
TEN_YEARS_US = LIMITS.max_event_age_us


def decode(document: Any, content_type: str | None = "application/json") -> Decoded:
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    decoded = decode_events(Body(body, content_type), NOW_US, LIMITS)
    assert decoded.batch.schema.equals(RECORD_SCHEMA)
    decoded.batch.validate(full=True)
    return decoded


def rows(document: Any, content_type: str | None = "application/json") -> list[dict[str, Any]]:
    """Every event must be valid; gives the rows, times in microseconds, attributes as a dict."""
    decoded = decode(document, content_type)
    assert decoded.rejected == []
    found = decoded.batch.to_pylist()
    for row, us in zip(found, decoded.batch.column("timestamp").cast("int64").to_pylist(), strict=True):
        pairs = row["attributes"] or []
        assert len(dict(pairs)) == len(pairs), "a key twice"
        row["attributes"] = dict(pairs)
        row["timestamp"] = us
    return found


def row(**event: Any) -> dict[str, Any]:
    return rows([{"message": "m", **event}])[0]


def reason(**event: Any) -> str:
    """Why an event is rejected, standing beside a valid one that is kept."""
    decoded = decode([{"message": "good"}, event])
    assert decoded.batch.column("message").to_pylist() == ["good"]
    ((index, text),) = decoded.rejected
    assert index == 1
    return text
