"""JSON bodies whose events mean what another protocol says: read, cut and decoded as ours are, with its mapping."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ess_ray.core.errors import TooLarge
from ess_ray.intake.attributes import Inexact, Reading
from ess_ray.intake.batches import odd_columns
from ess_ray.intake.decoded import Decoded
from ess_ray.intake.fields import FieldTable
from ess_ray.intake.formats.format import Body
from ess_ray.intake.formats.json_pieces import Pieces
from ess_ray.intake.formats.json_values import read_values
from ess_ray.intake.limits import IntakeLimits

Columns = Callable[[Sequence[Any], int, Reading], Decoded]
"""Reads values of a body of so many bytes; raises Inexact and TooLarge as `columns.to_columns` does."""


@dataclass(frozen=True)
class MappedPieces:
    """A large body, cut. See `format.Pieces`."""

    inner: Pieces
    columns: Columns
    body_hash: str

    def __len__(self) -> int:
        return len(self.inner)

    def size(self, number: int) -> int:
        """Give the bytes of a piece."""
        return self.inner.size(number)

    def decode(self, number: int, table: FieldTable, now_us: int, limits: IntakeLimits) -> Decoded:
        """Read a piece's events, received at `now_us`; an index counts the piece's own values from 0."""
        exact = False
        while True:
            read = self.inner.read(number, exact)
            try:
                return self.columns(read.values, self.size(number), Reading(now_us, limits, read.exact, table))
            except Inexact:
                exact = True
            except TooLarge as error:  # other pieces are stored already, and this one never can be
                nothing = odd_columns([], Reading(now_us, limits, exact)).batch
                return Decoded(nothing, [(index, error.message) for index in range(len(read.values))], [])


def decode_mapped(body: Body, now_us: int, limits: IntakeLimits, columns: Columns) -> Decoded:
    """Read a body of one piece. Raises BadRequest (no JSON), Unsupported (content type), TooLarge (once flattened)."""
    read = read_values(body.data, body.content_type)
    try:
        return columns(read.values, len(body.data), Reading(now_us, limits, read.exact, body.table))
    except Inexact:
        read = read_values(body.data, body.content_type, exact=True)
        return columns(read.values, len(body.data), Reading(now_us, limits, read.exact, body.table))
