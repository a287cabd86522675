"""The maintenance task: retention, compaction, garbage and checkpoints, in a Ray task of its own now and then."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Collection
from dataclasses import asdict
from functools import partial
from typing import Any, Final

import ray

from ess_ray import metrics as m
from ess_ray.core.errors import EssError, Unavailable
from ess_ray.runtime.blocking import off_loop
from ess_ray.runtime.log import SystemLog
from ess_ray.runtime.wiring import System, call
from ess_ray.table.compaction import compact
from ess_ray.table.maintenance import collect_garbage, is_over
from ess_ray.table.retention import expire

_log = logging.getLogger(__name__)

INTERVAL_S: Final = 600.0
"""Two actors make 40 objects in it, three merges' worth; checkpoints come every 100 commits; garbage is a day old."""
TIMEOUT_S: Final = 3600.0
"""Deleting what a large removal left may take long; nothing waits for it."""
COMPACT_TIMEOUT_S: Final = 600.0
"""A person's compaction: its budget of 30 s, one merge beyond it, and as long for a run by the clock before it."""

COUNTS: Final = {
    "merged_objects": m.MAINTENANCE_MERGED,
    "new_objects": m.MAINTENANCE_MADE,
    "expired_objects": m.MAINTENANCE_EXPIRED,
    "deleted_objects": m.MAINTENANCE_DELETED,
    "deleted_bytes": m.MAINTENANCE_DELETED_BYTES,
}
"""What a run tells, and the metric that it is."""


def compact_now(
    system: System,
    eager: bool,
    before_us: int | None = None,
    known: Collection[str] = (),
    backlog_bytes: int = 0,
) -> dict[str, Any]:
    """Apply retention, then merge small objects. Idempotent; safe beside writers, searches and other compactions.

    `known`: keys of objects that were damaged when it was looked last. `backlog_bytes`: in the log and not stored yet,
    for which merges leave room on the disk. Gives JSON: what `Compacted` and `Expired` tell, and `before_us`, up to
    which rows counted. Raises Unavailable, UnknownOutcome, OSError.
    """
    catalog, store = system.catalog(), system.store()
    before_us = store.now_us() if before_us is None else before_us
    expired = expire(catalog, store, system.compaction)
    room = partial(system.room_to_merge, backlog_bytes)
    done = asdict(compact(catalog, store, system.compaction, eager=eager, before_us=before_us, room=room, known=known))
    skipped = [{"partition": where, "reason": reason} for where, reason in done.pop("skipped")]
    return {
        **done,
        "expired_objects": expired.objects,
        "expired_rows": expired.rows,
        "expired_bytes": expired.bytes,
        "skipped": skipped,
        "before_us": before_us,
    }


def maintain(system: System, known: Collection[str] = (), backlog_bytes: int = 0) -> dict[str, Any]:
    """Apply retention and compact, delete garbage, write a checkpoint if one is due. Idempotent; safe beside all."""
    catalog, store = system.catalog(), system.store()
    compacted = compact_now(system, eager=False, known=known, backlog_bytes=backlog_bytes)
    collected = collect_garbage(catalog, store, pressed=system.is_disk_low() or is_over(store, system.compaction))
    return {
        **compacted,
        "deleted_objects": collected.objects,
        "deleted_bytes": collected.bytes,
        "not_deleted": collected.failed,
        "checkpoint_version": catalog.checkpoint(),
    }


def task_of(function: Callable[..., dict[str, Any]]) -> Any:
    """Make a Ray task of a piece of maintenance."""
    # A merge keeps a CPU busy: it takes its turn with the scans. Its worker ends with it: half a gigabyte that a merge
    # took would otherwise stay with a process that waits for scans.
    # Named, so that the dashboard tells maintenance from scans.
    return ray.remote(num_cpus=1, max_calls=1)(function).options(name=f"maintenance {function.__name__}")


async def run_task(task: Any, what: str, timeout_s: float, *args: Any) -> dict[str, Any]:
    """Run one and await what it gives. Raises Unavailable, and what it raises."""
    # Handing it over has Ray's control store keep the function, the first time, and waits for it.
    done: dict[str, Any] = await call(await off_loop(task.remote, *args, timeout_s=timeout_s), what, timeout_s)
    return done


class Maintenance:
    """Runs `maintain` for ever; `last` tells what came of the last run, `damaged` what the last compaction found."""

    def __init__(
        self, system: System, log: SystemLog, interval_s: float = INTERVAL_S, tally: m.Tally | None = None
    ) -> None:
        self._system, self._log, self._interval_s = system, log, interval_s
        self._tally = tally if tally is not None else m.Tally()
        self.one_at_a_time = asyncio.Lock()
        """Held by whatever rewrites objects: of two compactions of one hour, one would have worked for nothing."""
        self.last: dict[str, Any] = {}
        self.damaged: dict[str, str] = {}
        """Why each of these objects cannot be read, by its key."""

    async def run(self) -> None:
        """Maintain, wait, again; at once while there is more to merge. What fails is told and tried again."""
        task = task_of(maintain)
        while True:
            started_s = time.monotonic()
            try:
                async with self.one_at_a_time:
                    what = (self._system, tuple(self.damaged), await self._backlog_bytes())
                    done = await run_task(task, "the maintenance task", TIMEOUT_S, *what)
                self.last = dict(done)
                self._count(self.last, time.monotonic() - started_s)
            except (EssError, OSError, ray.exceptions.RayError) as error:
                self.last = {"failed": str(error)}
                self._tally.count(m.MAINTENANCE_RUNS, 1, "failed")
                _log.warning("maintenance failed, it is tried again in %g s: %s", self._interval_s, error)
            progress = bool(self.last.get("more") and self.last.get("new_objects"))
            await asyncio.sleep(0 if progress else self._interval_s)

    async def compact_now(self, before_us: int | None) -> dict[str, Any]:
        """Compact whatever is small, busy hours too, after a run that is under way. Raises Unavailable."""
        task = task_of(compact_now)
        async with self.one_at_a_time:
            started_s = time.monotonic()
            what = (self._system, True, before_us, tuple(self.damaged), await self._backlog_bytes())
            done = await run_task(task, "the compaction task", COMPACT_TIMEOUT_S, *what)
            self._count(done, time.monotonic() - started_s)
            return done

    async def _backlog_bytes(self) -> int:
        try:
            return await self._log.backlog_bytes() or 0
        except Unavailable as error:  # retention and garbage must not wait for a log that is just being restarted
            _log.warning("maintenance leaves room for the reserve alone: %s", error.message)
            return 0

    def _count(self, done: dict[str, Any], seconds: float) -> None:
        self.damaged = {one["key"]: one["reason"] for one in done["damaged"]}
        self._tally.count(m.MAINTENANCE_RUNS, 1, "done")
        self._tally.observe(m.MAINTENANCE_SECONDS, seconds)
        for name, metric in COUNTS.items():
            self._tally.count(metric, done.get(name, 0))
