"""The rows of a search in their final order, as they become final."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator
from functools import partial

import pyarrow as pa

from ess_ray.aside import aside_if_any
from ess_ray.core.collect import ROWS, RowsFold
from ess_ray.core.timestamps import format_timestamp
from ess_ray.search.pipeline import Pipeline, Search
from ess_ray.search.plan import Tasks


async def rows_in_order(pipeline: Pipeline, search: Search) -> AsyncGenerator[pa.Table, None]:
    """Give the rows of a search, and tell its progress; none may be final yet. Closing it ends its tasks.

    Tasks that start later are told which rows can still matter.
    """
    cut = await pipeline.cut(search.tenant, search.query, ROWS)
    plan = await pipeline.plan(search, cut)
    fold = ROWS.fold(search.query)
    if cut.tables:
        await aside_if_any(cut.rows, lambda: fold.add(cut.partial(ROWS)))
    take = partial(pipeline.count, search)
    plan = await pipeline.sift(plan, ROWS, search.lane, take)
    tasks = Tasks(plan, search.lane.task_bytes, ROWS)
    async with contextlib.aclosing(pipeline.fold(fold, plan, tasks, search.lane, take)) as steps:
        async for _ in steps:
            yield await _released(search, fold, tasks)


async def _released(search: Search, fold: RowsFold, tasks: Tasks) -> pa.Table:
    watermark_us = tasks.watermark_us
    rows = await aside_if_any(fold.rows_matched, fold.release, watermark_us)
    search.found(fold)
    # An answer that its limit ended is complete down to its last row, whatever was read beyond it.
    from_us = fold.bound.us if fold.bound.done else watermark_us
    if from_us is not None:
        search.progress.complete_from = format_timestamp(from_us)
    return rows
