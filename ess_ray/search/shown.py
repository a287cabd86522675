"""What was counted, as JSON values: buckets with their statistics, or the table of a pipe."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from ess_ray.core.collect import (
    MAX_CELLS,
    MAX_HELD_CELLS,
    MAX_SLOT_BYTES,
    CellCollector,
    CellsFold,
    Grouping,
    Statistics,
    Worth,
    group_count,
    top_groups,
)
from ess_ray.core.collect.buckets import DAY_US
from ess_ray.core.errors import BadRequest
from ess_ray.core.query import Query
from ess_ray.core.statistics import Results, Statistic, Told, ignored
from ess_ray.core.timestamps import format_timestamp
from ess_ray.search.intervals import too_many_buckets

NOT_HELD: Final = (
    f"there are more different groups than can be held ({MAX_HELD_CELLS:,}): the rarest are in `other`, so that the "
    "counts of groups are lower bounds; narrow the query, or group by fewer fields"
)
LONG_TEXTS: Final = "groups whose values are too long to be shown are in `other`: group by a shorter field"
TOO_LARGE: Final = (
    f"the statistics of so many buckets take more than {MAX_SLOT_BYTES // 1024**2} MiB while they are added up: use a "
    "larger interval, fewer functions, or a narrower time range"
)
_SECOND_US: Final = 1_000_000

Bucket = dict[str, Any]
Showing = Callable[[CellsFold, Query], "Shown"]
Tabling = Callable[[Sequence[Bucket]], tuple[dict[str, Any], tuple[str, ...]]]
"""Makes a table of buckets, and tells what is missing in it."""


@dataclass(frozen=True)
class Aggregation:
    """What is asked for: the counting, the fields' names as they are to be shown, how many groups by themselves.

    `auto`: the interval is chosen when the extent of the data is known; until then `grouping` has none. `statistics`:
    what is told of each bucket. `order_by`: what groups are ranked by, instead of their rows. `asked_us`: now, which a
    range without an end ends at. `tabling`: buckets are shown as a table. `showing`: cells are no buckets, and this
    is how they are shown. `over_s`: how many seconds are asked about, where the query's own bounds do not say.
    """

    grouping: CellCollector
    names: tuple[str, ...] = ()
    top: int = 10
    auto: bool = False
    statistics: tuple[Statistic, ...] = ()
    order_by: Statistic | None = None
    asked_us: int | None = None
    tabling: Tabling | None = None
    showing: Showing | None = None
    over_s: float | None = None

    def over(self, seconds: float) -> Aggregation:
        """Give it as one that asks about so many seconds."""
        return replace(self, over_s=seconds)


@dataclass(frozen=True)
class Shown:
    """What was counted so far, as an answer's state has it. `groups`: how many; None when some could not be held."""

    buckets: tuple[Bucket, ...]
    groups: int | None
    reasons: tuple[str, ...]
    statistics: dict[str, Any] | None = None
    table: dict[str, Any] | None = None


def show(fold: CellsFold, aggregation: Aggregation, query: Query) -> Shown:
    """Make JSON values of what was counted, in ascending buckets, the largest groups first. Raises BadRequest."""
    if aggregation.showing is not None:
        return aggregation.showing(fold, query)
    counting = aggregation.grouping
    cells = fold.partial().table
    if fold.bound.done:
        raise BadRequest(TOO_LARGE) if len(cells) <= MAX_CELLS else too_many_buckets(len(cells))
    held_all = not pc.any(cells.column("other")).as_py()
    groups = group_count(cells, counting) if held_all else None
    top = top_groups(cells, counting, aggregation.top, _worth(aggregation))
    if len(top.cells) > MAX_CELLS:
        raise too_many_buckets(len(top.cells))
    reasons = (*(() if held_all else (NOT_HELD,)), *((LONG_TEXTS,) if top.too_long else ()))
    ranked = top.cells.append_column("rank", top.ranks)
    ordered = ranked.take(pc.sort_indices(ranked, sort_keys=[("start_us", "ascending"), ("rank", "ascending")]))
    buckets = _buckets(ordered, aggregation)
    told = _told(ordered, counting, _seconds(ordered, aggregation, query))
    statistics = _with_statistics(buckets, told, aggregation.statistics)
    if aggregation.tabling is None:
        return Shown(tuple(buckets), groups, reasons, statistics)
    table, missing = aggregation.tabling(buckets)
    return Shown((), groups, (*reasons, *missing), statistics, table)


def _buckets(cells: pa.Table, aggregation: Aggregation) -> list[Bucket]:
    starts = {
        us: None if us is None else format_timestamp(us) for us in pc.unique(cells.column("start_us")).to_pylist()
    }
    keys = [cells.column(f"by_{at}").to_pylist() for at in range(aggregation.grouping.keys)]
    rows = zip(
        cells.column("start_us").to_pylist(),
        zip(*keys, strict=True) if keys else [()] * len(cells),
        cells.column("other").to_pylist(),
        cells.column("count").to_pylist(),
        strict=True,
    )
    return [
        {
            "start": starts[start_us],
            "by": dict(zip(aggregation.names, values, strict=True)),
            **({"other": True} if other else {}),
            "count": count,
        }
        for start_us, values, other, count in rows
    ]


def _with_statistics(buckets: list[Bucket], told: Told, statistics: Sequence[Statistic]) -> dict[str, Any] | None:
    """Put statistics into buckets; gives what is to be known of them, None where none were asked for."""
    if not statistics:
        return None
    results: list[Results] = [statistic.results(told) for statistic in statistics]
    names = [statistic.text for statistic in statistics]
    for bucket, values in zip(buckets, zip(*results, strict=True), strict=True):
        bucket["stats"] = dict(zip(names, values, strict=True))
    errors = {statistic.text: statistic.relative_error(told) for statistic in statistics}
    return {
        "ignored": ignored(told, statistics),
        "relative_error": {name: error for name, error in errors.items() if error is not None},
    }


def _told(cells: pa.Table, counting: CellCollector, seconds: Sequence[float | None]) -> Told:
    if isinstance(counting, Statistics):
        return counting.told(cells, seconds)
    return Told(cells.column("count").to_pylist(), {}, seconds)


def _worth(aggregation: Aggregation) -> Worth | None:
    """Give by what groups are ranked; of equally long times their rates are as their rows."""
    ranked_by = aggregation.order_by
    if ranked_by is None or ranked_by.family in ("count", "rate"):
        return None

    def worth(groups: pa.Table) -> Sequence[float | None]:
        return ranked_by.results(_told(groups, aggregation.grouping, [None] * len(groups)))

    return worth


def _seconds(cells: pa.Table, aggregation: Aggregation, query: Query) -> list[float | None]:
    """Tell how many seconds of the query's range each cell is of; None where the range has no beginning."""
    counting = aggregation.grouping
    grouping = counting.grouping if isinstance(counting, Statistics) else counting
    if aggregation.over_s is not None:
        return [aggregation.over_s] * len(cells)
    now_us = aggregation.asked_us if aggregation.asked_us is not None else time.time_ns() // 1000
    if not isinstance(grouping, Grouping) or grouping.interval_us is None:
        end_us = now_us if query.end_us is None else query.end_us
        whole = None if query.start_us is None else max(0, end_us - query.start_us) / _SECOND_US
        return [whole] * len(cells)
    # A day has 23 or 25 hours where the clock is put forward or back.
    width_us = grouping.interval_us
    starts = cells.column("start_us").to_numpy()
    ends = starts + width_us if width_us % DAY_US else grouping.starts(starts + width_us + DAY_US // 2)
    found: list[float | None] = []
    for start_us, end_us in zip(starts.tolist(), ends.tolist(), strict=True):
        first_us = start_us if query.start_us is None else max(start_us, query.start_us)
        last_us = end_us if query.end_us is None else min(end_us, query.end_us)
        if query.end_us is None and first_us < now_us < last_us:
            last_us = now_us  # what comes is not there yet
        found.append(max(0, last_us - first_us) / _SECOND_US)
    return found
