"""A replica that is to end: it is looked for while something lasts, and what runs is ended once, in time."""

from __future__ import annotations

import asyncio

from deployments.departure import Departure
from tests.waiting import until

LOOK_S = 0.001


class Replica:
    """What a departure asks, and what it ends."""

    def __init__(self, grace_s: float = 0.0) -> None:
        self.leaving = False
        self.asked = self.ended = 0
        self.departure = Departure(self._ask, self._end, LOOK_S, grace_s)

    async def _ask(self) -> bool:
        self.asked += 1
        return self.leaving

    async def _end(self) -> None:
        self.ended += 1


def looking() -> int:
    return sum(task.get_name().startswith("look whether") for task in asyncio.all_tasks())


async def test_nobody_is_asked_unless_something_lasts() -> None:
    replica = Replica()
    with replica.departure.watched():
        pass
    await asyncio.sleep(0)  # lets what was cancelled end
    assert (replica.asked, looking()) == (0, 0)
    with replica.departure.watched():
        await until(lambda: replica.asked > 2, "it is not asked again")
    await asyncio.sleep(0)
    assert (looking(), replica.departure.begun, replica.ended) == (0, False, 0)


async def test_one_look_serves_all_who_last() -> None:
    replica = Replica()
    with replica.departure.watched():
        with replica.departure.watched(), replica.departure.watched():
            assert looking() == 1
        await until(lambda: replica.asked > 0, "nobody is asked")
        assert looking() == 1, "one still lasts"


async def test_what_runs_is_ended_once_after_the_grace_also_when_nothing_lasts_any_more() -> None:
    replica = Replica(grace_s=0.05)
    replica.leaving = True
    with replica.departure.watched():
        await until(lambda: replica.departure.begun, "the end is not seen")
        assert replica.ended == 0, "searches may run on for a while"
    await until(lambda: replica.ended == 1, "what runs is not ended")
    with replica.departure.watched():
        assert replica.departure.begun
    await until(lambda: looking() == 0, "it looks on")
    assert replica.ended == 1
