"""Questions that are answered to whoever asks, and kept nowhere: cells of a collector, the first rows, or all of them.

They wait for their turn among the tenant's other searches, and end when whoever waits for them goes. What is missing in
an answer stands beside it.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncGenerator
from dataclasses import dataclass, replace
from functools import partial
from typing import Final
from uuid import uuid4

import pyarrow as pa

from ess_ray.aside import aside
from ess_ray.core.collect import CellCollector
from ess_ray.core.errors import BadRequest, Unavailable
from ess_ray.core.merge import EMPTY
from ess_ray.core.query import Query
from ess_ray.ports import ObjectColumns, ResultStore
from ess_ray.search.count import tell_by_statistics
from ess_ray.search.export import Export
from ess_ray.search.meter import SearchMeter, Unmetered
from ess_ray.search.pipeline import Search
from ess_ray.search.plan import Tasks
from ess_ray.search.rows import rows_in_order
from ess_ray.search.run import Searcher
from ess_ray.search.slices import SliceLimits

TOO_MANY_CELLS: Final = "this makes more time buckets or groups than can be held: use a larger step, or a shorter range"


@dataclass(frozen=True)
class Found:
    """What was found, what is missing in it, and how many bytes were read for it."""

    table: pa.Table
    incomplete: tuple[str, ...]
    bytes_read: int


class Direct:
    """Answers at once. Lives on one event loop."""

    def __init__(
        self,
        searcher: Searcher,
        results: ResultStore,
        meter: SearchMeter | None = None,
        limits: SliceLimits = SliceLimits(),  # noqa: B008
    ) -> None:
        self._searcher, self._results, self._limits = searcher, results, limits
        self._meter: SearchMeter = meter if meter is not None else Unmetered()

    def _search(self, tenant: str, query: Query) -> Search:
        return Search(tenant, uuid4().hex, query, time.monotonic(), self._searcher.lane(None))

    async def cells(self, tenant: str, query: Query, collector: CellCollector) -> Found:
        """Count a query's rows. Raises BadRequest for too many buckets, TooFast, Unavailable."""
        async with self._searcher.turn(tenant):
            search, pipeline = self._search(tenant, query), self._searcher.pipeline
            cut = await pipeline.cut(tenant, query, collector)
            plan = await pipeline.plan(search, cut)
            flying = await aside(cut.partial, collector)
            told, plan = await aside(tell_by_statistics, search, plan, collector)
            fold = collector.fold(query)
            await aside(fold.add, flying + told)
            tasks = Tasks(plan, search.lane.task_bytes, collector)
            take = partial(pipeline.count, search)
            async with contextlib.aclosing(pipeline.fold(fold, plan, tasks, search.lane, take)) as steps:
                async for _ in steps:
                    pass
            table = (await aside(fold.partial)).table
            if fold.bound.done:
                raise BadRequest(TOO_MANY_CELLS)
            return Found(table, tuple(search.incomplete), search.progress.cost.bytes_read)

    async def rows(self, tenant: str, query: Query) -> Found:
        """Give a query's first rows, up to its limit, in its order. Raises TooFast, Unavailable."""
        async with self._searcher.turn(tenant):
            search = self._search(tenant, query)
            async with contextlib.aclosing(rows_in_order(self._searcher.pipeline, search)) as parts:
                found = [rows async for rows in parts]
            table = pa.concat_tables([EMPTY, *found])
            return Found(table, tuple(search.incomplete), search.progress.cost.bytes_read)

    async def all_rows(self, tenant: str, query: Query) -> AsyncGenerator[tuple[pa.Table, tuple[str, ...]], None]:
        """Give all rows of a query in its order, piece by piece, in bounded memory, and at last what is missing.

        Closing it ends what is scanned ahead. Raises TooFast, Unavailable.
        """
        async with self._searcher.turn(tenant):
            export = Export(
                searcher=self._searcher,
                results=self._results,
                lane=self._searcher.lane(None),
                meter=self._meter,
                limits=self._limits,
                tenant=tenant,
                query_id=uuid4().hex,
                query=query,
                ended=lambda: None,
            )
            try:
                await export.start()
                async with contextlib.aclosing(export.tables()) as tables:
                    async for table in tables:
                        yield table, ()
            except Unavailable:
                if not export.left_out or export.too_many_left_out:
                    raise
                missing = (f"object {key} could not be read: {why}" for key, why in export.left_out.items())
                yield EMPTY, tuple(missing)
            finally:
                export.close()

    async def flying(self, tenant: str, query: Query, collector: CellCollector) -> tuple[Found, ObjectColumns]:
        """Count what is not stored yet, and give the statistics of the objects that may hold the rest: nothing is
        read. Raises Unavailable."""
        pipeline = self._searcher.pipeline
        cut = await pipeline.cut(tenant, replace(query, limit=1), collector)
        found = await aside(cut.partial, collector)
        return Found(found.table, tuple(cut.missing), 0), cut.snapshot.select(tenant, query.start_us, query.end_us)
