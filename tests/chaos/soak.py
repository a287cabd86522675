"""`make chaos CHAOS=soak`: one system under load for SOAK_MINUTES, broken over and over in random ways.

Each round is a row of the table of faults, chosen by CHAOS_SEED, and compared like one, so that what is remembered of
events ends with the round. At the end: what each fault cost, and the memory of each process as a table and a picture,
in build/soak. A system that takes events all the time fills the disk with some GB an hour.
"""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections import Counter
from pathlib import Path
from random import Random
from typing import Final

from rich.console import Console

from tests.chaos.faults import FAULTS
from tests.chaos.memory import MemoryBook, draw, table
from tests.chaos.report import Outcome, outcome, show
from tests.chaos.run import SEED, Run, carry_out, problems
from tests.chaos.world import Place, World, world

PLACE: Final[Place] = "embedded"
MINUTES: Final = float(os.environ.get("SOAK_MINUTES", "60"))
FOLDER: Final = Path("build/soak")
SHOWN: Final = 100
"""Rounds in the table at the end, the last ones; every round is printed when it is over."""


def main() -> int:
    """Run; gives the exit code: 1 if anything was lost, doubled, altered, or did not recover."""
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    print(f"{MINUTES:g} minutes, CHAOS_SEED={SEED}", flush=True)
    rounds: list[Outcome] = []
    with world(PLACE, (FOLDER / "system").resolve()) as system, MemoryBook(system.system) as book:
        try:
            found = _rounds(system, rounds)
        finally:
            series = book.series()
            (FOLDER / "memory.md").write_text(table(series))
            draw(series, FOLDER / "memory.svg")
    show(rounds[-SHOWN:], Console(width=200))
    print(f"{table(series)}\nMemory over time: {FOLDER / 'memory.svg'}")
    if found["failed"]:
        print(f"{found['failed']} of {found['rounds']} rounds failed; the data is in {FOLDER / 'system'}")
        return 1
    shutil.rmtree(FOLDER / "system")
    return 0


def _rounds(system: World, rounds: list[Outcome]) -> Counter[str]:
    """Break and compare until the time is over, or a system does not recover."""
    random, until_s, found = Random(SEED), time.monotonic() + 60 * MINUTES, Counter[str]()
    faults = [fault for fault in FAULTS if fault.place == PLACE]
    while time.monotonic() < until_s:
        fault, runs, wrong = random.choice(faults), list[Run](), list[str]()
        try:
            wrong = problems(carry_out(fault, system, runs))
        except Exception as error:  # noqa: BLE001 (told, and the soak ends: what does not recover cannot be broken again)
            wrong, until_s = [f"{type(error).__name__}: {error}"], 0.0
        rounds.append(outcome(fault.label, runs[0] if runs else None, not wrong))
        del rounds[:-SHOWN]
        found += Counter(rounds=1, failed=int(bool(wrong)))
        print(f"round {found['rounds']}: {' | '.join(rounds[-1].cells)} {wrong or ''}", flush=True)
    return found


if __name__ == "__main__":
    sys.exit(main())
