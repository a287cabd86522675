"""What every way in has: bytes and their media type to columns, and what became of them to that protocol's own answer.

A format is pure: no HTTP, no log, no clock. Whoever stores (`intake.large`, the push application) knows formats by this
alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Final, Protocol

from ess_ray.core.errors import EssError
from ess_ray.intake.compression import Content
from ess_ray.intake.decoded import Decoded, Named
from ess_ray.intake.fields import FIELD_TABLE, FieldTable
from ess_ray.intake.limits import IntakeLimits
from ess_ray.problem import Answer, Refusal

MAX_NAMED: Final = 1_000
"""Events that an answer names: an agent reads none of them, a person a few. Their number is told besides."""


@dataclass(frozen=True, slots=True)
class Body:
    """A decompressed body (see `compression.decompress`), its Content-Type, and which names mean which field in it."""

    data: Content
    content_type: str | None = None
    table: FieldTable = FIELD_TABLE
    parse: str | None = None
    """The format of lines of text; None: each is a message."""


@dataclass
class Stored:
    """What became of a request's events; the first MAX_NAMED of those that something is said of, by their index."""

    accepted: int = 0
    rejected_total: int = 0
    adjusted_total: int = 0
    rejected: list[Named] = field(default_factory=list)
    adjusted: list[Named] = field(default_factory=list)
    repeats: int | None = None
    """Events that are known by now to be repeats; None where nobody was asked."""
    told: list[bytes] = field(default_factory=list)
    """What each piece's events are told, in the pieces' order, where there is something (see `Decoded.told`)."""
    took_ms: int = 0
    """How long the request has taken so far."""
    _values: int = 0

    def add(self, columns: Decoded, is_repeat: bool) -> None:
        """Add the next piece's."""
        self.accepted += len(columns.batch)
        if is_repeat and self.repeats is not None:
            self.repeats += len(columns.batch)
        self.rejected_total += len(columns.rejected)
        self.adjusted_total += len(columns.adjusted)
        for all_named, named in ((self.rejected, columns.rejected), (self.adjusted, columns.adjusted)):
            all_named += [(self._values + index, why) for index, why in named[: MAX_NAMED - len(all_named)]]
        self._values += len(columns.batch) + len(columns.rejected)
        if columns.told:
            self.told.append(columns.told)


class Pieces(Protocol):
    """A large body, cut into pieces of whole events by its bytes alone: a body that is sent again is cut alike."""

    @property
    def body_hash(self) -> str:
        """SHA-256 of the body as it was sent, in hex."""

    def __len__(self) -> int: ...

    def size(self, number: int) -> int:
        """Give about how many bytes a piece has."""

    def decode(self, number: int, table: FieldTable, now_us: int, limits: IntakeLimits) -> Decoded:
        """Read one piece as events received at `now_us`; an index counts the piece's own events from 0."""


class Format(Protocol):
    """One way in. All methods are pure, and may be called in any thread."""

    def may_be_several(self, body: Body) -> bool:
        """Tell whether a body is more than one piece, at a glance."""

    def cut(self, body: Body) -> Pieces:
        """Cut a body into pieces. Raises BadRequest (malformed as a whole), Unsupported (content type), TooLarge."""

    def decode(self, body: Body, now_us: int, limits: IntakeLimits) -> Decoded:
        """Read a body as events received at `now_us`. Raises as `cut` does."""

    def decode_together(self, bodies: Sequence[Body], now_us: int, limits: IntakeLimits) -> list[Decoded | EssError]:
        """Read several bodies: the same as `decode` of each, perhaps at a lower price."""

    def accepted(self, stored: Stored, content_type: str | None) -> Answer:
        """Give the answer to a request whose events are stored. Raises BadRequest where this protocol takes none so."""

    def refused(self, refusal: Refusal, content_type: str | None) -> Answer:
        """Give the answer to a request of which nothing is acknowledged; the Content-Type is the request's."""


def body_hash(body: Content, rejected: Sequence[Named]) -> str:
    """Hash a decompressed body for its Idempotency-Key: SHA-256, in hex.

    The events that were rejected count: a repeat that has become acceptable meanwhile (its time is no longer in the
    future) is not the same request, or its newly accepted events would be dropped as a repeat after their 202.
    """
    digest = sha256(body)
    for index, _ in rejected:
        digest.update(b"\n%d" % index)
    return digest.hexdigest()


def each_alone(form: Format, bodies: Sequence[Body], now_us: int, limits: IntakeLimits) -> list[Decoded | EssError]:
    """Read several bodies one after another."""
    answers: list[Decoded | EssError] = []
    for body in bodies:
        try:
            answers.append(form.decode(body, now_us, limits))
        except EssError as error:
            answers.append(error)
    return answers


def groups(pieces: Pieces, most_bytes: int) -> Iterator[range]:
    """Give the pieces' numbers in groups of about `most_bytes`, at least one each."""
    first, size = 0, 0
    for number in range(len(pieces)):
        if number > first and size + pieces.size(number) > most_bytes:
            yield range(first, number)
            first, size = number, 0
        size += pieces.size(number)
    yield range(first, len(pieces))
