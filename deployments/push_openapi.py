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


def _text_answer(description: str) -> dict[str, Any]:
    return {"description": description, "content": {"text/plain": {"schema": {"type": "string"}}}}


LOKI_ANSWERS: Final[dict[int | str, dict[str, Any]]] = {
    204: {"description": "All of it is durable"},
    400: _text_answer("This is no push request, or some entries never can be stored: the others are durable"),
    401: _text_answer("A key is needed: send `Authorization: Bearer KEY`"),
    403: _text_answer("The key is good, but not for this"),
    405: _text_answer("POST alone is taken"),
    413: _text_answer("More than 64 MiB decompressed (`push.max_batch_bytes`)"),
    415: _text_answer("A content type or encoding that is not spoken here"),
    422: _text_answer("The Idempotency-Key came with another body before"),
    503: _text_answer("Nothing was acknowledged: send it again after Retry-After"),
}
READY: Final[dict[int | str, dict[str, Any]]] = {503: refusal("Events cannot be taken just now")}


def loki_openapi() -> dict[str, Any]:
    """Describe what Loki's endpoint takes."""
    stream = {
        "type": "object",
        "properties": {
            "stream": {"type": "object", "additionalProperties": {"type": "string"}},
            "values": {"type": "array", "items": {"type": "array", "description": "[ns as text, line, metadata]"}},
        },
    }
    request = {"type": "object", "properties": {"streams": {"type": "array", "items": stream}}}
    return {
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": request}, _PROTOBUF: {"schema": _BINARY}},
        },
        "parameters": [_ENCODING],
    }


_HEC_ANSWER: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["text", "code"],
    "properties": {
        "text": {"type": "string"},
        "code": {"type": "integer"},
        "ackId": {"type": "integer", "description": "Where the request names a channel."},
        "invalid-event-number": {"type": "integer", "description": "From 0."},
    },
}


def _hec_answer(description: str) -> dict[str, Any]:
    return {"description": description, "content": {"application/json": {"schema": _HEC_ANSWER}}}


HEC_ANSWERS: Final[dict[int | str, dict[str, Any]]] = {
    200: _hec_answer("Durable (code 0)"),
    400: _hec_answer("No data (5), no JSON (6; what stood before it is durable), no event (12), a blank event (13)"),
    401: _hec_answer("Token is required (2), or stands where it is not looked for (3)"),
    403: _hec_answer("The token is not known (4), or not for this (1)"),
    405: _hec_answer("POST alone is taken"),
    413: _hec_answer("More than 64 MiB decompressed (`push.max_batch_bytes`)"),
    415: _hec_answer("A content encoding that is not spoken here"),
    422: _hec_answer("The Idempotency-Key came with another body before"),
    503: _hec_answer("Nothing was acknowledged (9): send it again after Retry-After"),
}


def hec_openapi() -> dict[str, Any]:
    """Describe what the collector takes."""
    envelope = {
        "type": "object",
        "required": ["event"],
        "properties": {
            "event": {"description": "Text, a number, or an object whose names are known as in any event."},
            "time": {"oneOf": [{"type": "number"}, {"type": "string"}]},
            **{name: {"type": "string"} for name in ("host", "source", "sourcetype", "index")},
            "fields": {"type": "object"},
        },
    }
    return {
        "requestBody": {"required": True, "content": {"application/json": {"schema": envelope}}},
        "parameters": [_ENCODING],
    }


def _elastic_answer(description: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"description": description, "content": {"application/json": {"schema": schema}}}


_ELASTIC_ERROR: Final[dict[str, Any]] = {
    "type": "object",
    "description": "Elasticsearch's error",
    "required": ["error", "status"],
    "properties": {"error": {"type": "object"}, "status": {"type": "integer"}},
}
_ITEMS: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["took", "errors", "items"],
    "properties": {
        "took": {"type": "integer", "description": "Milliseconds"},
        "errors": {"type": "boolean"},
        "items": {"type": "array", "items": {"type": "object"}},
    },
}
ELASTIC_ANSWERS: Final[dict[int | str, dict[str, Any]]] = {
    200: _elastic_answer("Durable; an item for each action, in their order: 201, or 400 with `error`", _ITEMS),
    400: _elastic_answer("An action is malformed, or the last one has no document: nothing is stored", _ELASTIC_ERROR),
    401: _elastic_answer("A key is needed: send `Authorization: ApiKey KEY`", _ELASTIC_ERROR),
    403: _elastic_answer("The key is good, but not for this", _ELASTIC_ERROR),
    405: _elastic_answer("POST and PUT are taken", _ELASTIC_ERROR),
    413: _elastic_answer("More than 64 MiB decompressed (`push.max_batch_bytes`), or too many actions", _ELASTIC_ERROR),
    415: _elastic_answer("A content type or encoding that is not spoken here", _ELASTIC_ERROR),
    503: _elastic_answer("Nothing was acknowledged: send it again after Retry-After", _ELASTIC_ERROR),
}


def elastic_openapi() -> dict[str, Any]:
    """Describe what the `_bulk` takes."""
    lines = {"type": "string", "description": "A line that is an action, and one that is its document, and so on."}
    return {
        "requestBody": {
            "required": True,
            "content": {"application/x-ndjson": {"schema": lines}, "text/plain": {"schema": lines}},
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
