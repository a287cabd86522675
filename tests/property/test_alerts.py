"""Alerts against an oracle: whatever answers come, whoever fails or dies between any two steps, each receiver is told
of each alert in order, nothing is forgotten, and nothing repeated but what was being sent when a process died."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from ess_ray.core.errors import Unavailable
from ess_ray.testing import HeardReceiver, MemoryObjectStore
from tests.alerting import INCOMPLETE, MINUTE_US, T0_US, World, counted, group, rule
from tests.examples import examples

Counts = Sequence[int | None]
"""What each minute's answer counts; None: it is not complete."""


class Died(BaseException):
    """The process ended here."""


class Fate:
    """Says what becomes of each of the things that may go wrong, in the order in which they come up."""

    def __init__(self, draws: Sequence[str]) -> None:
        self._draws = list(draws)

    def next(self) -> str:
        return self._draws.pop(0) if self._draws else "well"


class MortalStore(MemoryObjectStore):
    """A store at which its user dies: just before a state is put, or just after."""

    fate: Fate

    def put(self, key: str, data: bytes) -> None:  # type: ignore[override]
        end = self.fate.next() if key.startswith("states/") else "well"
        if end == "before":
            raise Died
        super().put(key, data)
        if end == "after":
            raise Died


def expected(counts: Counts, for_minutes: int) -> list[str]:
    """Say in plain Python what is told of one rule without groups."""
    told: list[str] = []
    since: int | None = None
    fired = False
    for minute, count in enumerate(counts):
        if count is None:
            continue
        if count:
            since = minute if since is None else since
            if not fired and minute - since >= for_minutes:
                fired = True
                told.append("firing")
        else:
            if fired:
                told.append("resolved")
            since, fired = None, False
    return told


async def lives(counts: Counts, for_minutes: int, fate: Fate) -> list[str]:
    """Let minutes go by, with a new process after each death, until everything was told; gives the keys told."""

    def on_send(moment: str) -> None:
        end = fate.next()
        if moment == "before" and end == "fails":
            raise Unavailable("the receiver is away")
        if end == moment:
            raise Died

    pager = HeardReceiver(on_send=on_send)
    store = MortalStore(lambda: T0_US)
    store.fate = Fate([])
    world = World(pager, store=store)
    world.book.apply("t", group(rule(for_=f"{for_minutes}m")))
    store.fate = fate
    whole, left = len(expected([*counts, 0], for_minutes)), 2
    for minute, count in enumerate([*counts, *[0] * 40]):
        if minute > len(counts) and len({one.key for one in pager.heard}) >= whole:
            left -= 1  # a last look for what is told too often
            if not left:
                break
        world.now_us += MINUTE_US
        world.answer = INCOMPLETE if count is None else counted(count)
        while True:
            try:
                await world.step(minutes=0)
                break
            except Died:
                world.restart()
    return [one.key for one in pager.heard]


ENDS = st.sampled_from(["well", "well", "well", "fails", "before", "after"])


@given(
    counts=st.lists(st.sampled_from([0, 1, 1, None]), max_size=14),
    for_minutes=st.integers(0, 3),
    draws=st.lists(ENDS, max_size=30),
)
@settings(max_examples=examples(200), deadline=None)
async def test_each_alert_is_told_in_order_whatever_dies(counts: Counts, for_minutes: int, draws: list[str]) -> None:
    fate = Fate(draws)
    keys = await lives(counts, for_minutes, fate)
    first = list(dict.fromkeys(keys))
    whole = expected([*counts, 0], for_minutes)
    assert [key.rpartition("/")[2] for key in first] == whole
    repeats = sum(count - 1 for count in Counter(keys).values())
    assert repeats <= draws.count("before") + draws.count("after")
    if not {"before", "after"} & set(draws):
        assert repeats == 0
