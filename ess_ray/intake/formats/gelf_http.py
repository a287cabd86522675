"""The way in for Graylog's messages over HTTP: an object, or several; 202 once they are durable."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from ess_ray.core.errors import EssError
from ess_ray.intake.attributes import Reading
from ess_ray.intake.compression import Content
from ess_ray.intake.decoded import Decoded
from ess_ray.intake.formats.format import Body, Stored, each_alone
from ess_ray.intake.formats.gelf import event_of
from ess_ray.intake.formats.held_columns import held_columns
from ess_ray.intake.formats.holders import Around
from ess_ray.intake.formats.json_mapped import MappedPieces, decode_mapped
from ess_ray.intake.formats.json_pieces import cut, may_be_several
from ess_ray.intake.limits import IntakeLimits
from ess_ray.problem import Answer, Refusal

_EITHER: Final = frozenset({"", "identity", "gzip", "deflate"})
_GZIP: Final = b"\x1f\x8b"
_ZLIB: Final = b"\x78"
_TOO_MANY: Final = 429
_TEXT: Final = "text/plain"


def _columns(messages: Sequence[Any], body_bytes: int, reading: Reading) -> Decoded:
    around = Around(({},))
    return held_columns([event_of(message, around) for message in messages], reading)


class GelfHttp:
    """Graylog's messages. See `format.Format`: an object is an event."""

    def may_be_several(self, body: Body) -> bool:
        """Tell whether a body is more than one piece, at a glance."""
        return may_be_several(body.data)

    def cut(self, body: Body) -> MappedPieces:
        """Cut a body into pieces (see `json_pieces.cut`)."""
        inner = cut(body.data, body.content_type)
        return MappedPieces(inner, _columns, inner.body_hash)

    def decode(self, body: Body, now_us: int, limits: IntakeLimits) -> Decoded:
        """Read a body. Raises BadRequest (no JSON), Unsupported (content type), TooLarge (once flattened)."""
        return decode_mapped(body, now_us, limits, _columns)

    def decode_together(self, bodies: Sequence[Body], now_us: int, limits: IntakeLimits) -> list[Decoded | EssError]:
        """Read several bodies, each by itself."""
        return each_alone(self, bodies, now_us, limits)

    def accepted(self, stored: Stored, content_type: str | None) -> Answer:
        """202 without a body, though some messages are none; 400 where none is one."""
        if stored.rejected and not stored.accepted:
            return _text(400, f"no message is valid; the one at index {stored.rejected[0][0]}: {stored.rejected[0][1]}")
        return Answer(202, b"", _TEXT)

    def refused(self, refusal: Refusal, content_type: str | None) -> Answer:
        """Plain text. What is to be sent again is 503 alone."""
        return _text(503 if refusal.status == _TOO_MANY else refusal.status, refusal.message)


GELF_HTTP: Final = GelfHttp()


def encoding_of(data: Content, content_type: str | None, named: str | None) -> str | None:
    """Give the Content-Encoding of a body: pygelf names `gzip,deflate` whichever it is, and others name none."""
    if not {name.strip().lower() for name in (named or "").split(",")} <= _EITHER:
        return named
    if data[:2] == _GZIP:
        return "gzip"
    return "deflate" if data[:1] == _ZLIB else None


def _text(status: int, message: str) -> Answer:
    return Answer(status, f"{message}\n".encode(), _TEXT)
