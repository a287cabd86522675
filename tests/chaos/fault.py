"""What a fault is: how it is made, how long it lasts, how it is undone, and what must have been so meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.chaos.run import Run
from tests.chaos.world import Place, World


def _inject_nothing(_: World) -> None:
    return


def _heal_nothing(_: World, __: Any) -> None:
    return


def _no_check(_: Run) -> None:
    return


@dataclass(frozen=True)
class Fault:
    """One row. `inject` gives what `heal` and `check` need; between them the load goes on for `hold_s`, or until
    `until` holds, or while `during` does what makes up the fault (then `check` needs what that gives)."""

    name: str
    place: Place
    inject: Callable[[World], Any] = _inject_nothing
    heal: Callable[[World, Any], None] = _heal_nothing
    hold_s: float = 0.0
    until: Callable[[World, Any], bool] | None = None
    during: Callable[[Run], Any] | None = None
    check: Callable[[Run], None] = _no_check
    since_healed: bool = False
    """Whether recovering is counted from the healing (the fault lasted) or from the fault itself (it was a moment)."""

    @property
    def label(self) -> str:
        return f"{self.place}: {self.name}"
