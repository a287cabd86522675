"""The way in for OpenTelemetry: OTLP logs over HTTP, as protobuf or JSON, answered in the request's own encoding."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from typing import Final

import orjson
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsPartialSuccess, ExportLogsServiceResponse

from ess_ray.core.errors import EssError, TooLarge, Unsupported
from ess_ray.intake.attributes import Reading
from ess_ray.intake.decoded import Decoded
from ess_ray.intake.fields import FieldTable
from ess_ray.intake.formats.format import Body, Stored, each_alone
from ess_ray.intake.formats.json_pieces import PIECE_BYTES
from ess_ray.intake.formats.otlp_columns import log_columns
from ess_ray.intake.formats.otlp_json import cut_json, read_json, read_span
from ess_ray.intake.formats.otlp_protobuf import cut_protobuf, read_part, read_protobuf
from ess_ray.intake.formats.otlp_rows import Log
from ess_ray.intake.formats.spread import Readers, SpreadPieces
from ess_ray.intake.limits import IntakeLimits
from ess_ray.intake.rows import Broken
from ess_ray.problem import Answer, Refusal

PROTOBUF: Final = frozenset({"application/x-protobuf", "application/protobuf"})
_JSON: Final = frozenset({"application/json", "text/json"})
_UNTOLD: Final = frozenset({"", "application/octet-stream", "application/x-www-form-urlencoded"})
"""What clients send that were told nothing: the bytes tell what it is."""
MAX_SPREAD_BYTES: Final = 1024 * 1024 * 1024
"""A body's records with their resource in each: a resource of 4 KiB beside 250 bytes in each of 250,000 records. More
is nobody's log, and would be written out by us."""
_TOLD_REASONS: Final = 3
"""Rejected records whose reason is told: a person reads it in a log of the sender's."""
_CODES: Final = {400: 3, 401: 16, 403: 7, 404: 5, 405: 12, 413: 8, 415: 3, 422: 9, 503: 14}
"""gRPC's codes by HTTP's status: INVALID_ARGUMENT, UNAUTHENTICATED, and so on."""
_UNKNOWN: Final = 2
_TOO_MANY: Final = 429


class OtlpLogs:
    """OTLP's logs. See `format.Format`: a record is an event, counted in the order of the request."""

    def may_be_several(self, body: Body) -> bool:
        """Tell whether a body is more than one piece: it is as long as one, whatever it holds."""
        return len(body.data) > PIECE_BYTES

    def cut(self, body: Body) -> SpreadPieces[Log]:
        """Cut a body into pieces. Raises BadRequest, Unsupported (content type), TooLarge (see MAX_SPREAD_BYTES)."""
        digest = sha256(body.data).hexdigest()
        is_json = _is_json(body)
        spans = cut_json(body.data, PIECE_BYTES) if is_json else cut_protobuf(body.data, PIECE_BYTES)
        if sum(span.size for span in spans) > MAX_SPREAD_BYTES:
            raise TooLarge(
                f"with its resource in each of its records the request is larger than {MAX_SPREAD_BYTES} bytes: send "
                "fewer records in one, or a smaller resource",
                limit=MAX_SPREAD_BYTES,
            )
        pieces = SpreadPieces(body.data, spans, digest, Readers(read_part, read_span, _columns))
        for number in range(len(pieces)):
            pieces.read(number)
        return pieces

    def decode(self, body: Body, now_us: int, limits: IntakeLimits) -> Decoded:
        """Read a body. Raises BadRequest (no OTLP), Unsupported (content type), TooLarge (once flattened)."""
        data = bytes(body.data)
        logs = read_json(data) if _is_json(body) else read_protobuf(data)
        return _columns(logs, now_us, limits, body.table)

    def decode_together(self, bodies: Sequence[Body], now_us: int, limits: IntakeLimits) -> list[Decoded | EssError]:
        """Read several bodies, each by itself."""
        return each_alone(self, bodies, now_us, limits)

    def accepted(self, stored: Stored, content_type: str | None) -> Answer:
        """200, with how many records were rejected, if any were: they are not to be sent again."""
        count, message = stored.rejected_total, _why(stored)
        if _answers_json(content_type):
            told = {"partialSuccess": {"rejectedLogRecords": str(count), "errorMessage": message}} if count else {}
            return Answer(200, orjson.dumps(told), _media_type(content_type))
        response = ExportLogsServiceResponse()
        if count:
            partial = ExportLogsPartialSuccess(rejected_log_records=count, error_message=message)
            response.partial_success.CopyFrom(partial)
        return Answer(200, response.SerializeToString(), _media_type(content_type))

    def refused(self, refusal: Refusal, content_type: str | None) -> Answer:
        """A Status. What is to be sent again is 503 alone, which every exporter does; for some 429 is final."""
        status = 503 if refusal.status == _TOO_MANY else refusal.status
        code, message = _CODES.get(status, _UNKNOWN), refusal.message
        if _answers_json(content_type):
            content = orjson.dumps({"code": code, "message": message})
        else:
            content = Status(code=code, message=message).SerializeToString()
        return Answer(status, content, _media_type(content_type))


OTLP_LOGS: Final = OtlpLogs()


def _columns(logs: Sequence[Log | Broken], now_us: int, limits: IntakeLimits, table: FieldTable) -> Decoded:
    return log_columns(logs, Reading(now_us, limits, exact=True, table=table))


def _why(stored: Stored) -> str:
    if not stored.rejected_total:
        return ""
    reasons = "; ".join(f"at index {index}: {reason}" for index, reason in stored.rejected[:_TOLD_REASONS])
    more = ", ..." if stored.rejected_total > _TOLD_REASONS else ""
    return f"{stored.rejected_total} log records can never be stored, {reasons}{more}"


def _kind(content_type: str | None) -> str:
    """Give what a Content-Type names, without its parameters; of several joined by a comma the first."""
    return (content_type or "").split(",")[0].split(";")[0].strip().lower()


def _is_json(body: Body) -> bool:
    """Tell the encoding of a request. Raises Unsupported."""
    kind = _kind(body.content_type)
    if kind in PROTOBUF:
        return False
    if kind in _JSON or kind.endswith("+json"):
        return True
    if kind in _UNTOLD:
        return bytes(body.data[:1]) == b"{"  # as a tag of protobuf's it would begin a group, which OTLP has none of
    raise Unsupported(
        f"the Content-Type {body.content_type!r} is not spoken here: use application/x-protobuf or application/json"
    )


def _answers_json(content_type: str | None) -> bool:
    return _kind(content_type) not in PROTOBUF


def _media_type(content_type: str | None) -> str:
    kind = _kind(content_type)
    return kind if kind in PROTOBUF else "application/json"
