"""Patterns of messages: what was counted of each template, as a table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ess_ray.core.collect import STEPS, CellsFold, example_in
from ess_ray.core.collect import Patterns as PatternCollector
from ess_ray.core.errors import QueryError
from ess_ray.core.query import All, Query
from ess_ray.core.statistics import Slotted, unpacked
from ess_ray.core.templates import literals_of, patterns_of, read_shown, regex_of, shown
from ess_ray.core.timestamps import format_timestamp
from ess_ray.language import (
    MAX_PATTERN_CHARS,
    MAX_QUERY_BYTES,
    PATTERN_COLUMNS,
    Limit,
    Step,
    parse,
    quoted,
    regex_term,
)
from ess_ray.search.shown import Aggregation, Shown
from ess_ray.search.stages import BOOLEAN, NUMBER, NUMBERS, TEXT, TIME, Columns, cut_table, stepped

MAX_LITERALS: Final = 8
"""Texts that a query asks for where a pattern is too long for a regex: the longest ones, which tell it apart."""
MAX_LITERAL_CHARS: Final = 200
"""Of each."""
_TYPES: Final = (TEXT, NUMBER, NUMBER, TIME, TIME, TEXT, TEXT, BOOLEAN, NUMBERS)
_COLUMNS: Final[Columns] = [{"name": name, "type": kind} for name, kind in zip(PATTERN_COLUMNS, _TYPES, strict=True)]
_SECOND_US: Final = 1_000_000


@dataclass(frozen=True)
class PatternsAsked:
    """What is asked for: the patterns of the rows that `query` finds, and the stages behind.

    `new_since_us`: those whose first row is not before it are new; None: no pattern is said to be new or not.
    """

    query: str
    new_since_us: int | None = None
    steps: tuple[Step, ...] = ()


def pattern_aggregation(asked: PatternsAsked, start_us: int | None, end_us: int | None, asked_us: int) -> Aggregation:
    """Give what must be counted. A trend is of the range; one without an end ends now, one without a start in 1970."""
    from_us = 0 if start_us is None else start_us
    until_us = asked_us if end_us is None else end_us
    step_us = max(1, -(-(until_us - from_us) // STEPS))
    collector = PatternCollector(from_us, step_us)
    return Aggregation(collector, asked_us=asked_us, showing=partial(show_patterns, asked=asked, collector=collector))


def show_patterns(fold: CellsFold, _: Query, *, asked: PatternsAsked, collector: PatternCollector) -> Shown:
    """Make the table of what was counted so far: new patterns first, if it is asked which are, then frequent ones."""
    cells = fold.partial().table
    rows_total = collector.rows_of(cells)
    found, reasons = patterns_in(cells, collector)
    cut = asked.steps[0].rows if asked.steps and isinstance(asked.steps[0], Limit) else len(found)
    ordered = _ordered(found, asked.new_since_us).slice(0, cut)
    columns, rows = stepped(_COLUMNS, list(_rows(ordered, rows_total, asked)), asked.steps)
    table, missing = cut_table(columns, rows)
    trend = {"trend_start": format_timestamp(collector.from_us), "trend_step_s": collector.step_us / _SECOND_US}
    groups = None if reasons else len(found)
    return Shown((), groups, (*reasons, *missing), trend, {**table, "patterns_total": len(found)})


def patterns_in(cells: pa.Table, collector: PatternCollector) -> tuple[pa.Table, tuple[str, ...]]:
    """Give the patterns of cells, and what is missing in them.

    Columns: `pattern` (a template), `count`, `first`, `last`, `example`, `trend` (lists of STEPS).
    """
    alone = cells.filter(pc.invert(cells.column("other")))
    rest = collector.rows_of(cells) - collector.rows_of(alone)
    return _patterns(alone), (_not_held(rest),) if rest else ()


def _not_held(rows: int) -> str:
    return (
        f"there are more different templates of messages than can be held: {rows:,} rows with the rarest of them are "
        "in no pattern, so that counts are lower bounds; narrow the query, or its time range"
    )


def _patterns(cells: pa.Table) -> pa.Table:
    """Make cells of templates those of patterns."""
    templates, counts = cells.column("by_0").to_pylist(), cells.column("count").to_pylist()
    pattern_of = patterns_of(dict(zip(templates, counts, strict=True)))
    coded = pa.array([pattern_of[template] for template in templates], pa.string()).dictionary_encode()
    ids = coded.indices.to_numpy().astype(np.int64)
    plain = cells.select(["count", "first", "last", "example"]).append_column("id", pa.array(ids))
    functions = [("count", "sum"), ("first", "min"), ("last", "max"), ("example", "min")]
    grouped = plain.group_by("id", use_threads=False).aggregate(functions).sort_by("id")
    slots = Slotted().put_together(unpacked(cells.column("trend")).in_cells(ids))
    trend = np.zeros((len(grouped), STEPS), np.int64)
    trend[slots.cells, slots.slots] = slots.n
    columns = {name: grouped.column(f"{name}_{function}") for name, function in functions}
    lists = pa.FixedSizeListArray.from_arrays(pa.array(trend.ravel()), STEPS)
    return pa.table({"pattern": coded.dictionary, **columns, "trend": lists})


def _ordered(found: pa.Table, new_since_us: int | None) -> pa.Table:
    old = pc.less(found.column("first"), new_since_us or 0)
    keys = [("old", "ascending"), ("count", "descending"), ("pattern", "ascending")]
    return found.take(pc.sort_indices(found.append_column("old", old), sort_keys=keys))


def _rows(found: pa.Table, rows_total: int, asked: PatternsAsked) -> Iterator[list[Any]]:
    finding = _Finding(asked.query)
    new_since_us = asked.new_since_us
    for row in found.to_pylist():
        pattern, first_us = row["pattern"], row["first"]
        yield [
            shown(pattern),
            row["count"],
            row["count"] / rows_total,
            format_timestamp(first_us),
            format_timestamp(row["last"]),
            example_in(row["example"]),
            finding.query_of(pattern),
            None if new_since_us is None else first_us >= new_since_us,
            row["trend"],
        ]


def query_of_shown(query: str, pattern: str) -> str:
    """Give a query that finds the rows of a pattern, as its column shows it, among those that a query finds."""
    return _Finding(query).query_of(read_shown(pattern))


class _Finding:
    """Writes queries that find the rows of patterns among those that a query finds."""

    def __init__(self, query: str) -> None:
        self._within = _within(query)

    def query_of(self, pattern: str) -> str:
        """Give a query that finds all rows of a pattern; those of some others too, where it must be short."""
        regex = regex_of(pattern)
        terms = regex_term(regex) if len(regex) <= MAX_PATTERN_CHARS else " AND ".join(_phrases(pattern)) or "*"
        together = " AND ".join([*self._within, terms])
        return together if len(together.encode()) <= MAX_QUERY_BYTES else terms


def _within(query: str) -> Sequence[str]:
    """Give what a query is before another term; nothing where that would change what it means, or it finds all."""
    root = parse(query)
    if isinstance(root, All):
        return []
    enclosed = f"({query.strip()})"
    with suppress(QueryError):  # it was as long or as deep as may be
        return [enclosed] if parse(enclosed) == root else []
    return []


def _phrases(pattern: str) -> Iterator[str]:
    literals = literals_of(pattern)
    longest = sorted(range(len(literals)), key=lambda at: -len(literals[at]))[:MAX_LITERALS]
    for at in sorted(longest):
        yield quoted(literals[at][:MAX_LITERAL_CHARS])
