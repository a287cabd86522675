"""The seam to a function somewhere else: invoking it, and the cap on how often at a time."""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import dataclass
from typing import Protocol

from ess_ray.ports.executor import ScanResult, ScanTask


@dataclass(frozen=True)
class Invoked:
    """What an invocation gave, and the memory times the time that it is billed for."""

    result: ScanResult
    gb_seconds: float


class ScanFunction(Protocol):
    """A function somewhere else that runs scan tasks, as many at a time as it is asked to."""

    @property
    def memory_gb(self) -> float:
        """What a second of it is billed for."""
        ...

    def start(self, task: ScanTask) -> Future[Invoked]:
        """Invoke it once, without waiting. The future ends when the invocation does, whoever still wants it.

        It raises TooFast (refused, it did not run), Unavailable (lost: it crashed, ran out of time or memory, or its
        answer did not arrive; `gb_seconds` in its details), or another EssError: asking again will not help.
        """
        ...


class InvocationSlots(Protocol):
    """The concurrency cap of a function, shared by all searches, and by all replicas where the adapter can."""

    @property
    def cap(self) -> int: ...

    async def take(self) -> str | None:
        """Take a slot and give its name; None when all are taken. Slots of a replica that died come back."""
        ...

    async def give_back(self, slot: str) -> None:
        """Free a slot. Idempotent."""
        ...
