"""A large request whose events share something that is written with each piece: its pieces, in protobuf and in JSON."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from ess_ray.core.errors import TooLarge
from ess_ray.intake.compression import Content
from ess_ray.intake.decoded import Decoded
from ess_ray.intake.fields import FieldTable
from ess_ray.intake.formats.json_nested import Span
from ess_ray.intake.formats.protobuf_pieces import Part
from ess_ray.intake.limits import IntakeLimits
from ess_ray.intake.rows import Broken

Event = TypeVar("Event")


@dataclass(frozen=True)
class Readers(Generic[Event]):
    """How one protocol reads a piece of its protobuf and of its JSON, and makes columns of what it read.

    The first two raise BadRequest for what is no piece, the last one TooLarge once flattened.
    """

    part: Callable[[Content, Part], list[Event | Broken]]
    span: Callable[[Content, Span], list[Event | Broken]]
    columns: Callable[[Sequence[Event | Broken], int, IntakeLimits, FieldTable], Decoded]


@dataclass(frozen=True)
class SpreadPieces(Generic[Event]):
    """A large request, cut. See `format.Pieces`."""

    text: Content
    spans: Sequence[Part | Span]
    body_hash: str
    readers: Readers[Event]

    def __len__(self) -> int:
        return len(self.spans)

    def size(self, number: int) -> int:
        """Give what a piece counts."""
        return self.spans[number].size

    def read(self, number: int) -> list[Event | Broken]:
        """Read a piece's events. Raises BadRequest when they are none."""
        span = self.spans[number]
        return self.readers.part(self.text, span) if isinstance(span, Part) else self.readers.span(self.text, span)

    def decode(self, number: int, table: FieldTable, now_us: int, limits: IntakeLimits) -> Decoded:
        """Read a piece's events, received at `now_us`."""
        events = self.read(number)
        try:
            return self.readers.columns(events, now_us, limits, table)
        except TooLarge as error:  # other pieces are stored already, and this one never can be
            return self.readers.columns([Broken(error.message) for _ in events], now_us, limits, table)
