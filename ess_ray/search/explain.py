"""Explain: what a search would do, told from its plan alone; no object is opened.

Figures are those of a search that has to read everything. One that fills its limit before, or whose skip indexes rule
objects out, reads less.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Final

import numpy as np

from ess_ray.core.chunk import expected_gets
from ess_ray.core.query import All, Not, Query
from ess_ray.core.timestamps import format_timestamp
from ess_ray.limits import InvokeLimits
from ess_ray.search.executors.mixed import ASSUMED_BYTES_PER_S
from ess_ray.search.pipeline import Cut, Lane
from ess_ray.search.plan import Plan, count_tasks, make_plan, tasks_in_place
from ess_ray.search.run import Searcher
from ess_ray.search.words import prefilter_in_words, query_in_words

NOTHING: Final = Not(All())
"""What owners are asked for: the rows that they hold are counted, and none is tested."""


@dataclass(frozen=True, slots=True)
class Pricing:
    """What a Lambda function costs, and what a search with executor `auto` may spend on it."""

    memory_gb: float
    limits: InvokeLimits
    max_cost_usd: float


@dataclass(frozen=True, slots=True)
class LambdaEstimate:
    """What the invocations of a search are likely to be billed."""

    invocations: int
    gb_seconds: float
    estimated_cost_usd: float


@dataclass(frozen=True, slots=True)
class Explanation:
    """The plan of a search. `tasks`: those that the executor gets; what is small is done without it."""

    query: str
    start: str | None
    end: str | None
    objects_total: int
    objects_pruned: int
    objects: int
    bytes_total: int
    bytes_to_read: int
    gets: int
    in_flight_rows: int
    executor: str
    tasks: int
    invocations: LambdaEstimate | None
    prefilter: list[str]
    complete: bool
    incomplete: list[str]


class Explainer:
    """Plans searches without running them. Lives on one event loop."""

    def __init__(
        self, searcher: Searcher, in_place_bytes: int, coalesce_bytes: int, pricing: Pricing | None = None
    ) -> None:
        """`coalesce_bytes` of the store; `pricing`: of the Lambda function, None where there is none."""
        self._searcher, self._pricing = searcher, pricing
        self._in_place_bytes, self._coalesce_bytes = in_place_bytes, coalesce_bytes

    async def explain(self, tenant: str, query: Query, executor: str) -> Explanation:
        """Tell what a search would do now. Raises Unavailable."""
        cut = await self._searcher.pipeline.cut(tenant, Query(NOTHING, query.start_us, query.end_us, 1, query.order))
        return await asyncio.to_thread(self._explained, tenant, query, executor, cut)

    def _explained(self, tenant: str, query: Query, executor: str, cut: Cut) -> Explanation:
        plan = make_plan(tenant, query, cut.snapshot)
        lane = self._searcher.lane(executor)
        tasks = self._tasks(plan, lane)
        left = np.diff(plan.ends, prepend=0)
        return Explanation(
            query=query_in_words(query.root),
            start=None if query.start_us is None else format_timestamp(query.start_us),
            end=None if query.end_us is None else format_timestamp(query.end_us),
            objects_total=plan.objects_total,
            objects_pruned=plan.objects_pruned,
            objects=len(plan),
            bytes_total=plan.bytes_total,
            bytes_to_read=min(plan.bytes_left, plan.bytes_total),
            gets=int(expected_gets(plan.sizes, left, self._coalesce_bytes, 1 + any(query.tested())).sum()),
            in_flight_rows=cut.scanned_rows,
            executor=executor,
            tasks=tasks,
            invocations=self._invocations(plan, executor, tasks),
            prefilter=prefilter_in_words(query),
            complete=not cut.missing,
            incomplete=cut.missing,
        )

    def _tasks(self, plan: Plan, lane: Lane) -> int:
        here = tasks_in_place(plan, self._in_place_bytes) if lane.in_place else 0
        return max(0, count_tasks(plan, lane.task_bytes) - here)

    def _invocations(self, plan: Plan, executor: str, tasks: int) -> LambdaEstimate | None:
        """Estimate what Lambda does of a search: all with executor `lambda`, what the budget is worth with `auto`."""
        if self._pricing is None or executor == "ray":
            return None
        gb_seconds = plan.bytes_left / ASSUMED_BYTES_PER_S * self._pricing.memory_gb if tasks else 0.0
        cost_usd = self._pricing.limits.cost_usd(tasks, gb_seconds)
        share = min(1.0, self._pricing.max_cost_usd / cost_usd) if executor == "auto" and cost_usd else 1.0
        return LambdaEstimate(round(tasks * share), round(gb_seconds * share, 6), round(cost_usd * share, 9))
