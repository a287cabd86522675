"""A book of alerts in memory, a clock that stands, and answers that a test gives: what alerts are tested in."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ess_ray.alerts.book import AlertBook
from ess_ray.alerts.policy import Answer, Row
from ess_ray.alerts.rules import Group, Rule, read_group
from ess_ray.alerts.running import Alerting
from ess_ray.ports import ObjectStore, Receiver
from ess_ray.testing import MemoryObjectStore

S_US = 1_000_000
MINUTE_US = 60 * S_US
T0_US = 1_790_000_000_000_000


def rule(**changes: Any) -> dict[str, Any]:
    """A rule as it is written: without `for`, over five minutes."""
    return {"alert": "High", "expr": "level:ERROR", **{name.rstrip("_"): value for name, value in changes.items()}}


def group(*rules: Mapping[str, Any], name: str = "g", **changes: Any) -> Group:
    """A group that is evaluated each minute."""
    return read_group({"name": name, "interval": "1m", "rules": list(rules or [rule()]), **changes})


def counted(value: float | None, events: int | None = None) -> Answer:
    """An answer without groups."""
    return Answer((Row({}, value),), int(value or 0) if events is None else events, True)


def grouped(**values: float | None) -> Answer:
    """An answer by service."""
    return Answer(tuple(Row({"service": name}, value) for name, value in values.items()), len(values), True)


INCOMPLETE = Answer((), 0, False, ("virtual node 3: no owner",))


class World:
    """One book, one clock, one loop at a time: `restart` makes another loop, as a process does that begins anew."""

    def __init__(self, *receivers: Receiver, store: ObjectStore | None = None, page_url: str = "") -> None:
        self.now_us = T0_US
        self.store: ObjectStore = store if store is not None else MemoryObjectStore(clock_us=lambda: self.now_us)
        self.book = AlertBook(self.store)
        self.receivers, self._page_url = receivers, page_url
        self.answer: Answer | Callable[[Rule, tuple[int, int]], Answer] = counted(0)
        self.asked: list[tuple[str, str, tuple[int, int]]] = []
        self.loop = self._made()

    def _made(self) -> Alerting:
        return Alerting(self.book, self, self.receivers, lambda: self.now_us, page_url=self._page_url)

    async def ask(self, tenant: str, rule: Rule, window: tuple[int, int]) -> Answer:
        self.asked.append((tenant, rule.alert, window))
        return self.answer if isinstance(self.answer, Answer) else self.answer(rule, window)

    def restart(self) -> None:
        self.book = AlertBook(self.store)
        self.loop = self._made()

    async def step(self, answer: Answer | None = None, minutes: float = 1) -> None:
        """Let time go on, evaluate, and tell everybody."""
        self.now_us += round(minutes * MINUTE_US)
        if answer is not None:
            self.answer = answer
        await self.loop.step()
        await self.tell()

    async def tell(self) -> None:
        for receiver in self.receivers:
            await self.loop.tell(receiver.name)
