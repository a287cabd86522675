"""Calls that wait for the writer thread of the SQLite log, and how their callers on event loops get its answers."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ess_ray.core.errors import EssError
from ess_ray.ports import Record

_log = logging.getLogger(__name__)


@dataclass(eq=False, slots=True)
class Change:
    """One call that waits for the writer: records to add, or offsets to trim below."""

    records: Sequence[Record]
    headers: Sequence[bytes]
    starts: Mapping[int, int]
    bytes: int
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[list[int]]


def answer_all(group: Sequence[Change], answers: Sequence[list[int] | EssError]) -> None:
    """Hand the answers to their loops, one call for each loop."""
    by_loop: dict[asyncio.AbstractEventLoop, list[tuple[Change, list[int] | EssError]]] = {}
    for change, answer in zip(group, answers, strict=True):
        by_loop.setdefault(change.loop, []).append((change, answer))
    for loop, answered in by_loop.items():
        try:
            loop.call_soon_threadsafe(_resolve, answered)
        except RuntimeError:
            _log.debug("%d callers of the event log are gone with their loop", len(answered))


def _resolve(answered: Sequence[tuple[Change, list[int] | EssError]]) -> None:
    for change, answer in answered:
        if change.future.done():  # cancelled by its caller
            continue
        if isinstance(answer, EssError):
            change.future.set_exception(answer)
        else:
            change.future.set_result(answer)
