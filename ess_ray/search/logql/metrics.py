"""Metric queries: counted where rows lie as far as that says the same, else made of rows that pass a pipeline.

What is counted by labels that are fields becomes a collector's cells, whose buckets are as wide as all windows have in
common.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ess_ray.aside import aside
from ess_ray.core.collect import BYTES, MAX_CELLS, Grouping, LocalClock, Volumes
from ess_ray.core.collect.buckets import FIRST_MONDAY_US, WEEK_US
from ess_ray.core.errors import BadRequest
from ess_ray.core.query import Field, Query
from ess_ray.language.logql import tree as t
from ess_ray.search.direct import Direct
from ess_ray.search.logql.entries import DETAILS, ERROR, Entry
from ess_ray.search.logql.filtering import labels_pass, number_of
from ess_ray.search.logql.labels import Label, Labels, Pairs, Rows
from ess_ray.search.logql.narrowing import Narrowed, narrowed
from ess_ray.search.logql.series import (
    Points,
    Result,
    Series,
    Steps,
    constant,
    joined,
    over_time,
    pairs_of,
    put_together,
    relabelled,
)
from ess_ray.search.logql.stages import Pipeline

MAX_SERIES: Final = 1_000
"""In an answer, as in Loki (500): more are no chart."""
MAX_ROWS: Final = 2_000_000
"""Read for one range of lines that the search cannot count by itself: about a minute of one core."""
MAX_POINTS: Final = 20_000_000
"""Buckets times series while they are added up: 160 MB."""
UNWRAP_ERROR: Final = "SampleExtractionErr"
_ADDED: Final = frozenset({"count_over_time", "rate", "bytes_over_time", "bytes_rate"})
_OF_BYTES: Final = frozenset({"bytes_over_time", "bytes_rate"})
_RATES: Final = frozenset({"rate", "bytes_rate"})
TOO_MANY_GROUPS: Final = (
    "there are more series than can be held: use sum by (..) with fewer labels, or narrow the query"
)


@dataclass
class Metrics:
    """One metric question under way. Lives on one event loop."""

    direct: Direct
    tenant: str
    configured: Sequence[str]
    """Attributes that are labels."""
    steps: Steps
    incomplete: list[str] = field(default_factory=list)
    """What is missing in the answer."""
    bytes_read: int = 0
    max_rows: int = MAX_ROWS

    async def answer(self, node: t.Metric) -> Result:
        """Give the series of an expression, or its number. Raises BadRequest, TooFast, Unavailable."""
        found = await self._of(node)
        if not isinstance(found, float) and len(found) > MAX_SERIES:
            raise BadRequest(
                f"maximum number of series ({MAX_SERIES}) reached for a single query: there are {len(found)}; use "
                "sum by (..) with fewer labels, or topk"
            )
        return found

    async def _of(self, node: t.Metric) -> Result:  # noqa: PLR0911 (one for each kind)
        match node:
            case t.Scalar(value):
                return value
            case t.Vector(value):
                return {(): constant(value, self.steps)}
            case t.RangeFunction():
                return await self._range(node, None)
            case t.VectorFunction(name, t.RangeFunction() as inner, _, grouping) if (
                name == "sum" and inner.name in _ADDED and inner.range.unwrap is None and not _is_without(grouping)
            ):
                by = () if grouping is None else grouping.names
                return put_together(name, await self._range(inner, by), grouping, None)
            case t.VectorFunction(name, inner, parameter, grouping):
                series = await self._series(inner, name)
                return await aside(put_together, name, series, grouping, parameter)
            case t.LabelReplace(inner):
                return relabelled(node, await self._series(inner, "label_replace"))
            case t.Binary(_, left, right):
                return await aside(joined, node, await self._of(left), await self._of(right))

    async def _series(self, node: t.Metric, name: str) -> Series:
        found = await self._of(node)
        if isinstance(found, float):
            raise BadRequest(f"{name} takes series, not a number")
        return found

    # ------------------------------------------------------------------------------------------------------ of lines
    async def _range(self, node: t.RangeFunction, by: Sequence[str] | None) -> Series:
        """Give the series of a function of lines; `by`: the only labels that matter."""
        lines = node.range
        labels = Labels.of(self.configured, lines.query.matchers)
        narrow = narrowed(lines.query, labels)
        if node.name == "absent_over_time":
            by = ()
        counted = self._counted_by(node, narrow, labels, by)
        if counted is None:
            series = await self._sampled(node, narrow, labels, by)
        else:
            series = await self._counted(node, narrow, counted)
        return self._absent(lines, series) if node.name == "absent_over_time" else series

    def _absent(self, lines: t.LogRange, series: Series) -> Series:
        """Give 1 where there is nothing, under the labels that the selector says to be equal to something."""
        there = np.zeros(self.steps.count, np.bool_)
        for one in series.values():
            there |= one.there
        if there.all():
            return {}
        equal = [matcher for matcher in lines.query.matchers if matcher.op == "=" and matcher.value]
        names = [matcher.name for matcher in lines.query.matchers]
        known = {matcher.name: matcher.value for matcher in equal if names.count(matcher.name) == 1}
        return {pairs_of(known): Points(np.ones(self.steps.count), ~there)}

    def _query(self, lines: t.LogRange, narrow: Narrowed) -> Query:
        start_us = self.steps.first_us - lines.offset_us - lines.range_us + 1
        return Query(narrow.root, start_us, self.steps.last_us - lines.offset_us + 1, order="oldest")

    # ------------------------------------------------------------------------------------------- counted where they lie
    def _counted_by(
        self, node: t.RangeFunction, narrow: Narrowed, labels: Labels, by: Sequence[str] | None
    ) -> tuple[Label, ...] | None:
        """Give the labels to count by, if counting tells the answer; None where lines must be looked at."""
        changed = node.name in _OF_BYTES and narrow.changes_lines
        if node.range.unwrap is not None or narrow.filters or changed or self._buckets(node.range) > MAX_CELLS:
            return None
        if by is None:
            names = frozenset(labels.by_name)
            return None if narrow.parses or narrow.touches(names) else labels.all
        if narrow.touches(frozenset(by)):
            return None
        found = [labels.lasting(name) if narrow.parses else labels.plain(name) for name in dict.fromkeys(by)]
        return None if None in found else tuple(label for label in found if label is not None)

    def _width_us(self, lines: t.LogRange) -> int:
        """Give the width of buckets of which all windows are made."""
        return lines.range_us if self.steps.count == 1 else math.gcd(self.steps.step_us, lines.range_us)

    def _buckets(self, lines: t.LogRange) -> int:
        whole_us = self.steps.last_us - self.steps.first_us + lines.range_us
        return whole_us // self._width_us(lines)

    async def _counted(self, node: t.RangeFunction, narrow: Narrowed, labels: Sequence[Label]) -> Series:
        lines, width_us = node.range, self._width_us(node.range)
        query = self._query(lines, narrow)
        assert query.start_us is not None
        anchor_us = FIRST_MONDAY_US if width_us % WEEK_US == 0 else 0
        clock = LocalClock((0,), ((anchor_us - query.start_us) % width_us,))
        fields = tuple(dict.fromkeys(one for label in labels for one in label.fields))
        kind = Volumes if node.name in _OF_BYTES else Grouping
        grouping = kind(width_us if self.steps.count > 1 else None, fields, clock)
        found = await self.direct.cells(self.tenant, query, grouping)
        self._take(found.incomplete, found.bytes_read)
        return await aside(self._windows, node, found.table, labels, fields)

    def _windows(
        self, node: t.RangeFunction, cells: pa.Table, labels: Sequence[Label], fields: Sequence[Field]
    ) -> Series:
        """Put cells together to windows."""
        if pc.any(cells.column("other")).as_py():
            raise BadRequest(TOO_MANY_GROUPS)
        lines, width_us, buckets = node.range, self._width_us(node.range), self._buckets(node.range)
        first_us = self.steps.first_us - lines.offset_us - lines.range_us + 1
        keys = series_of_cells(cells, labels, fields)
        column = BYTES if node.name in _OF_BYTES else "count"
        counts, figures = cells.column("count").to_numpy(), cells.column(column).to_numpy()
        starts = cells.column("start_us")
        places = np.zeros(len(cells), np.int64)
        if self.steps.count > 1:
            places = (starts.to_numpy() - first_us) // width_us
        number = {pairs: at for at, pairs in enumerate(dict.fromkeys(keys))}
        if len(number) * buckets > MAX_POINTS:
            raise BadRequest(TOO_MANY_GROUPS)
        of_cell = np.array([number[pairs] for pairs in keys], np.int64)
        lasts = (
            np.arange(self.steps.count) * (self.steps.step_us // width_us)
            if self.steps.count > 1
            else np.zeros(1, np.int64)
        )
        wide = lines.range_us // width_us
        made: Series = {}
        for pairs, at in number.items():
            mine = of_cell == at
            sums = [np.zeros(buckets + 1, np.int64), np.zeros(buckets + 1, np.int64)]
            for total, values in zip(sums, (counts, figures), strict=True):
                np.add.at(total, places[mine] + 1, values[mine])
                np.cumsum(total, out=total)
            seen, total = (one[lasts + wide] - one[lasts] for one in sums)
            values = total / (lines.range_us / 1_000_000) if node.name in _RATES else total.astype(np.float64)
            if (seen > 0).any():
                made[pairs] = Points(values, seen > 0)
        return made

    # ---------------------------------------------------------------------------------------------- made of their lines
    async def _sampled(
        self, node: t.RangeFunction, narrow: Narrowed, labels: Labels, by: Sequence[str] | None
    ) -> Series:
        samples = _Samples(node, Pipeline(narrow.rest), Rows(labels), by)
        rows = 0
        async with contextlib.aclosing(self.direct.all_rows(self.tenant, self._query(node.range, narrow))) as tables:
            async for table, missing in tables:
                self._take(missing, table.nbytes)
                rows += len(table)
                if rows > self.max_rows:
                    raise BadRequest(
                        f"more than {self.max_rows:,} lines would have to be read one by one: narrow the query, its "
                        "time or its range, or use line filters and labels in place of parsers"
                    )
                await aside(samples.add, table)
        return await aside(partial(samples.series, self.steps))

    def _take(self, missing: Iterable[str], bytes_read: int) -> None:
        self.incomplete += [reason for reason in missing if reason not in self.incomplete]
        self.bytes_read += bytes_read


def _is_without(grouping: t.Grouping | None) -> bool:
    return grouping is not None and grouping.without


def series_of_cells(cells: pa.Table, labels: Sequence[Label], fields: Sequence[Field]) -> list[Pairs]:
    """Give the labels of each cell, whose keys are those of `fields`."""
    columns = {one: cells.column(f"by_{at}").to_pylist() for at, one in enumerate(fields)}
    known: dict[tuple[str | None, ...], Pairs] = {}
    found = []
    rows = zip(*columns.values(), strict=True) if columns else [()] * len(cells)
    for values in rows:
        pairs = known.get(values)
        if pairs is None:
            held = dict(zip(fields, values, strict=True))
            shown = {
                label.name: label.shown(next((held[one] for one in label.fields if held[one] is not None), None))
                for label in labels
            }
            pairs = known[values] = pairs_of(shown)
        found.append(pairs)
    return found


class _Samples:
    """Numbers of lines, by the series that they belong to."""

    def __init__(self, node: t.RangeFunction, pipeline: Pipeline, rows: Rows, by: Sequence[str] | None) -> None:
        self._node, self._pipeline, self._rows = node, pipeline, rows
        grouping = node.grouping
        if grouping is not None and not grouping.without:
            by = grouping.names
        self._by = None if by is None else tuple(sorted(set(by)))
        self._without = frozenset(grouping.names if grouping is not None and grouping.without else ())
        self._found: dict[Pairs, tuple[list[int], list[float]]] = {}

    def add(self, table: pa.Table) -> None:
        """Take rows, the oldest first."""
        entries = self._pipeline.run([Entry(*row) for row in self._rows.read(table)])
        unwrap = self._node.range.unwrap
        numbers = self._plain(entries) if unwrap is None else _unwrapped(unwrap, entries)
        for entry, number in numbers:
            pairs = self._pairs(entry)
            held = self._found.get(pairs)
            if held is None:
                held = self._found[pairs] = ([], [])
            held[0].append(entry.us)
            held[1].append(number)

    def _plain(self, entries: Sequence[Entry]) -> list[tuple[Entry, float]]:
        of_bytes = self._node.name in _OF_BYTES
        return [(entry, float(len(entry.line.encode())) if of_bytes else 1.0) for entry in entries]

    def _pairs(self, entry: Entry) -> Pairs:
        if self._by is not None:
            return tuple((name, value) for name in self._by if (value := entry.get(name)))
        unwrap = self._node.range.unwrap
        left_out = self._without | {DETAILS} | (set() if unwrap is None else {unwrap.label})
        labels = {**entry.stream, **entry.parsed}
        return pairs_of({name: value for name, value in labels.items() if name not in left_out})

    def series(self, steps: Steps) -> Series:
        """Give the series of all samples."""
        made = {}
        for pairs, (us, values) in self._found.items():
            node = self._node
            times, numbers = np.array(us, np.int64), np.array(values, np.float64)
            points = over_time(
                "count_over_time" if node.name == "absent_over_time" else node.name,
                node.parameter,
                times,
                numbers,
                lines=node.range,
                steps=steps,
            )
            if points.there.any():
                made[pairs] = points
        return made


def _unwrapped(unwrap: t.Unwrap, entries: list[Entry]) -> list[tuple[Entry, float]]:
    """Give entries that have the label, with its number. Raises BadRequest where one has none and is not left out."""
    there = [entry for entry in entries if entry.get(unwrap.label)]
    numbers: dict[int, float] = {}
    for entry in there:
        text = entry.get(unwrap.label) or ""
        value = number_of(text, unwrap.conversion or "number")
        if value is None:
            entry.fail(UNWRAP_ERROR, f"{text[:80]!r} is no {unwrap.conversion or 'number'}")
        else:
            numbers[id(entry)] = value
    for asked in unwrap.filters:
        there = [entry for entry, passes in zip(there, labels_pass(asked, there), strict=True) if passes]
    for entry in there:
        if id(entry) not in numbers:
            raise BadRequest(
                f"pipeline error: '{entry.parsed.get(ERROR)}' ({entry.parsed.get(DETAILS)}) for the label "
                f'{unwrap.label}: add a filter behind unwrap to leave such lines out (| __error__="")'
            )
    return [(entry, numbers[id(entry)]) for entry in there]
