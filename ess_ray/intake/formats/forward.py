"""The way in for Fluentd, Fluent Bit, Docker's driver and their libraries: entries of one message, or of several small
ones that came together.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from ess_ray.core.errors import EssError, TooLarge
from ess_ray.intake.attributes import Reading
from ess_ray.intake.batches import odd_columns
from ess_ray.intake.compression import Content
from ess_ray.intake.decoded import Decoded
from ess_ray.intake.fields import FieldTable
from ess_ray.intake.formats.format import Body, Stored, each_alone
from ess_ray.intake.formats.forward_entries import EVENT_BYTES, cut_entries, read_entries, read_run
from ess_ray.intake.formats.forward_message import acknowledgement
from ess_ray.intake.formats.held_columns import held_columns
from ess_ray.intake.formats.holders import Around, Held, read_held
from ess_ray.intake.formats.json_pieces import PIECE_BYTES
from ess_ray.intake.limits import IntakeLimits
from ess_ray.intake.rows import Broken
from ess_ray.problem import Answer, Refusal

TAG: Final = "tag"
"""The attribute that says which tag an event came with."""
_MEDIA_TYPE: Final = "application/msgpack"
_USUAL_ENTRY: Final = b"\x92"
_GROWTH: Final = 3
"""A byte that is no UTF-8 becomes three."""


@dataclass(frozen=True, slots=True)
class _Pieces:
    """A large message's entries, cut. See `format.Pieces`."""

    packed: Content
    tag: str
    spans: Sequence[tuple[int, int]]
    body_hash: str

    def __len__(self) -> int:
        return len(self.spans)

    def size(self, number: int) -> int:
        start, end = self.spans[number]
        return end - start

    def decode(self, number: int, table: FieldTable, now_us: int, limits: IntakeLimits) -> Decoded:
        return _columns(read_run(self.packed, self.spans[number], _around(self.tag)), now_us, limits, table)


class ForwardEntries:
    """Packed entries. See `format.Format`: an entry is an event, counted in the order in which they came.

    `tags`: whose the entries are, and how many bytes of the body are that tag's, one behind another; None for all that
    is left. `chunk`: what is to be acknowledged once all is durable.
    """

    def __init__(self, tags: Sequence[tuple[str, int | None]], chunk: str | bytes | None = None) -> None:
        self._tags, self._chunk = tags, chunk

    def may_be_several(self, body: Body) -> bool:
        """Tell whether a body is more than one piece; without a chunk already where it may become several records,
        since the hash of pieces tells the same entries of two tags apart. What came as several messages never is: those
        are small."""
        if len(self._tags) > 1:
            return False
        growth = _GROWTH if self._chunk is None else 1
        return growth * len(body.data) > PIECE_BYTES - self._each_bytes() * body.data.count(_USUAL_ENTRY)

    def cut(self, body: Body) -> _Pieces:
        """Cut a body into pieces; none is malformed as a whole."""
        ((tag, _),) = self._tags
        spans = cut_entries(body.data, PIECE_BYTES, self._each_bytes())
        return _Pieces(body.data, tag, spans, self.hash_of(body.data))

    def hash_of(self, data: Content) -> str:
        """Hash entries with their tags: SHA-256, in hex."""
        digest = sha256(repr(self._tags).encode())
        digest.update(data)
        return digest.hexdigest()

    def _each_bytes(self) -> int:
        return EVENT_BYTES + sum(len(tag) for tag, _ in self._tags[:1])

    def decode(self, body: Body, now_us: int, limits: IntakeLimits) -> Decoded:
        """Read a body; nothing that it holds makes it be refused as a whole."""
        return _columns(list(self._events(bytes(body.data))), now_us, limits, body.table)

    def _events(self, data: bytes) -> Iterator[Held | Broken]:
        start = 0
        for tag, length in self._tags:
            end = len(data) if length is None else start + length
            yield from read_entries(data[start:end], _around(tag))
            start = end

    def decode_together(self, bodies: Sequence[Body], now_us: int, limits: IntakeLimits) -> list[Decoded | EssError]:
        """Read several bodies, each by itself."""
        return each_alone(self, bodies, now_us, limits)

    def accepted(self, stored: Stored, content_type: str | None) -> Answer:
        """The acknowledgement, though some entries can never be stored: else the chunk would be sent for ever."""
        return Answer(200, b"" if self._chunk is None else acknowledgement(self._chunk), _MEDIA_TYPE)

    def refused(self, refusal: Refusal, content_type: str | None) -> Answer:
        """Nothing: an agent that is told nothing sends its chunk again."""
        return Answer(refusal.status, b"", _MEDIA_TYPE)


def _around(tag: str) -> Around:
    return Around(({TAG: tag},))


def _columns(events: Sequence[Held | Broken], now_us: int, limits: IntakeLimits, table: FieldTable) -> Decoded:
    try:
        return held_columns(events, Reading(now_us, limits, exact=True, table=table))
    except TooLarge as error:  # however often it is sent: its chunk must not keep all others back
        return odd_columns([Broken(error.message) for _ in events], Reading(now_us, limits, exact=True), read_held)
