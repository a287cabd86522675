"""Count a query's rows over the ports: views and tasks count where rows lie, and here it is added up.

Repeats by `id` are counted as often as they are stored: only answers of rows merge them.
"""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ess_ray.aside import aside, aside_if_any
from ess_ray.core.collect import CellCollector, CellsFold, Grouping, Partial, Statistics
from ess_ray.core.query import Query
from ess_ray.ports import ResultStore
from ess_ray.search.intervals import SECOND_US, choose_interval_us
from ess_ray.search.pipeline import Pipeline, Progress, Search
from ess_ray.search.plan import Plan, Tasks
from ess_ray.search.shown import Aggregation, show

PUBLISH_INTERVAL_S: Final = 0.1
"""Pause at the least between two looks at what was counted so far: fluent for a person."""
PUBLISH_SHARE: Final = 0.1
"""Of an aggregation's time, what telling its partial buckets may take: large answers are told less often."""


@dataclass
class CountProgress(Progress):
    """The progress of an aggregation."""

    groups: int | None = None
    """Different groups so far; None when some could not be held."""


async def count(pipeline: Pipeline, search: Search, aggregation: Aggregation, results: ResultStore) -> str:
    """Count a query's rows, telling buckets from time to time. Raises BadRequest when they are too many."""
    counting = aggregation.grouping
    # In flight, buckets of a second are counted while their width is not known: every step is a multiple of it.
    asked = counting
    if aggregation.auto and isinstance(counting, Grouping | Statistics):  # field names have no buckets
        asked = counting.widened(SECOND_US)
    cut = await pipeline.cut(search.tenant, search.query, asked)
    plan = await pipeline.plan(search, cut)
    flying = await aside_if_any(cut.rows, cut.partial, asked)
    if aggregation.auto and isinstance(counting, Grouping | Statistics):
        counting = counting.widened(_chosen_us(search.query, plan, flying.table))
        flying = replace(flying, table=await aside(counting.coarser, flying.table))
    told, plan = await aside_if_any(len(plan), tell_by_statistics, search, plan, counting)
    fold = counting.fold(search.query)
    await aside_if_any(len(flying.table) + len(told.table), fold.add, flying + told)
    sums = _Sums(search, fold, replace(aggregation, grouping=counting), results)
    take = partial(pipeline.count, search)
    plan = await pipeline.sift(plan, counting, search.lane, take)
    tasks = Tasks(plan, search.lane.task_bytes, counting)
    async with contextlib.aclosing(pipeline.fold(fold, plan, tasks, search.lane, take)) as steps:
        async for _ in steps:
            search.found(fold)
            await sums.publish_if_due()
    await sums.settle()
    return "done"


def _chosen_us(query: Query, plan: Plan, flying: pa.Table) -> int:
    """Choose the width of buckets: by the query's range, or, where that is open, by the times that data has."""
    if query.start_us is not None and query.end_us is not None:
        return choose_interval_us(query.start_us, max(query.start_us, query.end_us - 1))
    extents = [] if plan.extent is None else [plan.extent]
    if len(flying):
        starts = pc.min_max(flying.column("start_us")).as_py()
        extents.append((starts["min"], starts["max"] + SECOND_US - 1))
    if not extents:
        return SECOND_US
    first_us, last_us = min(first for first, _ in extents), max(last for _, last in extents)
    first_us = first_us if query.start_us is None else max(first_us, query.start_us)
    last_us = last_us if query.end_us is None else min(last_us, query.end_us - 1)
    return choose_interval_us(first_us, max(first_us, last_us))


def tell_by_statistics(search: Search, plan: Plan, counting: CellCollector) -> tuple[Partial, Plan]:
    """Count the objects of which the catalog tells enough: nothing of them is read. Gives the plan for the others."""
    first_us, last_us = plan.times
    told = counting.tellable(search.query, first_us, last_us)
    if not told.any():
        return Partial(counting.schema().empty_table()), plan
    entries, rest = plan.split(told)
    rows = np.fromiter((entry.rows for entry in entries), np.int64, len(entries))
    search.progress.objects_done += len(entries)
    held = rows > 0  # one whose rows were deleted counts nothing, not even as a bucket of none
    if not held.any():
        return Partial(counting.schema().empty_table()), rest
    return Partial(counting.from_statistics(rows[held], first_us[told][held]), int(rows.sum())), rest


class _Sums:
    """Telling what was counted so far."""

    def __init__(self, search: Search, fold: CellsFold, aggregation: Aggregation, results: ResultStore) -> None:
        self._search, self._fold, self._aggregation, self._results = search, fold, aggregation, results
        self._next_s = 0.0
        self._reasons: tuple[str, ...] = ()
        interval_us = aggregation.grouping.bucket_us
        search.interval_s = None if interval_us is None else interval_us // SECOND_US

    async def publish_if_due(self) -> None:
        """Tell where the aggregation stands, unless that was done a moment ago."""
        if time.monotonic() < self._next_s:
            return
        started_s = time.monotonic()
        await self.settle()
        search = self._search
        await self._results.update(search.tenant, search.query_id, search.state("running", finished=False))
        now_s = time.monotonic()
        self._next_s = now_s + max(PUBLISH_INTERVAL_S, (now_s - started_s) / PUBLISH_SHARE)

    async def settle(self) -> None:
        """Make the buckets of what was counted so far those of the search."""
        search = self._search
        shown = await aside(show, self._fold, self._aggregation, search.query)
        search.buckets, search.table, search.statistics = shown.buckets, shown.table, shown.statistics
        # What is told with a number is told with the last one alone.
        search.incomplete = [*(reason for reason in search.incomplete if reason not in self._reasons), *shown.reasons]
        self._reasons = shown.reasons
        if isinstance(search.progress, CountProgress):
            search.progress.groups = shown.groups
