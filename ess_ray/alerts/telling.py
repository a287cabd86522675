"""What whom is still to be told: states, receivers and silences -> notices. Pure.

Each receiver is told of each alert once that it fires and once that it is resolved, in this order, however late. What
it was told stands in the state, so that whoever takes up that state neither forgets nor repeats. A silenced alert is
not told as firing: when the silence ends and it still fires, it is. One that had been told as firing is told as
resolved, silenced or not, since its receiver waits for that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from ess_ray.alerts.states import Episode, GroupState, RuleState, Told

KEEP_ENDED_US: Final = 3_600_000_000
"""How long resolved alerts are listed."""
MAX_ENDED: Final = 1_000
"""Resolved alerts of a rule that are listed at the most: the newest."""
GIVE_UP_US: Final = 24 * 3_600_000_000
"""What a receiver was not told of an alert that ended so long ago, it is never told."""

Silenced = Callable[[Mapping[str, str]], bool]


@dataclass(frozen=True, slots=True)
class Due:
    """Something that a receiver is to be told: of which rule's episode."""

    rule: str
    episode: Episode
    status: Told


def due(state: GroupState, receiver: str, silenced: Silenced) -> Iterator[Due]:
    """Give what a receiver is to be told next of each alert of a group, the oldest first."""
    found = [
        Due(rule, episode, status)
        for rule, one in state.items()
        for episode in one.episodes
        if (status := _next(episode, receiver)) is not None and not (status == "firing" and silenced(episode.labels))
    ]
    yield from sorted(found, key=lambda one: (one.episode.fired_us or 0, one.episode.key))


def firing(state: GroupState, receiver: str, silenced: Silenced) -> Iterator[Due]:
    """Give what a receiver knows to fire, to be told again."""
    for rule, one in state.items():
        for episode in one.live.values():
            if episode.told.get(receiver) == "firing" and not silenced(episode.labels):
                yield Due(rule, episode, "firing")


def _next(episode: Episode, receiver: str) -> Told | None:
    if episode.fired_us is None:
        return None
    told = episode.told.get(receiver)
    if told is None:
        return "firing"
    return "resolved" if told == "firing" and episode.ended_us is not None else None


def told(state: GroupState, receiver: str, what: Sequence[Due]) -> dict[str, RuleState]:
    """Give the state in which a receiver knows what it was told. Idempotent; episodes that are gone are left out."""
    known = {(one.rule, one.episode.key): one.status for one in what}

    def with_told(rule: str, episode: Episode) -> Episode:
        status = known.get((rule, episode.key))
        return episode if status is None else episode.with_told(receiver, status)

    return {
        rule: replace(
            one,
            live={name: with_told(rule, episode) for name, episode in one.live.items()},
            ended=tuple(with_told(rule, episode) for episode in one.ended),
        )
        for rule, one in state.items()
    }


@dataclass(frozen=True, slots=True)
class Tidied:
    """A state without what nobody needs any more, and what receivers were never told of it."""

    state: dict[str, RuleState]
    given_up: tuple[Episode, ...]


def only_resolved(state: RuleState) -> RuleState:
    """Give the state of a rule of a group that was deleted: who was told of an alert waits for its end, nobody else."""
    return replace(state, ended=tuple(one for one in state.ended if "firing" in one.told.values()))


def tidy(
    state: GroupState,
    receivers: Sequence[str],
    silenced: Silenced,
    now_us: int,
    *,
    is_deleted: bool = False,
    forgotten_us: int = 0,
) -> Tidied:
    """Let go of alerts that have ended: those that everybody knows of after KEEP_ENDED_US, any after GIVE_UP_US.

    Those that ended while they were silenced, and that nobody had been told of, are known. `is_deleted`: the group is
    no more, so that nothing of it is listed. `forgotten_us`: when events were deleted last: what began before is not
    listed either, since it may tell of them.
    """
    tidied, given_up = {}, []
    for rule, one in state.items():
        ended = []
        for episode in one.ended:
            rest = _settled(episode, receivers, silenced)
            is_known = all(
                rest.told.get(name) == "resolved" for name in receivers if name in rest.told or not is_deleted
            )
            age_us = now_us - (rest.ended_us or 0)
            keep_us = 0 if is_deleted or rest.since_us <= forgotten_us else KEEP_ENDED_US
            if age_us < keep_us or (not is_known and age_us < GIVE_UP_US):
                ended.append((is_known, rest))
            elif not is_known:
                given_up.append(rest)
        known = [rest for is_known, rest in ended if is_known][-MAX_ENDED:]
        kept = {rest.key for rest in known} | {rest.key for is_known, rest in ended if not is_known}
        tidied[rule] = replace(one, ended=tuple(rest for _, rest in ended if rest.key in kept))
    return Tidied(tidied, tuple(given_up))


def _settled(episode: Episode, receivers: Sequence[str], silenced: Silenced) -> Episode:
    untold = [name for name in receivers if episode.told.get(name) is None]
    if not untold or not silenced(episode.labels):
        return episode
    return replace(episode, told={**episode.told, **dict.fromkeys(untold, "resolved")})
