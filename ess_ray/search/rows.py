"""The rows of a search in their final order, as they become final.

May live here: merging what views and tasks find. May not: where rows go, what else a search does (`course`).
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator

import pyarrow as pa

from ess_ray.core.event import format_timestamp
from ess_ray.core.merge import OrderedMerge
from ess_ray.search.course import Course, Search
from ess_ray.search.plan import Tasks


async def rows_in_order(course: Course, search: Search) -> AsyncGenerator[pa.Table, None]:
    """Give the rows of a search, and tell its progress; none may be final yet. Closing it ends its tasks.

    Tasks that start later are told which rows can still matter.
    """
    cut = await course.cut(search.tenant, search.query)
    plan = await course.plan(search, cut)
    merge = OrderedMerge(search.query.order, search.query.limit)
    for rows in cut.tables:
        search.progress.rows_matched += len(rows)
        merge.add(rows)
    tasks = Tasks(plan, search.lane.task_bytes)
    async with contextlib.aclosing(course.results_of(plan, tasks, search.lane)) as results:
        yield _released(search, merge, tasks)
        while tasks.unfinished and not merge.done:
            index, result = await anext(results)
            course.count(search, tasks.finish(index), result)
            merge.add(result.partial.table)
            yield _released(search, merge, tasks)


def _released(search: Search, merge: OrderedMerge, tasks: Tasks) -> pa.Table:
    watermark_us = tasks.watermark_us
    rows = merge.release(watermark_us)
    tasks.tighten(merge.bound_us)
    search.progress.duplicates_suppressed += merge.duplicates_suppressed - search.merged_repeats
    search.merged_repeats = merge.duplicates_suppressed
    # An answer that its limit ended is complete down to its last row, whatever was read beyond it.
    from_us = merge.bound_us if merge.done else watermark_us
    if from_us is not None:
        search.progress.complete_from = format_timestamp(from_us)
    return rows
