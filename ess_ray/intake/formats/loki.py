"""The way in for Loki's agents: push requests as protobuf, packed by snappy, or as JSON; answered as Loki does."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from typing import Final

import orjson

from ess_ray.core.aliases import LOKI_LEVELS
from ess_ray.core.errors import EssError, TooLarge, Unsupported
from ess_ray.intake.attributes import Reading
from ess_ray.intake.compression import Content
from ess_ray.intake.decoded import Decoded
from ess_ray.intake.fields import FIELD_TABLE, FieldTable
from ess_ray.intake.formats.format import Body, Stored, each_alone
from ess_ray.intake.formats.held_columns import held_columns
from ess_ray.intake.formats.holders import Held
from ess_ray.intake.formats.json_pieces import PIECE_BYTES
from ess_ray.intake.formats.loki_json import cut_json, read_json, read_span
from ess_ray.intake.formats.loki_protobuf import cut_protobuf, read_part, read_protobuf
from ess_ray.intake.formats.spread import Readers, SpreadPieces
from ess_ray.intake.limits import IntakeLimits
from ess_ray.intake.rows import Broken
from ess_ray.problem import Answer, Refusal

_PROTOBUF: Final = frozenset({"application/x-protobuf", "application/protobuf"})
_JSON: Final = frozenset({"application/json", "text/json"})
_UNTOLD: Final = frozenset({"", "application/octet-stream", "application/x-www-form-urlencoded", "text/plain"})
"""What clients send that were told nothing: the bytes tell what it is."""
MAX_SPREAD_BYTES: Final = 1024 * 1024 * 1024
"""A body's lines with their labels in each: more is nobody's log, and would be written out by us."""
_TOLD_REASONS: Final = 3
"""Rejected entries whose reason is told: a person reads it in an agent's log."""
_TOO_MANY: Final = 429
_TEXT: Final = "text/plain"


class LokiPush:
    """Loki's push requests. See `format.Format`: an entry is an event, counted in the order of the request."""

    def may_be_several(self, body: Body) -> bool:
        """Tell whether a body is more than one piece: it is as long as one, whatever it holds."""
        return len(body.data) > PIECE_BYTES

    def cut(self, body: Body) -> SpreadPieces[Held]:
        """Cut a body into pieces. Raises BadRequest, Unsupported (content type), TooLarge (see MAX_SPREAD_BYTES)."""
        digest = sha256(body.data).hexdigest()
        is_json = _is_json(body.data, body.content_type)
        spans = cut_json(body.data, PIECE_BYTES) if is_json else cut_protobuf(body.data, PIECE_BYTES)
        if sum(span.size for span in spans) > MAX_SPREAD_BYTES:
            raise TooLarge(
                f"with its labels in each of its entries the request is larger than {MAX_SPREAD_BYTES} bytes: send "
                "fewer entries in one, or fewer labels",
                limit=MAX_SPREAD_BYTES,
            )
        pieces = SpreadPieces(body.data, spans, digest, Readers(read_part, read_span, _columns))
        for number in range(len(pieces)):
            pieces.read(number)
        return pieces

    def decode(self, body: Body, now_us: int, limits: IntakeLimits) -> Decoded:
        """Read a body. Raises BadRequest (no push request), Unsupported (content type), TooLarge (once flattened)."""
        data = bytes(body.data)
        lines = read_json(data) if _is_json(data, body.content_type) else read_protobuf(data)
        return _columns(lines, now_us, limits, body.table)

    def decode_together(self, bodies: Sequence[Body], now_us: int, limits: IntakeLimits) -> list[Decoded | EssError]:
        """Read several bodies, each by itself."""
        return each_alone(self, bodies, now_us, limits)

    def accepted(self, stored: Stored, content_type: str | None) -> Answer:
        """204; or 400 with the reasons where entries can never be stored, as Loki says it: the others are stored."""
        if not stored.rejected_total:
            return Answer(204, b"", _TEXT)
        reasons = "; ".join(f"at index {index}: {reason}" for index, reason in stored.rejected[:_TOLD_REASONS])
        more = ", ..." if stored.rejected_total > _TOLD_REASONS else ""
        counted = f"{stored.rejected_total} entries can never be stored, {stored.accepted} others are"
        return _text(400, f"{counted}: {reasons}{more}")

    def refused(self, refusal: Refusal, content_type: str | None) -> Answer:
        """Plain text. What is to be sent again is 503 alone, which every agent does."""
        return _text(503 if refusal.status == _TOO_MANY else refusal.status, refusal.message)


LOKI_PUSH: Final = LokiPush()


def encoding_of(data: Content, content_type: str | None, named: str | None = None) -> str | None:
    """Give the Content-Encoding of a body: protobuf that names none always comes as a block of snappy's."""
    if named:
        return named
    kind = _kind(content_type)
    if kind not in _PROTOBUF and (kind not in _UNTOLD or _looks_like_json(data)):
        return None
    return "snappy" if data else None


def _with_levels(table: FieldTable) -> FieldTable:
    return table.with_names({"level": LOKI_LEVELS})


_TABLE: Final = _with_levels(FIELD_TABLE)


def _columns(lines: Sequence[Held | Broken], now_us: int, limits: IntakeLimits, table: FieldTable) -> Decoded:
    known = _TABLE if table is FIELD_TABLE else _with_levels(table)
    return held_columns(lines, Reading(now_us, limits, exact=True, table=known))


def _kind(content_type: str | None) -> str:
    """Give what a Content-Type names, without its parameters; of several joined by a comma the first."""
    return (content_type or "").split(",")[0].split(";")[0].strip().lower()


def _is_json(data: Content, content_type: str | None) -> bool:
    """Tell the encoding of a request. Raises Unsupported."""
    kind = _kind(content_type)
    if kind in _PROTOBUF:
        return False
    if kind in _JSON or kind.endswith("+json"):
        return True
    if kind in _UNTOLD:
        # A line end is also the tag of a stream, and a brace behind it the stream's length.
        return _begins_as_json(data) and (bytes(data[:1]) != b"\n" or b'"streams"' in bytes(data[:200]))
    raise Unsupported(
        f"the Content-Type {content_type!r} is not spoken here: use application/x-protobuf or application/json"
    )


def _begins_as_json(data: Content) -> bool:
    return bytes(data[:100]).lstrip()[:1] == b"{"


def _looks_like_json(data: Content) -> bool:
    """Tell JSON from a block of snappy's of 123 bytes, which begins with a brace, too."""
    if not _begins_as_json(data):
        return False
    if len(data) > 200:  # and no block of 123 bytes is as long
        return True
    try:
        orjson.loads(data)
    except orjson.JSONDecodeError:
        return False
    return True


def _text(status: int, message: str) -> Answer:
    return Answer(status, f"{message}\n".encode(), _TEXT)
