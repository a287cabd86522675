"""What there is: labels, their values, series, and how much of it, for whoever has not asked for lines yet."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyarrow.compute as pc

from ess_ray.aside import aside
from ess_ray.core.collect import COLUMN, STEPS, FieldNames, Grouping, Patterns
from ess_ray.core.errors import BadRequest
from ess_ray.core.query import All, Query
from ess_ray.core.templates import blanked
from ess_ray.language.logql import tree as t
from ess_ray.language.logql.patterns import ANY
from ess_ray.search.direct import Direct, Found
from ess_ray.search.logql.labels import DETECTED_LEVEL, SERVICE, Label, Labels, Pairs
from ess_ray.search.logql.metrics import series_of_cells
from ess_ray.search.logql.narrowing import narrowed
from ess_ray.search.patterns import patterns_in

MAX_PATTERNS: Final = 1_000
"""In an answer: far more than anybody reads."""
_SECOND_US: Final = 1_000_000
NOT_ALL: Final = "there are more different values than can be held: the rarest are missing"


@dataclass(frozen=True)
class Told:
    """An answer, and what is missing in it."""

    value: Any
    incomplete: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class LinePattern:
    """A pattern as a filter of lines writes it, and how many lines had it, from which second (epoch) on."""

    pattern: str
    samples: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Overview:
    """Questions of one tenant about a range of time, [start, end) in microseconds."""

    direct: Direct
    tenant: str
    configured: Sequence[str]
    start_us: int
    end_us: int

    def _query(self, asked: t.LogQuery | None, labels: Labels) -> Query:
        root = All() if asked is None else narrowed(asked, labels).root
        return Query(root, self.start_us, self.end_us)

    def _labels(self, asked: t.LogQuery | None) -> Labels:
        return Labels.of(self.configured, () if asked is None else asked.matchers)

    async def label_names(self, asked: t.LogQuery | None) -> Told:
        """Name the labels that events have."""
        labels = self._labels(asked)
        found = await self.direct.cells(self.tenant, self._query(asked, labels), FieldNames())
        rows = zip(*(found.table.column(f"by_{at}").to_pylist() for at in range(2)), strict=True)
        there = {(name, kind == COLUMN) for name, kind in rows}
        names = [
            label.name
            for label in labels.all
            if (there and label.name in (SERVICE, DETECTED_LEVEL))
            or any((field.name, not field.attribute) in there for field in label.fields)
        ]
        return Told(sorted(names), _missing(found))

    async def label_values(self, name: str, asked: t.LogQuery | None) -> Told:
        """Give the values of a label, in order."""
        labels = self._labels(asked)
        label = Labels.of(
            self.configured, (*(() if asked is None else asked.matchers), t.Matcher(name, "=", ""))
        ).named(name)
        found, series = await self._grouped(self._query(asked, labels), (label,))
        return Told(sorted({value for pairs in series for _, value in pairs}), _missing(found))

    async def series(self, selectors: Iterable[t.LogQuery | None]) -> Told:
        """Give the labels of the streams that any of the selectors wants."""
        union: dict[Pairs, None] = {}
        missing: list[str] = []
        for asked in selectors:
            labels = self._labels(asked)
            found, series = await self._grouped(self._query(asked, labels), labels.all)
            union |= dict.fromkeys(series)
            missing += [reason for reason in _missing(found) if reason not in missing]
        return Told([dict(pairs) for pairs in union], tuple(missing))

    async def cardinalities(self, asked: t.LogQuery | None) -> Told:
        """Count the values of each label that events have."""
        labels = self._labels(asked)
        found, series = await self._grouped(self._query(asked, labels), labels.all)
        values: dict[str, set[str]] = {}
        for pairs in series:
            for name, value in pairs:
                values.setdefault(name, set()).add(value)
        return Told({name: len(each) for name, each in sorted(values.items())}, _missing(found))

    async def patterns(self, asked: t.LogQuery | None) -> Told:
        """Give the patterns of lines, those with the most first: each with (seconds, count) of the steps that have it.

        Raises BadRequest where lines would have to be looked at one by one.
        """
        labels = self._labels(asked)
        narrow = None if asked is None else narrowed(asked, labels)
        if narrow is not None and (narrow.filters or narrow.changes_lines):
            raise BadRequest("patterns are of lines as they were pushed: leave out stages that change or parse them")
        step_us = max(1, -(-(self.end_us - self.start_us) // STEPS))
        collector = Patterns(self.start_us, step_us)
        found = await self.direct.cells(self.tenant, self._query(asked, labels), collector)
        return await aside(_patterns, found, collector)

    async def _grouped(self, query: Query, labels: Sequence[Label]) -> tuple[Found, list[Pairs]]:
        fields = tuple(dict.fromkeys(one for label in labels for one in label.fields))
        found = await self.direct.cells(self.tenant, query, Grouping(None, fields))
        alone = found.table.filter(pc.invert(found.table.column("other")))
        return found, await aside(series_of_cells, alone, labels, fields)

    async def amounts(self, asked: t.LogQuery | None) -> Told:
        """Estimate streams, objects, rows and bytes, by statistics of objects, which know no selector, and by what is
        not stored yet, which does: nothing is read."""
        labels = self._labels(asked)
        fields = tuple(dict.fromkeys(one for label in labels.all for one in label.fields))
        query = self._query(asked, labels)
        flying, chosen = await self.direct.flying(self.tenant, query, Grouping(None, fields))
        return await aside(_amounts, query, flying, chosen)


def _patterns(found: Found, collector: Patterns) -> Told:
    table, missing = patterns_in(found.table, collector)
    missing = (*found.incomplete, *missing)
    if len(table) > MAX_PATTERNS:
        missing = (*missing, f"there are {len(table):,} patterns: the {MAX_PATTERNS:,} with the most lines are told")
    most = table.sort_by([("count", "descending"), ("pattern", "ascending")]).slice(0, MAX_PATTERNS)
    told = []
    for pattern, trend in zip(most.column("pattern").to_pylist(), most.column("trend").to_pylist(), strict=True):
        samples: Counter[int] = Counter()  # several steps may lie in a second
        for step, count in enumerate(trend):
            samples[(collector.from_us + step * collector.step_us) // _SECOND_US] += count
        told.append(LinePattern(blanked(pattern, ANY), tuple((at, count) for at, count in samples.items() if count)))
    return Told(told, missing)


def _missing(found: Found) -> tuple[str, ...]:
    more = pc.any(found.table.column("other")).as_py()
    return (*found.incomplete, *((NOT_ALL,) if more else ()))


def _amounts(query: Query, flying: Found, chosen: Any) -> Told:
    assert query.start_us is not None
    assert query.end_us is not None
    entries = chosen.entries(np.arange(len(chosen)))
    rows = sum(entry.rows for entry in entries)
    first, last = np.maximum(chosen.min_us, query.start_us), np.minimum(chosen.max_us, query.end_us - 1)
    within = np.clip((last - first + 1) / np.maximum(1, chosen.max_us - chosen.min_us + 1), 0.0, 1.0)
    of_rows = np.array([entry.rows for entry in entries], np.float64)
    waiting = pc.sum(flying.table.column("count")).as_py() or 0
    streams = len(flying.table)
    return Told(
        {
            "streams": max(streams, 1 if rows else 0),
            "chunks": len(entries),
            "entries": round(float((of_rows * within).sum())) + waiting,
            "bytes": round(float((chosen.sizes * within).sum())) + waiting * _BYTES_A_ROW,
        },
        flying.incomplete,
    )


_BYTES_A_ROW: Final = 100
"""Of a row that is not stored yet: what is sent to be looked at is no more than an estimate."""
