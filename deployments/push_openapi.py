"""What the push endpoint takes and answers, for OpenAPI.

May live here: schemas of requests and answers. May not: what is done with them (`push`).
"""

from __future__ import annotations

from typing import Any, Final

from deployments.problem import refusal
from ess_ray.intake.limits import MAX_KEY_BYTES, MAX_ROUTE_BYTES

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
WHOAMI: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "description": "Whose events a push with this key would be, and the name of the log that they go to",
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "required": ["tenant", "log_id"],
                    "properties": {"tenant": {"type": "string"}, "log_id": {"type": "string"}},
                }
            }
        },
    },
    503: refusal("The log or the keys are not there just now"),
}


_PROTOBUF: Final = "application/x-protobuf"
_BINARY: Final[dict[str, Any]] = {"type": "string", "format": "binary"}
_ENCODING: Final[dict[str, Any]] = {
    "name": "Content-Encoding",
    "in": "header",
    "required": False,
    "schema": {"type": "string", "enum": ["gzip", "zstd", "deflate", "snappy", "identity"]},
}


def _otlp_answer(description: str, schema: dict[str, Any]) -> dict[str, Any]:
    """Describe an answer in the request's own encoding."""
    return {
        "description": description,
        "content": {"application/json": {"schema": schema}, _PROTOBUF: {"schema": _BINARY}},
    }


_STATUS: Final[dict[str, Any]] = {
    "type": "object",
    "description": "google.rpc.Status",
    "required": ["code", "message"],
    "properties": {"code": {"type": "integer"}, "message": {"type": "string"}},
}
_PARTIAL: Final[dict[str, Any]] = {
    "type": "object",
    "description": "ExportLogsServiceResponse",
    "properties": {
        "partialSuccess": {
            "type": "object",
            "properties": {"rejectedLogRecords": {"type": "string"}, "errorMessage": {"type": "string"}},
        }
    },
}
OTLP_ANSWERS: Final[dict[int | str, dict[str, Any]]] = {
    200: _otlp_answer("Durable; `partialSuccess` tells of records that never can be", _PARTIAL),
    400: _otlp_answer("This is not OTLP logs", _STATUS),
    401: _otlp_answer("A key is needed: send `Authorization: Bearer KEY`", _STATUS),
    403: _otlp_answer("The key is good, but not for this", _STATUS),
    405: _otlp_answer("POST alone is taken", _STATUS),
    413: _otlp_answer("More than 64 MiB decompressed (`push.max_batch_bytes`)", _STATUS),
    415: _otlp_answer("A content type or encoding that is not spoken here", _STATUS),
    503: _otlp_answer("Nothing was acknowledged: send it again after Retry-After", _STATUS),
}


def otlp_openapi() -> dict[str, Any]:
    """Describe what OTLP's endpoint takes."""
    request = {"type": "object", "description": "ExportLogsServiceRequest, in OTLP's JSON"}
    return {
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": request}, _PROTOBUF: {"schema": _BINARY}},
        },
        "parameters": [_ENCODING],
    }


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
            _ENCODING,
            {
                "name": "Ess-Route",
                "in": "header",
                "required": False,
                "description": "Events of equal time keep the order in which requests with the same route were taken.",
                "schema": {"type": "string", "minLength": 1, "maxLength": MAX_ROUTE_BYTES},
            },
        ],
    }
