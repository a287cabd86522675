"""When memory is given back, and that it is."""

from __future__ import annotations

import subprocess
import sys

from ess_ray.runtime.memory import BURST_BYTES, after_bursts, after_growth

FREED_BETWEEN_WHAT_STAYS = """
import psutil
from ess_ray.runtime.memory import give_back
me = psutil.Process()
pieces = [bytearray(60_000) for _ in range(2_000)]
stay = pieces[::2]
del pieces
held = me.memory_full_info().uss
give_back()
print(held - me.memory_full_info().uss)
"""


def test_it_is_given_back_once_after_each_burst_when_that_is_over() -> None:
    large, small = BURST_BYTES, BURST_BYTES - 1
    held = [small, large, large, small, small, large, small]
    given: list[int] = []
    at = -1

    def look() -> int:
        return held[at]

    def wait() -> bool:
        nonlocal at
        at += 1
        return at == len(held)

    after_bursts(look, wait, lambda: given.append(at))
    assert given == [3, 6]


def test_it_is_given_back_whoever_used_it_once_a_process_grows_no_more() -> None:
    large, larger = BURST_BYTES, 2 * BURST_BYTES
    sizes = [0, large - 1, large, larger, larger, larger, large - 1, larger, larger]
    given: list[int] = []
    at = -1

    def wait() -> bool:
        nonlocal at
        at += 1
        return at == len(sizes)

    after_growth(lambda: sizes[max(at, 0)], wait, lambda: given.append(at))
    assert given == [4, 5, 8]


def test_what_was_freed_between_what_stays_is_given_back() -> None:
    done = subprocess.run([sys.executable, "-c", FREED_BETWEEN_WHAT_STAYS], capture_output=True, text=True, check=True)
    assert int(done.stdout) > 40_000_000
