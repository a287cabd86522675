"""The deletions of a system, carried out one after the other in Ray tasks, and gone on with after any restart."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final

import ray

from ess_ray.adapters.kafka_log import DEAD_LETTER_RETENTION_S
from ess_ray.core.errors import BadRequest, EssError
from ess_ray.core.timestamps import format_timestamp
from ess_ray.ports import EventLog, ResultStore
from ess_ray.runtime.log import SystemLog
from ess_ray.runtime.maintain import run_task, task_of
from ess_ray.runtime.wiring import System
from ess_ray.table.deletion import Rewriting
from ess_ray.table.deletion_book import Cut, Deletion, DeletionBook
from ess_ray.table.deletion_bytes import clear, due_us

_log = logging.getLogger(__name__)

LOOK_S: Final = 60.0
"""How often it is looked for deletions without being told of one: who asks tells the supervisor, if it is there."""
RETRY_S: Final = 5.0
"""Pause after a step that failed."""
REWRITE_TIMEOUT_S: Final = 12 * 3600.0
"""A large table with a query that no index helps is read as a whole. What was done when it is over stays done."""
CLEAR_TIMEOUT_S: Final = 3600.0
_S_US: Final = 1_000_000

Step = Callable[[str], Awaitable[object]]
"""Carries a step of the deletion with this id out, in the book too."""


@dataclass(frozen=True)
class Steps:
    """What a deletion is made of. `flush` stores everything below the ends of the log; `results`: whose answers are to
    be dropped here, None where each search replica has its own; `forget`: has alerts of a tenant let go of what they
    tell of the time before a moment."""

    flush: Callable[[], Awaitable[object]]
    rewrite: Step
    clear: Step
    beyond: Callable[[Deletion, int], Awaitable[tuple[str, ...]]]
    results: ResultStore | None = None
    forget: Callable[[str, int], None] = lambda tenant, until_us: None


class Deleting:
    """Carries deletions out for ever, the oldest first; `trouble` tells what is in the way of one."""

    def __init__(self, book: DeletionBook, log: EventLog, steps: Steps, now_us: Callable[[], int]) -> None:
        self._book, self._log, self._steps, self._now_us = book, log, steps, now_us
        self._wake = asyncio.Event()
        self._troubles: dict[str, str] = {}
        self._away: str | None = None

    def look(self) -> None:
        """Look for a new deletion at once."""
        self._wake.set()

    @property
    def trouble(self) -> list[str]:
        """Name the deletions that cannot go on just now, and why, and those that cannot be read."""
        waiting = [f"deletion {one} waits: {reason}" for one, reason in sorted(self._troubles.items())]
        away = [] if self._away is None else [f"deletions cannot be read just now, and wait: {self._away}"]
        return [*away, *waiting, *self._book.unreadable]

    async def run(self) -> None:
        """Do what there is to do, wait for more, again."""
        while True:
            wait_s = await self.step_all()
            with suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._wake.wait()
            self._wake.clear()

    async def step_all(self) -> float:
        """Take each deletion as far as it goes just now; gives the seconds until there may be more to do."""
        wait_s = LOOK_S
        try:
            found = await asyncio.to_thread(self._book.unfinished)
            self._away = None
        except (EssError, OSError) as error:
            self._away = str(error)
            _log.warning("deletions cannot be read just now: %s", error)
            return RETRY_S
        for one in found:
            try:
                wait_s = min(wait_s, await self._step(one))
                self._troubles.pop(one.id, None)
            except BadRequest as error:  # its text is no query any more: trying again does not help
                await self._fail(one, error.message)
            except (EssError, OSError, ray.exceptions.RayError) as error:
                self._troubles[one.id] = str(error)
                _log.warning("deletion %s waits: %s", one.id, error)
                wait_s = min(wait_s, RETRY_S)
        return wait_s

    async def _step(self, one: Deletion) -> float:
        if one.state == "running":
            if one.cut is None:
                await self._make_cut(one)
            elif (cut := one.cut.carried_to(await self._log.log_id())) != one.cut:  # it was asked for elsewhere
                await asyncio.to_thread(self._book.write, replace(one, cut=cut))
            await self._steps.rewrite(one.id)
            one = await asyncio.to_thread(self._book.read, one.id)
        if self._steps.results is not None and not await asyncio.to_thread(self._book.are_answers_dropped, one.id):
            await self._steps.results.drop_all(one.tenant)
            await asyncio.to_thread(self._book.answers_dropped, one.id)
        if one.done_us is not None:
            await asyncio.to_thread(self._steps.forget, one.tenant, one.done_us)
        left_s = (due_us(one) - self._now_us()) / _S_US
        if left_s > 0:
            return left_s
        await self._steps.clear(one.id)
        after = await asyncio.to_thread(self._book.read, one.id)
        return LOOK_S if after.finished else max(RETRY_S, (due_us(after) - self._now_us()) / _S_US)

    async def _make_cut(self, one: Deletion) -> None:
        """Store everything that was acknowledged by now, and keep up to where that is."""
        log_id, ends = await self._log.log_id(), await self._log.end_offsets()
        beyond = await self._steps.beyond(one, self._now_us())
        await self._steps.flush()
        await asyncio.to_thread(self._book.write, replace(one, cut=Cut(log_id, ends), beyond=beyond))

    async def _fail(self, one: Deletion, reason: str) -> None:
        _log.error("deletion %s failed: %s", one.id, reason)
        with suppress(EssError, OSError):
            await asyncio.to_thread(self._book.write, replace(one, state="failed", incomplete=(reason,)))


def rewrite_now(system: System, deletion_id: str, backlog_bytes: int = 0) -> dict[str, Any]:
    """Take the rows of a deletion out of the table. Idempotent. Raises Unavailable, UnknownOutcome.

    `backlog_bytes`: in the log and not stored yet, for which it leaves room on the disk.
    """
    book = system.deletions()
    found = book.read(deletion_id)
    if found.state == "running":
        found = Rewriting(
            system.catalog(),
            system.store(),
            book,
            found,
            message_codec=system.compaction.message_codec,
            room=partial(system.room_to_merge, backlog_bytes),
        ).run()
    return {"rows_deleted": found.rows_deleted}


def clear_now(system: System, deletion_id: str) -> dict[str, Any]:
    """Delete the bytes of a deletion from the store, if they may go. Idempotent. Raises Unavailable."""
    book = system.deletions()
    return {"bytes_gone": clear(system.catalog(), system.store(), book, book.read(deletion_id)).bytes_gone}


async def beyond_of(system: System, log: EventLog, one: Deletion, now_us: int) -> tuple[str, ...]:
    """Name where events of a deletion may still be, and until when."""
    told = []
    if system.kafka is not None:
        until = format_timestamp(now_us + system.kafka.retention_s * _S_US)
        told.append(f"the log's own topic keeps what was pushed, until {until} unless its retention was set otherwise")
        until = format_timestamp(now_us + DEAD_LETTER_RETENTION_S * _S_US)
        told.append(f"dead letters, records that could not be read, are kept until {until}")
    elif await asyncio.to_thread(system.dead_letters().list, ""):
        told.append("dead letters, records that could not be read, are kept until somebody deletes dead-letters/")
    if system.kafka is None:
        told.append("the log's file gives the space of stored records back to new ones, which write over them in time")
    if system.places.bucket is not None:
        told.append("a bucket with versions keeps what is deleted for as long as its own rules say")
    return tuple(told)


def deleting_of(
    system: System, log: SystemLog, flush: Callable[[], Awaitable[object]], one_at_a_time: asyncio.Lock
) -> Deleting:
    """Build it over Ray tasks. `one_at_a_time` keeps compactions out while rows are taken out: what one of them had
    merged before, and could not commit any more, would lie in the store for a day."""
    rewriting, clearing = task_of(rewrite_now), task_of(clear_now)

    async def rewrite(deletion_id: str) -> None:
        async with one_at_a_time:
            backlog_bytes = await log.backlog_bytes() or 0
            await run_task(rewriting, "the deletion task", REWRITE_TIMEOUT_S, system, deletion_id, backlog_bytes)

    steps = Steps(
        flush,
        rewrite,
        lambda one: run_task(clearing, "the deletion task", CLEAR_TIMEOUT_S, system, one),
        partial(beyond_of, system, log),
        None if system.redis_url is None else system.result_store(),
        system.alert_book().forget,
    )
    return Deleting(system.deletions(), log, steps, system.store().now_us)
