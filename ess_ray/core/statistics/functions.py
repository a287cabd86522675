"""The functions that people ask for, over what accumulators hold: a statistic is a function of a field.

Every family of functions has a line in FAMILIES.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Final

from ess_ray.core.field import Field
from ess_ray.core.statistics import distinct, quantiles
from ess_ray.core.statistics.accumulator import Accumulator
from ess_ray.core.statistics.distinct import Distinct, distinct_in, is_estimated
from ess_ray.core.statistics.extremes import Extremes, extremes_in
from ess_ray.core.statistics.quantiles import Buckets, quantiles_of
from ess_ray.core.statistics.slots import NO_SLOTS, Slots
from ess_ray.core.statistics.sums import Sum, sums_of
from ess_ray.core.statistics.tallies import Tally, ignored_in, numbers_in

Results = list[int] | list[float | None]
"""A function's value in each cell; None where there is nothing to tell it of."""


@dataclass(frozen=True)
class Told:
    """What is known of some cells: their rows, what accumulators hold, and how many seconds each is of (None: not
    known)."""

    rows: list[int]
    slots: Mapping[Accumulator, Slots]
    seconds: Sequence[float | None]

    def of(self, kind: type[Accumulator], field: Field | None) -> Slots:
        """Give what an accumulator holds."""
        assert field is not None
        return self.slots.get(kind(field), NO_SLOTS)

    def numbers(self, field: Field | None) -> list[int]:
        """Tell how many numbers each cell has."""
        return numbers_in(self.of(Tally, field), len(self.rows))

    def extremes(self, field: Field | None, *, largest: bool) -> list[float | None]:
        """Give each cell's least or largest number."""
        found = extremes_in(self.of(Extremes, field), len(self.rows), largest=largest).tolist()
        return [None if value != value else value for value in found]  # noqa: PLR0124 (NaN alone differs from itself)


@dataclass(frozen=True, slots=True)
class Family:
    """A kind of functions: the accumulators that it needs of its field, and what it tells of them."""

    needs: tuple[type[Accumulator], ...]
    results: Callable[[Told, Field | None, Fraction], Results]


@dataclass(frozen=True, slots=True)
class Statistic:
    """A function of a field (None: it takes none), shown as `text`, and the field as `name`.

    `q`: which quantile, 0 for other functions.
    """

    text: str
    family: str
    field: Field | None = None
    name: str = ""
    q: Fraction = Fraction(0)

    @property
    def accumulators(self) -> tuple[Accumulator, ...]:
        """What must be kept for it."""
        return () if self.field is None else tuple(kind(self.field) for kind in FAMILIES[self.family].needs)

    def results(self, told: Told) -> Results:
        """Tell its value in each cell."""
        return FAMILIES[self.family].results(told, self.field, self.q)

    def relative_error(self, told: Told) -> float | None:
        """Tell by how much of its value it may be off; None: it is exact, but for rounding once."""
        if self.family == "quantile":
            return quantiles.RELATIVE_ERROR
        estimated = self.family == "count_distinct" and is_estimated(told.of(Distinct, self.field))
        return distinct.RELATIVE_ERROR if estimated else None


def _rate(told: Told, field: Field | None, q: Fraction) -> Results:
    pairs = zip(told.rows, told.seconds, strict=True)
    return [rows / seconds if seconds else None for rows, seconds in pairs]


def _quantile(told: Told, field: Field | None, q: Fraction) -> Results:
    extremes, cells = told.of(Extremes, field), len(told.rows)
    least, largest = (extremes_in(extremes, cells, largest=which) for which in (False, True))
    return quantiles_of(told.of(Buckets, field), q, least, largest)


FAMILIES: Final[dict[str, Family]] = {
    "count": Family((), lambda told, field, q: told.rows),
    "rate": Family((), _rate),
    "count_distinct": Family((Distinct,), lambda told, f, q: distinct_in(told.of(Distinct, f), len(told.rows))),
    "sum": Family((Tally, Sum), lambda told, f, q: sums_of(told.of(Sum, f), told.numbers(f))),
    "avg": Family((Tally, Sum), lambda told, f, q: sums_of(told.of(Sum, f), told.numbers(f), mean=True)),
    "min": Family((Tally, Extremes), lambda told, f, q: told.extremes(f, largest=False)),
    "max": Family((Tally, Extremes), lambda told, f, q: told.extremes(f, largest=True)),
    "quantile": Family((Tally, Extremes, Buckets), _quantile),
}
ACCUMULATORS: Final[dict[str, type[Accumulator]]] = {
    kind.name: kind for kind in (Tally, Sum, Extremes, Buckets, Distinct)
}


def accumulators_of(statistics: Sequence[Statistic]) -> tuple[Accumulator, ...]:
    """Give what must be kept for all of them, each once, in one order whatever theirs."""
    found = {accumulator for statistic in statistics for accumulator in statistic.accumulators}
    return tuple(sorted(found, key=lambda each: (each.name, each.field.name, each.field.attribute)))


def ignored(told: Told, statistics: Sequence[Statistic]) -> dict[str, int]:
    """Tell how many values of each field that must be numbers are none, or lie beyond a double's range; by its name."""
    return {
        one.name: ignored_in(told.of(Tally, one.field))
        for one in statistics
        if any(isinstance(each, Tally) for each in one.accumulators)
    }


def encode_accumulators(accumulators: Sequence[Accumulator]) -> list[Any]:
    """Give accumulators as JSON values."""
    return [[each.name, each.field.name, each.field.attribute] for each in accumulators]


def decode_accumulators(values: Sequence[Any]) -> tuple[Accumulator, ...]:
    """Read what `encode_accumulators` gave. Raises KeyError, TypeError or ValueError for anything else."""
    return tuple(ACCUMULATORS[kind](Field(str(name), bool(attribute))) for kind, name, attribute in values)
