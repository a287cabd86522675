"""The pace of a tail: look often while rows come, seldom while none do, and tell its progress every second."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass
from typing import Final

import pyarrow as pa

from ess_ray.core.errors import EssError
from ess_ray.core.merge import EMPTY
from ess_ray.search.tail import UNCOVERED_S, Look, Tail

BUSY_S: Final = 0.25
"""Pause between looks while rows come: what a person takes for at once."""
IDLE_S: Final = 1.0
"""Pause when none have come for a while: a tail of something rare asks the owners once a second."""
PROGRESS_S: Final = 1.0
"""How often the progress is told, at the least: proxies and clients see that the stream lives."""

Sleep = Callable[[float], Awaitable[None]]


@dataclass(frozen=True)
class Shown:
    """Rows that matched, in order, and the cursor behind them."""

    rows: pa.Table
    cursor: str


@dataclass(frozen=True)
class TailProgress:
    """Where a tail stands. `matched` counts since it began; `shown`, `skipped` and repeats by id add up to it."""

    matched: int
    shown: int
    skipped: int
    duplicates_suppressed: int
    rate_per_s: float
    """Rows that matched, by second, since the progress was told before."""
    lag_records: int
    incomplete: list[str]
    """What is in the log, or may be, and cannot be shown just now."""
    cursor: str


class _Figures:
    """A tail's counts."""

    def __init__(self, tail: Tail, clock_s: Callable[[], float]) -> None:
        self._tail, self._clock_s = tail, clock_s
        self._told_s = clock_s()
        self._matched = self._shown = self._skipped = self._repeats = self._told_matched = 0
        self._trouble: tuple[float, str] | None = None  # since when looks fail, and why

    def count(self, look: Look) -> None:
        self._trouble = None
        self._matched += look.matched
        self._shown += len(look.rows)
        self._skipped += look.skipped
        self._repeats += look.duplicates_suppressed

    def failed(self, error: EssError) -> None:
        since_s = self._clock_s() if self._trouble is None else self._trouble[0]
        self._trouble = since_s, error.message

    @property
    def due_in_s(self) -> float:
        return max(0.0, self._told_s + PROGRESS_S - self._clock_s())

    def tell(self) -> TailProgress:
        now_s = self._clock_s()
        new, seconds = self._matched - self._told_matched, now_s - self._told_s
        self._told_s, self._told_matched = now_s, self._matched
        troubled = self._trouble is not None and now_s - self._trouble[0] >= UNCOVERED_S
        return TailProgress(
            self._matched,
            self._shown,
            self._skipped,
            self._repeats,
            round(new / seconds, 1) if seconds > 0 else 0.0,
            self._tail.lag_records,
            self._tail.incomplete() + ([self._trouble[1]] if self._trouble is not None and troubled else []),
            str(self._tail.cursor),
        )


async def follow(
    tail: Tail, clock_s: Callable[[], float] = time.monotonic, sleep: Sleep = asyncio.sleep
) -> AsyncGenerator[Shown | TailProgress, None]:
    """Look for ever. Closing ends a look under way.

    The progress comes first, so that who is cut off before anything matched has a cursor. A part that is away for a
    while is waited for, and named; raises EssError for what waiting does not help.
    """
    figures, pause_s = _Figures(tail, clock_s), BUSY_S
    yield figures.tell()
    while True:
        looking = asyncio.create_task(tail.look(), name="tail looks")
        try:
            while not await _done_within(looking, figures.due_in_s, sleep):
                yield figures.tell()
            try:
                look = looking.result()
            except EssError as error:
                if not error.retryable:
                    raise
                figures.failed(error)
                look = Look(EMPTY, 0, 0)
            else:
                figures.count(look)
        finally:
            looking.cancel()
            await asyncio.gather(looking, return_exceptions=True)
        if len(look.rows):
            yield Shown(look.rows, str(tail.cursor))
        if not figures.due_in_s:
            yield figures.tell()  # so that it is due in a second
        pause_s = BUSY_S if look.matched else min(2 * pause_s, IDLE_S)
        await sleep(min(pause_s, figures.due_in_s))


async def _done_within(looking: asyncio.Task[Look], seconds: float, sleep: Sleep) -> bool:
    tick = asyncio.ensure_future(sleep(seconds))
    try:
        await asyncio.wait({looking, tick}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        tick.cancel()
    return looking.done()
