"""The maintenance task: garbage and checkpoints, in a Ray task of its own now and then.

May live here: when it runs, and what its last run did. May not: what is garbage (`maintenance`), or taking objects out.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any, Final

import ray

from ess_ray.core.errors import EssError
from ess_ray.maintenance import collect_garbage
from ess_ray.runtime.wiring import System, call

_log = logging.getLogger(__name__)

INTERVAL_S: Final = 600.0
"""Checkpoints come every 100 commits, which two actors make in 25 min; garbage is a day old when it goes."""
TIMEOUT_S: Final = 3600.0
"""Deleting what a large removal left may take long; nothing waits for it."""


def maintain(system: System) -> dict[str, int | None]:
    """Delete garbage, then write a checkpoint if one is due. Idempotent; safe beside writers and searches."""
    catalog = system.catalog()
    collected = collect_garbage(catalog, system.store())
    return {
        "deleted_objects": collected.objects,
        "deleted_bytes": collected.bytes,
        "checkpoint_version": catalog.checkpoint(),
    }


class Maintenance:
    """Runs `maintain` for ever; `last` tells what came of the last run."""

    def __init__(self, system: System, interval_s: float = INTERVAL_S) -> None:
        self._system, self._interval_s = system, interval_s
        self.last: dict[str, Any] = {}

    async def run(self) -> None:
        """Maintain, wait, again. A run that fails is told in `last` and tried again at its time."""
        task = ray.remote(maintain).options(name="maintenance", num_cpus=0)
        while True:
            try:
                self.last = dict(await call(task.remote(self._system), "the maintenance task", TIMEOUT_S))
            except (EssError, OSError, ray.exceptions.RayError) as error:
                self.last = {"failed": str(error)}
                _log.warning("maintenance failed, it is tried again in %g s: %s", self._interval_s, error)
            await asyncio.sleep(self._interval_s)
