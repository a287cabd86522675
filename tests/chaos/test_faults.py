"""Every acknowledged event is found exactly once, whatever happens: each fault under a constant load."""

from __future__ import annotations

import pytest

from tests.chaos.faults import FAULTS, Fault
from tests.chaos.report import Outcome, outcome
from tests.chaos.run import Run, carry_out, problems
from tests.chaos.world import Worlds


@pytest.mark.timeout(900)  # with the start of a system, and of its servers, on a machine that does other things
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.label)
def test_every_acknowledged_event_is_found_once(fault: Fault, worlds: Worlds, outcomes: list[Outcome]) -> None:
    runs: list[Run] = []
    passed = False
    try:
        run = carry_out(fault, worlds.get(fault.place), runs)
        assert problems(run) == []
        passed = True
    finally:
        outcomes.append(outcome(fault.label, runs[0] if runs else None, passed))
        if not passed:
            worlds.discard(fault.place)  # what is broken here would break the next row too
