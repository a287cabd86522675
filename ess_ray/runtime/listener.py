"""The listener of one node: its sockets, in an actor, on the system's log."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any

from ess_ray.intake.door import Door
from ess_ray.intake.gather import Gatherer
from ess_ray.intake.listening.listening import Listening
from ess_ray.intake.listening.shapes import Meter, Surroundings
from ess_ray.intake.listening.sink import Sink
from ess_ray.intake.storing import Storing
from ess_ray.metrics import Tally
from ess_ray.ports import EventLog
from ess_ray.runtime.memory import give_back_what_grew
from ess_ray.runtime.views import PoolViews
from ess_ray.runtime.wiring import System


def _count(meter: Meter, events: int, size: int) -> None:
    meter.stored(events)
    meter.read(size)


class ListenerActor:
    """Holds the sockets of a node; a plain class, made an actor in `listeners`."""

    def __init__(self, system: System, open_log: Callable[[], EventLog], tally_of: Callable[[], Tally]) -> None:
        """`open_log` and `tally_of` are called here, in the actor's process."""
        tally = tally_of()
        gatherer = Gatherer(open_log(), tally=tally)
        give_back_what_grew()
        self._sink, keys = Sink(gatherer), system.keys()
        views = PoolViews(system)

        def storing_for(meter: Meter) -> Storing:
            return Storing(
                gatherer, views.known_request, limits=system.intake, tally=tally, on_stored=partial(_count, meter)
            )

        around = Surroundings(
            self._sink,
            system.intake,
            tally,
            system.listen_sockets,
            gate=gatherer.gate,
            storing_for=storing_for,
            tenant_of=Door(keys).tenant_by_authorization("push"),
        )
        self._listening = Listening(system.listeners, around, lambda: keys.look().closed)
        self._running = asyncio.create_task(self._listening.run(), name="listen")

    async def ping(self) -> dict[str, Any]:
        """Tell that it lives, and how each protocol is. `failure`: why it does not listen any more."""
        failure = None
        if self._running.done() and not self._running.cancelled() and self._running.exception() is not None:
            failure = f"the listener's watch died: {self._running.exception()!r}"
        trouble = self._sink.trouble
        return {
            "failure": failure,
            "has_looked": self._listening.has_looked,
            "protocols": self._listening.status(),
            "problems": self._listening.problems(),
            "waits": None if trouble is None else f"the log does not take what the listener has read: {trouble}",
        }

    async def drain(self, timeout_s: float) -> None:
        """Take no more, and return once what was read is in the log; what is not by then is lost, and counted."""
        giving_up = asyncio.get_running_loop().call_later(timeout_s, self._sink.give_up)
        try:
            await self._listening.stop()
        finally:
            giving_up.cancel()
