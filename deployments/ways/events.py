"""The way in of our own: JSON, NDJSON or lines of text at `/v1/events`."""

from __future__ import annotations

from typing import Any, Final

from fastapi import FastAPI

from deployments.problem import refusal
from deployments.ways.describing import ENCODING
from deployments.ways.way import Parts, Way, describe_post
from ess_ray.intake.formats.json_events import JSON_EVENTS
from ess_ray.intake.limits import MAX_KEY_BYTES, MAX_ROUTE_BYTES

EVENTS_PATH: Final = "/v1/events"
_EVENT: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["message"],
    "description": "A log event. Unknown keys become attributes.",
    "properties": {
        "timestamp": {
            "description": "RFC 3339, or an epoch number in s, ms, us or ns. Missing: time of receipt.",
            "oneOf": [{"type": "string"}, {"type": "number"}],
        },
        "message": {"type": "string"},
        "level": {"type": "string", "examples": ["INFO", "warning"]},
        "service": {"type": "string"},
        "host": {"type": "string"},
        "trace_id": {"type": "string"},
        "span_id": {"type": "string"},
        "id": {
            "type": "string",
            "maxLength": 128,
            "description": "The same id with the same content, sent again within an hour, is one event.",
        },
        "attributes": {
            "type": "object",
            "description": "Nested keys are flattened with dots. Arrays come back as text.",
        },
    },
}
_NAMED: Final[dict[str, Any]] = {
    "type": "array",
    "description": "The first 1,000; `..._total` tells how many there are more.",
    "items": {
        "type": "object",
        "required": ["index", "reason"],
        "properties": {"index": {"type": "integer"}, "reason": {"type": "string"}},
    },
}
_ANSWER: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["accepted", "rejected", "adjusted"],
    "properties": {
        "accepted": {"type": "integer", "description": "Durable events, repeats among them."},
        "rejected": _NAMED,
        "rejected_total": {"type": "integer"},
        "adjusted": _NAMED,
        "adjusted_total": {"type": "integer"},
        "repeats": {
            "type": "integer",
            "description": "With an Idempotency-Key: how many of them are known by now to be stored already.",
        },
    },
}
ANSWERS: Final[dict[int | str, dict[str, Any]]] = {
    202: {"description": "Durable", "content": {"application/json": {"schema": _ANSWER}}},
    400: refusal("Nothing valid: empty, not JSON, nested too deep, or every event is invalid (`rejected` names each)"),
    413: refusal("More than 64 MiB decompressed (`push.max_batch_bytes`)"),
    503: refusal(
        "The log is not there, more is under way than fits, the body comes too slowly, or something failed here: "
        "nothing was acknowledged, send it again after Retry-After. Of a body larger than one record parts may be "
        "stored: the same body stores the others"
    ),
}


async def push() -> None:
    """Take events. 202 once they are durable, with the invalid ones named; else none is acknowledged."""


def push_openapi() -> dict[str, Any]:
    """Describe what the endpoint takes."""
    events = {"type": "array", "items": _EVENT}
    envelope = {"type": "object", "required": ["events"], "properties": {"events": events}}
    header = {"type": "string", "minLength": 1, "maxLength": MAX_KEY_BYTES}
    return {
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {"schema": {"oneOf": [events, envelope, _EVENT]}},
                "application/x-ndjson": {"schema": {"type": "string", "description": "One event a line."}},
                "text/plain": {"schema": {"type": "string", "description": "One message a line."}},
            },
        },
        "parameters": [
            {"name": "Idempotency-Key", "in": "header", "required": False, "schema": header},
            ENCODING,
            {
                "name": "Ess-Route",
                "in": "header",
                "required": False,
                "description": "Events of equal time keep the order in which requests with the same route were taken.",
                "schema": {"type": "string", "minLength": 1, "maxLength": MAX_ROUTE_BYTES},
            },
        ],
    }


def _describe(app: FastAPI, _: Parts) -> None:
    describe_post(app, EVENTS_PATH, push, 202, ANSWERS, **push_openapi())


EVENTS: Final = Way(JSON_EVENTS, {EVENTS_PATH: JSON_EVENTS}, describe=_describe)
