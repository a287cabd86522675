"""OpenTelemetry's logs over HTTP."""

from __future__ import annotations

from typing import Any, Final

from fastapi import FastAPI

from deployments.ways.describing import BINARY, PROTOBUF, body_of
from deployments.ways.way import Parts, Way, describe_post
from ess_ray.intake.formats.otlp import OTLP_LOGS

OTLP_PATH: Final = "/otlp/v1/logs"


def _otlp_answer(description: str, schema: dict[str, Any]) -> dict[str, Any]:
    """Describe an answer in the request's own encoding."""
    return {
        "description": description,
        "content": {"application/json": {"schema": schema}, PROTOBUF: {"schema": BINARY}},
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
_REQUEST: Final = {"type": "object", "description": "ExportLogsServiceRequest, in OTLP's JSON"}


async def push_otlp() -> None:
    """Take logs from OpenTelemetry's exporters and collectors, also at `/otlp/v1/logs` and `/v1/logs` of this server.
    200 once they are durable; `partialSuccess` tells of records that never can be."""


def _describe(app: FastAPI, _: Parts) -> None:
    taken = body_of({"application/json": _REQUEST, PROTOBUF: BINARY})
    describe_post(app, OTLP_PATH, push_otlp, 200, OTLP_ANSWERS, **taken)


OTLP: Final = Way(OTLP_LOGS, {OTLP_PATH: OTLP_LOGS}, ("/otlp/",), _describe)
