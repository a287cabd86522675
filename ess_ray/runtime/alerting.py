"""Alerts in an actor of their own, watched and replaced by the supervisor; there while there are rules."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

import ray

from ess_ray.adapters.memory_results import MemoryResultStore
from ess_ray.adapters.receivers import receivers_of
from ess_ray.alerts.asking import Asker
from ess_ray.alerts.running import Alerting
from ess_ray.core.errors import EssError, Unavailable
from ess_ray.limits import AnswerLimits
from ess_ray.metrics import Tally
from ess_ray.runtime.blocking import off_loop
from ess_ray.runtime.log import open_log
from ess_ray.runtime.metrics import RaySearchMeter, published_tally
from ess_ray.runtime.placement import HEAD
from ess_ray.runtime.ray_executor import RayScanExecutor
from ess_ray.runtime.views import PoolViews
from ess_ray.runtime.wiring import System, call
from ess_ray.search.run import Searcher

_log = logging.getLogger(__name__)

ALERTS_ACTOR: Final = "alerts"
LOOK_INTERVAL_S: Final = 60.0
"""How often it is looked for rules while there are none, without being told of one."""
PING_INTERVAL_S: Final = 1.0
PING_TIMEOUT_S: Final = 10.0
"""Nothing is lost by a late evaluation: so it has longer to answer than a persist actor."""
START_TIMEOUT_S: Final = 60.0
CREATE_TIMEOUT_S: Final = 3600.0
"""As of persist actors (`supervisor.CREATE_TIMEOUT_S`)."""
ANSWERS: Final = AnswerLimits(ttl_s=60.0)
"""An answer is read once, at its end."""


def _now_us() -> int:
    return time.time_ns() // 1000


class AlertsActor:
    """Evaluates all rules and tells receivers; a plain class, made an actor in `AlertsWatch`."""

    def __init__(self, system: System, tally_of: Callable[[], Tally]) -> None:
        """`tally_of` is called here, in the actor's process."""
        tally = tally_of()
        results = MemoryResultStore(_now_us, ANSWERS)
        usual = RayScanExecutor(system)
        searcher = Searcher(
            open_log(system),
            system.catalog(),
            system.store(),
            PoolViews(system),
            executor=usual,
            results=results,
            limits=system.search,
            meter=RaySearchMeter(tally),
            lanes=system.lanes(usual),
        )
        alerts = system.alerts
        self._alerting = Alerting(
            system.alert_book(),
            Asker(searcher, results),
            receivers_of(alerts),
            _now_us,
            page_url=alerts.page_url,
            tally=tally,
        )
        self._running = asyncio.create_task(self._alerting.run(), name="alerts")

    async def ping(self) -> dict[str, Any]:
        """Tell that it lives, and what is in the way of it. `failure`: why it does not evaluate any more."""
        failure = None
        if self._running.done() and not self._running.cancelled() and self._running.exception() is not None:
            failure = f"the loop of alerts died: {self._running.exception()!r}"
        return {"failure": failure, "trouble": self._alerting.trouble}

    async def look(self) -> None:
        """Look for rules and silences at once."""
        self._alerting.look()


class AlertsWatch:
    """Has the actor live while there are rules. Lives on one event loop."""

    def __init__(self, system: System) -> None:
        self._system, self._book = system, system.alert_book()
        self._handle: Any = None
        self._told: dict[str, Any] | None = None
        self._died: str | None = None
        self._trouble: str | None = None
        self._wake = asyncio.Event()

    def look(self) -> None:
        """Look for rules at once."""
        self._wake.set()

    async def run(self) -> None:
        """Watch for ever."""
        while True:
            woken = self._wake.is_set()
            self._wake.clear()
            try:
                await self._look(woken)
                self._trouble = None
            except (EssError, OSError) as error:
                self._trouble = f"alerts are not evaluated: {error}"
                _log.warning(self._trouble)
            except Exception as error:  # noqa: BLE001 (whatever it is, watching goes on)
                self._trouble = f"alerts are not evaluated: {type(error).__name__}: {error}"
                _log.exception("alerts cannot be watched")
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_INTERVAL_S if self._handle is None else PING_INTERVAL_S):
                    await self._wake.wait()

    async def _look(self, woken: bool) -> None:
        if self._handle is None:
            if not await asyncio.to_thread(self._is_wanted):
                return
            self._handle = await off_loop(self._create, timeout_s=CREATE_TIMEOUT_S)
        handle, patience_s = self._handle, START_TIMEOUT_S if self._told is None else PING_TIMEOUT_S
        try:
            told = await call(handle.ping.remote(), "the actor of alerts", patience_s)
            reason = told["failure"]
            if woken and reason is None:
                await call(handle.look.remote(), "the actor of alerts", patience_s)
        except Unavailable as error:
            reason = error.message
        if reason is None:
            self._told, self._died = told, None
            return
        _log.error("the actor of alerts is replaced: %s", reason)
        self._handle, self._told, self._died = None, None, reason
        self._wake.set()
        await off_loop(ray.kill, handle)

    def _is_wanted(self) -> bool:
        """Tell whether there are rules, or alerts of rules that were deleted. Raises Unavailable, OSError."""
        return bool(self._book.groups()) or any(True for _ in self._book.states())

    def _create(self) -> Any:
        return (
            ray.remote(AlertsActor)
            .options(
                name=ALERTS_ACTOR,
                namespace=self._system.namespace,
                num_cpus=0,
                max_restarts=0,
                max_concurrency=100,
                lifetime="detached",
                get_if_exists=True,  # of an earlier life of the supervisor: two would tell everything twice
                resources=HEAD,
            )
            .remote(self._system, published_tally)
        )

    def warnings(self) -> list[str]:
        """Name what is wrong with them."""
        found = [] if self._trouble is None else [self._trouble]
        if self._died is not None:
            found.append(f"the actor of alerts is being replaced ({self._died})")
        return found + ([] if self._told is None else list(self._told["trouble"]))


def end_alerts(system: System) -> None:
    """End the actor for good, whoever made it. Blocks."""
    with suppress(Unavailable):  # there is none
        ray.kill(system.actor(ALERTS_ACTOR))
