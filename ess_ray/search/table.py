"""A pipe: which aggregation it is, and how what was counted becomes its table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from ess_ray.core.collect import MAX_CELLS, Grouping, LocalClock, Statistics
from ess_ray.core.errors import BadRequest, QueryError
from ess_ray.core.statistics import accumulators_of
from ess_ray.language import TIME_COLUMN, Patterns, Pipe, Sort, Stats, Step
from ess_ray.search.intervals import AUTO, check_buckets, parse_interval_us
from ess_ray.search.patterns import PatternsAsked, pattern_aggregation
from ess_ray.search.shown import Aggregation, Bucket
from ess_ray.search.stages import NUMBER, TEXT, TIME, Columns, cut_table, stepped

MAX_GROUPS: Final = MAX_CELLS // 2
"""Told apart before the other stages: the largest."""
MORE_GROUPS: Final = (
    "there are more groups than are told apart: the largest are here; narrow the query, or group by fewer fields"
)


def aggregation_of(
    pipe: Pipe, clock: LocalClock, start_us: int | None, end_us: int | None, asked_us: int
) -> Aggregation:
    """Give what must be counted for a pipe. Raises QueryError for a width that is none, BadRequest for too many."""
    if isinstance(pipe.first, Patterns):
        return pattern_aggregation(PatternsAsked(pipe.query, steps=pipe.steps), start_us, end_us, asked_us)
    return _statistics_of(pipe, pipe.first, clock, (start_us, end_us, asked_us))


def _statistics_of(
    pipe: Pipe, stats: Stats, clock: LocalClock, times_us: tuple[int | None, int | None, int]
) -> Aggregation:
    start_us, end_us, asked_us = times_us
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
        _ranked_by(stats, pipe.steps),
        asked_us,
        Tabler(stats, pipe.steps),
    )


def _ranked_by(stats: Stats, steps: Sequence[Step]) -> Any:
    """Give the statistic whose largest groups come first anyway: these are then kept, where there are too many."""
    match steps[:1]:
        case (Sort(((name, True), *_)),) if name in stats.columns:
            return stats.statistics[stats.columns.index(name)]
    return None


@dataclass(frozen=True)
class Tabler:
    """Makes a pipe's table: `columns` (`name`, `type`) and `rows`, at most MAX_TABLE_ROWS of `rows_total`."""

    stats: Stats
    steps: tuple[Step, ...]

    def __call__(self, buckets: Sequence[Bucket]) -> tuple[dict[str, Any], tuple[str, ...]]:
        """Give the table and what is missing in it."""
        stats = self.stats
        columns = _columns(stats)
        rows = [_row(bucket, stats) for bucket in buckets if not bucket.get("other")]
        missing = (MORE_GROUPS,) if len(rows) < len(buckets) else ()
        if not buckets and not stats.by and stats.every is None:
            rows = [[_of_nothing(statistic.family) for statistic in stats.statistics]]
        table, cut = cut_table(*stepped(columns, rows, self.steps))
        return table, (*missing, *cut)


def _columns(stats: Stats) -> Columns:
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
