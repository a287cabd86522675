"""Stages of a pipe, over what was counted: buckets -> columns and rows.

May live here: which aggregation a pipe is, and its stages after `stats`. May not: counting, the language.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any, Final

from ess_ray.core.collect import MAX_CELLS, Grouping, LocalClock, Statistics
from ess_ray.core.errors import BadRequest, QueryError
from ess_ray.core.statistics import accumulators_of
from ess_ray.language import TIME_COLUMN, Fields, Limit, Pipe, Sort, Stats
from ess_ray.search.intervals import AUTO, check_buckets, parse_interval_us
from ess_ray.search.shown import Aggregation, Bucket

MAX_TABLE_ROWS: Final = 10_000
"""Of a pipe's table: a few megabytes of JSON; who wants more wants an export."""
MAX_GROUPS: Final = MAX_CELLS // 2
"""Told apart before the other stages: the largest."""
MORE_GROUPS: Final = (
    "there are more groups than are told apart: the largest are here; narrow the query, or group by fewer fields"
)
TIME, TEXT, NUMBER = "time", "text", "number"
"""Types of columns: times are RFC 3339 text."""


def aggregation_of(
    pipe: Pipe, clock: LocalClock, start_us: int | None, end_us: int | None, asked_us: int
) -> Aggregation:
    """Give what must be counted for a pipe. Raises QueryError for a width that is none, BadRequest for too many."""
    stats = pipe.stats
    auto = stats.every == AUTO
    interval_us = None
    if stats.every is not None and not auto:
        try:
            interval_us = parse_interval_us(stats.every)
        except BadRequest as error:
            raise QueryError(error.message, stats.every_at) from None
        check_buckets(start_us, end_us, interval_us)
    grouping = Grouping(interval_us, stats.by, clock)
    kept = accumulators_of(stats.statistics)
    return Aggregation(
        Statistics(grouping, kept) if kept else grouping,
        stats.by_names,
        MAX_GROUPS,
        auto,
        stats.statistics,
        _ranked_by(pipe),
        asked_us,
        Tabler(pipe),
    )


def _ranked_by(pipe: Pipe) -> Any:
    """Give the statistic whose largest groups come first anyway: these are then kept, where there are too many."""
    match pipe.steps[:1]:
        case (Sort(((name, True), *_)),) if name in pipe.stats.columns:
            return pipe.stats.statistics[pipe.stats.columns.index(name)]
    return None


@dataclass(frozen=True)
class Tabler:
    """Makes a pipe's table: `columns` (`name`, `type`) and `rows`, at most MAX_TABLE_ROWS of `rows_total`."""

    pipe: Pipe

    def __call__(self, buckets: Sequence[Bucket]) -> tuple[dict[str, Any], tuple[str, ...]]:
        """Give the table and what is missing in it."""
        stats = self.pipe.stats
        columns = _columns(stats)
        rows = [_row(bucket, stats) for bucket in buckets if not bucket.get("other")]
        missing = (MORE_GROUPS,) if len(rows) < len(buckets) else ()
        if not buckets and not stats.by and stats.every is None:
            rows = [[_of_nothing(statistic.family) for statistic in stats.statistics]]
        for step in self.pipe.steps:
            match step:
                case Sort(keys):
                    _sort(rows, columns, keys)
                case Limit(count):
                    del rows[count:]
                case Fields(names):
                    places = [_place(columns, name) for name in names]
                    columns = [columns[at] for at in places]
                    rows = [[row[at] for at in places] for row in rows]
        total = len(rows)
        if total > MAX_TABLE_ROWS:
            more = f"the table has {total:,} rows, the first {MAX_TABLE_ROWS:,} are here: add `| top N` or `| limit N`"
            missing = (*missing, more)
        return {"columns": columns, "rows": rows[:MAX_TABLE_ROWS], "rows_total": total}, missing


def _columns(stats: Stats) -> list[dict[str, str]]:
    named = [] if stats.every is None else [(TIME_COLUMN, TIME)]
    named += [(name, TEXT) for name in stats.by_names]
    named += [(name, NUMBER) for name in stats.columns]
    return [{"name": name, "type": kind} for name, kind in named]


def _row(bucket: Bucket, stats: Stats) -> list[Any]:
    values = bucket["stats"]
    start = [] if stats.every is None else [bucket["start"]]
    return [*start, *bucket["by"].values(), *(values[statistic.text] for statistic in stats.statistics)]


def _of_nothing(family: str) -> int | None:
    """Give what a function tells of no rows at all."""
    return 0 if family in ("count", "count_distinct", "rate") else None


def _place(columns: Sequence[dict[str, str]], name: str) -> int:
    return next(at for at, column in enumerate(columns) if column["name"] == name)


def _sort(rows: list[list[Any]], columns: Sequence[dict[str, str]], keys: Sequence[tuple[str, bool]]) -> None:
    for name, descending in reversed(keys):  # sorting is stable: the first key counts most
        at = _place(columns, name)
        there = [row for row in rows if row[at] is not None]
        absent = [row for row in rows if row[at] is None]
        there.sort(key=itemgetter(at), reverse=descending)
        rows[:] = [*there, *absent]
