"""Faults of the machine below a system: a disk that is full, a clock that jumps."""

from __future__ import annotations

from typing import Any, Final

from tests.chaos.fault import Fault
from tests.chaos.run import Run
from tests.chaos.world import World

FULL_S: Final = 10.0
"""Several flushes long, and several tries of a client."""
AWAY_S: Final = 10.0
"""How long a clock stays where it jumped to."""
COMPACTION_LEAVES_BYTES: Final = 1024 * 1024
"""Of free space: the next small object fits, what compaction makes of all does not."""
COMPACTION_TIMEOUT_S: Final = 400.0
"""Under full load it gets a part of the machine, and merges some million events."""
HOUR_S: Final = 3600
DAY_S: Final = 24 * HOUR_S


def fill_log_disk(world: World) -> None:
    world.disks[0].fill()


def fill_table_disk(world: World) -> None:
    world.disks[1].fill()


def compact_on_a_full_disk(world: World) -> Any:
    """Ask for a compaction that has no room; gives how the command ended."""
    world.disks[1].fill(COMPACTION_LEAVES_BYTES)
    return world.system.ess("compact", ok=(0, 1))


def empty_disks(world: World, _: Any) -> None:
    for disk in world.disks:
        disk.empty()


def refused_in_order(run: Run) -> None:
    """A full disk is told by the status that every client repeats, and by no other."""
    told = run.clients.statuses(run.injected_s, run.lifted_s)
    assert not told.keys() - {202, 503}, told


def pushes_were_refused(run: Run) -> None:
    refused_in_order(run)
    assert run.clients.statuses(run.injected_s, run.lifted_s)[503], "a log without room has acknowledged everything"


def compaction_failed_aloud(run: Run) -> None:
    """It said why, if it failed, and it does not fail with room."""
    refused_in_order(run)
    if run.token.returncode:
        assert run.token.stderr.strip(), "`ess compact` failed without a word"
    run.world.system.ess("compact", timeout_s=COMPACTION_TIMEOUT_S)


def _jump(name: str, ahead_s: int) -> Fault:
    return Fault(
        f"the clock jumps {name}, for {AWAY_S:g} s, and returns",
        "own clock",
        lambda world: world.clock.set(ahead_s),
        lambda world, _: world.clock.set(0),
        hold_s=AWAY_S,
    )


def _full(name: str, inject: Any, check: Any) -> Fault:
    return Fault(name, "small disk", inject, empty_disks, hold_s=FULL_S, check=check, since_healed=True)


DISK_AND_CLOCK: Final = (
    _full("no room to push for 10 s", fill_log_disk, pushes_were_refused),
    _full("no room to flush for 10 s", fill_table_disk, refused_in_order),
    _full("no room to compact", compact_on_a_full_disk, compaction_failed_aloud),
    _jump("an hour ahead", HOUR_S),
    _jump("ten minutes back", -600),
    _jump("a day back", -DAY_S),
)
