"""Health: what stands in the way just now, told within two seconds whatever hangs."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final

from ess_ray.core.errors import EssError
from ess_ray.runtime.processes import stopped

_log = logging.getLogger(__name__)

LOOK_TIMEOUT_S: Final = 1.5
"""How long a part may take before it counts as away: health answers within 2 s, and a busy machine takes 0.1 s."""
PROCESSES_AGE_S: Final = 0.5
"""How old the look at the processes may be: it takes a few milliseconds, and probes may come at any rate."""

Look = Callable[[], Awaitable[Sequence[str] | None]]
"""Asks a part: gives what is wrong with it or raises that, and gives nothing when it is well."""
Told = Callable[[], Sequence[str]]
"""What this process knows by itself, at once."""


class Health:
    """What is wrong with some parts of a system. Lives on one event loop."""

    def __init__(
        self, looks: Mapping[str, Look], told: Sequence[Told] = (), look_timeout_s: float = LOOK_TIMEOUT_S
    ) -> None:
        """`looks` by the name of what is asked; `told` is asked after them."""
        self._looks, self._told, self._look_timeout_s = dict(looks), tuple(told), look_timeout_s
        self._looking: dict[str, asyncio.Task[list[str]]] = {}

    async def problems(self) -> list[str]:
        """Name what is wrong; empty when all is well."""
        looked = await asyncio.gather(*(self._look(what, ask) for what, ask in self._looks.items()))
        told = [problem for tell in self._told for problem in tell()]
        return told + [problem for problems in looked for problem in problems]

    async def _look(self, what: str, ask: Look) -> list[str]:
        """One question at a time is asked of a part: probes must not pile up before a dead one."""
        task = self._looking.get(what)
        if task is None:
            task = self._looking[what] = asyncio.create_task(_answer(what, ask), name=f"look at {what}")
            task.add_done_callback(lambda _: self._looking.pop(what, None))
        done, _ = await asyncio.wait([task], timeout=self._look_timeout_s)
        return task.result() if done else [f"{what} did not answer within {self._look_timeout_s:g} s"]


async def _answer(what: str, ask: Look) -> list[str]:
    try:
        return list(await ask() or ())
    except EssError as error:
        return [f"{what}: {error.message}"]
    except Exception as error:  # noqa: BLE001 (whatever a part raises, health names it rather than fail)
        _log.exception("%s cannot be looked at", what)
        return [f"{what}: {type(error).__name__}: {error}"]


class StoppedProcesses:
    """Names the processes of this system that somebody has stopped: they hold what waits for them, and tell nothing."""

    def __init__(self, session_id: int | None, clock_s: Callable[[], float] = time.monotonic) -> None:
        """`session_id`: None where the system has no session of its own, as on the nodes of a cluster."""
        self._session_id, self._clock_s = session_id, clock_s
        self._looked_s, self._found = float("-inf"), list[Any]()

    def __call__(self) -> list[str]:
        """Give them by title and pid."""
        now_s = self._clock_s()
        if self._session_id is not None and now_s - self._looked_s >= PROCESSES_AGE_S:
            self._found, self._looked_s = stopped(self._session_id), now_s
        return self._found
