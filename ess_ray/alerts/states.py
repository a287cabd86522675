"""Where a rule stands: alerts that are pending or fire, those that have ended, and its last evaluation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import Any, Final, Literal

import orjson

from ess_ray.core.errors import CorruptData

Told = Literal["firing", "resolved"]
FORMAT: Final = 1


def fingerprint(labels: Mapping[str, str]) -> str:
    """Name an alert by its labels; one without a label is one whose label is empty."""
    there = sorted((name, value) for name, value in labels.items() if value)
    return sha256(orjson.dumps(there)).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Episode:
    """One alert, from the evaluation that met its condition first. Times are those of evaluations, epoch microseconds.

    `fired_us` None: pending; `ended_us` None: it lives. `told`: by receiver, what it was told last of this episode.
    """

    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    since_us: int
    fired_us: int | None = None
    ended_us: int | None = None
    value: float | None = None
    told: Mapping[str, Told] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """Name this episode among all of its rule."""
        return f"{fingerprint(self.labels)}-{self.since_us}"

    @property
    def state(self) -> Literal["pending", "firing", "resolved"]:
        """Where it stands."""
        if self.ended_us is not None:
            return "resolved"
        return "pending" if self.fired_us is None else "firing"

    def with_told(self, receiver: str, status: Told) -> Episode:
        """Give it with what a receiver knows."""
        return replace(self, told={**self.told, receiver: status})


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What was asked at `slot_us`, of what was received from `first_us` to `end_us` (exclusive), and what came of it.

    `complete`: whether the answer was; one that was not changes nothing.
    """

    slot_us: int
    first_us: int
    end_us: int
    complete: bool
    incomplete: tuple[str, ...] = ()
    rows: int = 0
    events: int = 0
    elapsed_ms: int = 0
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RuleState:
    """`live` by fingerprint; `seen`: groups that rows were seen of, by fingerprint: labels, and when last."""

    meaning: str
    live: Mapping[str, Episode] = field(default_factory=dict)
    ended: tuple[Episode, ...] = ()
    seen: Mapping[str, tuple[Mapping[str, str], int]] = field(default_factory=dict)
    last: Evaluation | None = None

    @property
    def episodes(self) -> tuple[Episode, ...]:
        """All of them."""
        return (*self.ended, *self.live.values())


GroupState = Mapping[str, RuleState]
"""States of a group's rules by `Rule.alert` and `Rule.meaning` (`key_of`)."""


def encode_state(state: GroupState) -> bytes:
    """Write the states of a group."""
    rules = {name: _told(one) for name, one in state.items()}
    return orjson.dumps({"format": FORMAT, "rules": rules})


def decode_state(data: bytes, where: str) -> dict[str, RuleState]:
    """Read what `encode_state` gave. Raises CorruptData."""
    try:
        told = orjson.loads(data)
        if told["format"] != FORMAT:
            raise ValueError(f"format {told['format']!r}")
        return {name: _rule_state(one) for name, one in told["rules"].items()}
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise CorruptData(
            f"{where} does not read as the state of alerts ({error!r}): delete it, and its rules begin anew", key=where
        ) from error


def _told(state: RuleState) -> dict[str, Any]:
    return {
        "meaning": state.meaning,
        "live": list(state.live.values()),
        "ended": list(state.ended),
        "seen": [[labels, at_us] for labels, at_us in state.seen.values()],
        "last": state.last,
    }


def _rule_state(told: dict[str, Any]) -> RuleState:
    live = [Episode(**one) for one in told["live"]]
    last = told["last"]
    if last is not None:
        last = Evaluation(**{**last, "incomplete": tuple(last["incomplete"]), "notes": tuple(last["notes"])})
    return RuleState(
        told["meaning"],
        {fingerprint(one.labels): one for one in live},
        tuple(Episode(**one) for one in told["ended"]),
        {fingerprint(labels): (labels, at_us) for labels, at_us in told["seen"]},
        last,
    )
