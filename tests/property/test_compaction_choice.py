"""The choice of what to compact, proved: however objects arrive, few stay, and no row is rewritten often."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ess_ray.ports import ObjectEntry
from ess_ray.table.compaction import BUSY_INPUTS, QUIET_US, SMALL_BYTES, TARGET_BYTES, choose
from tests.compactions import HOUR_US, MIB, T0_US
from tests.examples import examples

RUN_EVERY_US = 600 * 1_000_000
"""Between two runs of the background's compaction."""
GOLDEN = (1 + math.sqrt(5)) / 2


@dataclass
class Held:
    """An object of the simulated hour: of each first object inside it, the size and how often it was rewritten."""

    entry: ObjectEntry
    inside: list[tuple[int, int]]


class Hour:
    """One hour of one tenant, whose objects are merged as `choose` says; sizes add up."""

    def __init__(self) -> None:
        self.now_us = T0_US
        self.held: dict[str, Held] = {}
        self._made = 0

    def arrive(self, size: int) -> None:
        self._hold(size, self.now_us, [(size, 0)])

    def _hold(self, size: int, modified_us: int, inside: list[tuple[int, int]]) -> None:
        self._made += 1
        key = f"{self._made:09d}"
        entry = ObjectEntry(key, size, "default", "2026-09-21", 0, 1, T0_US, T0_US, modified_us)
        self.held[key] = Held(entry, inside)

    def compact(self) -> None:
        """Merge until nothing is worth it, holding each rewrite against what is promised."""
        while chosen := choose([one.entry for one in self.held.values()], self.now_us):
            total = sum(entry.size for entry in chosen)
            assert len(chosen) > 1
            assert total <= TARGET_BYTES
            assert total >= 2 * max(entry.size for entry in chosen), "a rewrite that does not double its largest"
            inside = [one for entry in chosen for one in self.held.pop(entry.key).inside]
            self._hold(total, max(entry.modified_us for entry in chosen), [(size, n + 1) for size, n in inside])

    def check(self, busy: bool) -> None:
        sizes = [one.entry.size for one in self.held.values()]
        assert len(sizes) <= most_left(sizes, busy), sorted(sizes)
        for one in self.held.values():
            for size, rewrites in one.inside:
                assert rewrites <= max(0.0, math.log2(TARGET_BYTES / size))


def most_left(sizes: Sequence[int], busy: bool) -> float:
    """Count what may be left at rest, by the proof: O(bytes / TARGET_BYTES + log)."""
    large = 3 * sum(sizes) / TARGET_BYTES  # of TARGET_BYTES / 3 and more each
    spread = TARGET_BYTES / min(sizes)
    if not busy:
        # Three neighbours below that fit together, so the third is larger than the other two.
        return large + 3 + math.log(spread, GOLDEN)
    # Up to a 16th of the target: 16 neighbours fit together, so the last is larger than 15 times the first.
    tiny = (BUSY_INPUTS - 1) * (2 + math.log(spread / BUSY_INPUTS, BUSY_INPUTS - 1))
    # Up to a quarter: those that make half of the target together fit, and are worth it. Above: three of them.
    return large + tiny + BUSY_INPUTS // 2 + 2


def simulate(arrivals: Iterable[tuple[int, int]]) -> Hour:
    """Let objects (bytes, microseconds after the one before) arrive, with a run of compaction every ten minutes."""
    hour, next_run_us = Hour(), T0_US
    for size, after_us in arrivals:
        hour.now_us += after_us
        while next_run_us <= hour.now_us:
            hour.compact()
            next_run_us += max(RUN_EVERY_US, (hour.now_us - next_run_us) // 4)
        hour.arrive(size)
    hour.compact()
    return hour


any_size = st.one_of(
    st.integers(1, 2 * SMALL_BYTES),
    st.integers(0, 27).flatmap(lambda power: st.integers(2**power, 2 ** (power + 1))),
    st.sampled_from([8_670_000, TARGET_BYTES // 15, TARGET_BYTES // 2 - 1, TARGET_BYTES // 3 + 1, 60 * MIB, 1000]),
)
gaps = st.sampled_from([0, 30 * 1_000_000, RUN_EVERY_US - 1, RUN_EVERY_US, HOUR_US])


@given(st.lists(st.tuples(any_size, gaps), min_size=1, max_size=120))
def test_however_objects_arrive_few_stay_and_none_is_rewritten_often(arrivals: list[tuple[int, int]]) -> None:
    hour = simulate(arrivals)
    hour.check(busy=True)
    hour.now_us += QUIET_US + 1
    hour.compact()
    hour.check(busy=False)


@settings(max_examples=examples(20))
@given(st.lists(st.tuples(any_size, gaps), min_size=1, max_size=6), st.integers(50, 200))
def test_a_pattern_that_goes_on_for_ever_ends_in_few_objects(pattern: list[tuple[int, int]], times: int) -> None:
    simulate(pattern * times).check(busy=True)


@pytest.mark.parametrize("size", [8_670_000, TARGET_BYTES // 15, 60 * MIB, 63 * MIB + 1, 20 * MIB, 64 * 1024])
@pytest.mark.parametrize("beside", [0, 1000, 5 * MIB, 10 * MIB])
def test_an_hour_that_keeps_receiving_merges_its_larger_objects(size: int, beside: int) -> None:
    """Late events every ten minutes keep it busy; a small object beside large ones must not keep them apart."""
    entry = ObjectEntry("", size, "default", "2026-09-21", 0, 1, T0_US, T0_US, T0_US)
    hour = Hour()
    for number in range(500):
        hour.held[f"old {number}"] = Held(replace(entry, key=f"old {number}"), [(size, 0)])
    for _ in range(6):
        if beside:
            hour.arrive(beside)
        hour.now_us += RUN_EVERY_US - 1
        hour.compact()
        hour.check(busy=True)
    assert sum(one.entry.size >= TARGET_BYTES // 2 for one in hour.held.values()) >= len(hour.held) - 2 * BUSY_INPUTS
