"""InFlight over the persist actors: finds the owners and asks each for its frozen view."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from ess_ray.core.collect import ROWS, Collector
from ess_ray.core.errors import Unavailable
from ess_ray.core.query import Query
from ess_ray.ports import View
from ess_ray.record import KnownRequest
from ess_ray.runtime.blocking import off_loop
from ess_ray.runtime.wiring import SUPERVISOR_ACTOR, RemoteActor, System, call

RETRY_S: Final = 0.1
"""Pause before the owners are asked for again while one is being replaced."""
GRACE_S: Final = 10.0
"""Beyond the freshness timeout, what an owner may take to filter a full buffer."""


Ask = Callable[[Any, Mapping[int, int], float], Any]
"""Asks an owner for a view reaching these ends within so many seconds; gives the reference of its answer."""


class PoolViews:
    """Asks the pool. Owners are remembered until one does not answer."""

    def __init__(self, system: System) -> None:
        self._system = system
        self._supervisor = RemoteActor(system, SUPERVISOR_ACTOR, "the supervisor")
        self._owners: dict[int, str] = {}
        self._handles: dict[str, Any] = {}

    async def owners(self) -> dict[int, str]:
        """Give the actor name of each owned virtual node. Raises Unavailable."""
        return dict(await self._supervisor.call("owners"))

    async def views(
        self,
        tenant: str,
        query: Query,
        min_ends: Mapping[int, int],
        timeout_s: float,
        *,
        since: Mapping[int, int] | None = None,
        collector: Collector = ROWS,
    ) -> list[View]:
        """See the port."""

        def ask(owner: Any, ends: Mapping[int, int], left_s: float) -> Any:
            return owner.view.remote(tenant, query, ends, left_s, since=since, collector=collector)

        deadline = time.monotonic() + timeout_s
        views: list[View] = []
        missing = set(min_ends)
        while missing:
            left = max(0.0, deadline - time.monotonic())
            got = await self._ask_all({v: min_ends[v] for v in missing}, left, ask)
            for view in got:
                mine = {v: r for v, r in view.ranges.items() if v in missing}
                if mine:
                    views.append(_only(view, mine))
                    missing -= mine.keys()
            if not missing or time.monotonic() >= deadline:
                break
            self._owners = {}
            await asyncio.sleep(RETRY_S)
        return views

    async def _ask_all(self, min_ends: Mapping[int, int], timeout_s: float, ask: Ask) -> list[View]:
        if not self._owners:
            try:
                self._owners = await self.owners()
            except Unavailable:
                return []
        by_actor: dict[str, dict[int, int]] = defaultdict(dict)
        for vnode, end in min_ends.items():
            if vnode in self._owners:
                by_actor[self._owners[vnode]][vnode] = end
        answers = await asyncio.gather(*(self._view(actor, ends, timeout_s, ask) for actor, ends in by_actor.items()))
        return [view for view in answers if view is not None]

    async def _view(self, actor: str, min_ends: Mapping[int, int], timeout_s: float, ask: Ask) -> View | None:
        """Ask one owner; None when it is not there: its virtual nodes are then asked for anew, or named as missing."""
        try:
            return await call(ask(await self._handle(actor), min_ends, timeout_s), actor, timeout_s + GRACE_S)
        except Unavailable:
            self._handles.pop(actor, None)
            return None

    async def _handle(self, actor: str) -> Any:
        handle = self._handles.get(actor)
        if handle is None:
            handle = self._handles[actor] = await off_loop(self._system.actor, actor, what=actor)
        return handle

    async def known_request(self, vnode: int, tenant: str, key: str) -> KnownRequest | None:
        """Ask the owner what an Idempotency-Key came with; None when unknown, or nobody can tell just now.

        An owner that is gone, or gave the virtual node away, is remembered from before: then the new one is asked.
        """
        for _ in range(2):
            try:
                if not self._owners:
                    self._owners = await self.owners()
                actor = self._owners.get(vnode)
                if actor is None:
                    return None
                handle = await self._handle(actor)
                return await call(handle.known_request.remote(vnode, tenant, key), actor)
            except Unavailable:
                self._owners = {}
        return None


def _only(view: View, ranges: Mapping[int, Any]) -> View:
    """Keep of a view what belongs to these virtual nodes."""
    if len(ranges) == len(view.ranges):
        return view
    vnodes = pa.array(sorted(ranges), pa.int32())
    mine = view.table.filter(pc.is_in(view.table.column("vnode"), value_set=vnodes))
    matched = {vnode: rows for vnode, rows in view.matched.items() if vnode in ranges}
    return replace(view, ranges=dict(ranges), table=mine, matched=matched)
