"""The loop over all rules: evaluate what is due, keep where it stands, tell whom it concerns, over ports and a clock.

A state is kept before anybody is told of it, and what was told is kept at once: whoever takes up the states after any
crash neither forgets an alert nor repeats one, but the one that was being sent just then (its notice has the same key).
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from typing import Final

from ess_ray import metrics as m
from ess_ray.alerts.asking import Asks, page_of, rows_query
from ess_ray.alerts.book import AlertBook, rules_place
from ess_ray.alerts.policy import end_all, evaluate
from ess_ray.alerts.rules import Group, Rule
from ess_ray.alerts.schedule import next_us, slots_due
from ess_ray.alerts.silences import Silence, covering
from ess_ray.alerts.states import RuleState, fingerprint
from ess_ray.alerts.telling import Due, due, firing, only_resolved, tidy, told
from ess_ray.core.errors import CorruptData, EssError
from ess_ray.ports import Bundle, Notice, Receiver

_log = logging.getLogger(__name__)

LOOK_US: Final = 30_000_000
"""How often it is looked for other rules and silences without being told of them."""
PARALLEL: Final = 4
"""Groups that are evaluated at a time: people search beside them."""
BUNDLE_NOTICES: Final = 100
"""In one message at the most: a page of them."""
BACKOFF_US: Final = (2_000_000, 300_000_000)
"""Pause after a first failure to tell, and the longest: each is twice the one before."""
_S_US: Final = 1_000_000

Whose = tuple[str, str]
"""(tenant, name of the group)"""


def key_of(rule: Rule) -> str:
    """Name a rule's state in its group's."""
    return f"{rule.alert} {rule.meaning}"


def rule_of(group: Group, key: str) -> Rule | None:
    """Give the rule of a group whose state has this name; None where it is no more."""
    return next((rule for rule in group.rules if key_of(rule) == key), None)


@dataclass
class _Held:
    """A group and where its rules stand; `group` None: it was deleted, and what fired is being told as resolved.

    `is_unread`: it cannot be read just now, and is as it was; nobody knows its rules where `group` is None.
    """

    group: Group | None
    state: dict[str, RuleState]
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    unsaved: bool = False
    is_unread: bool = False
    forgotten_us: int = 0
    tried_us: dict[str, int] = field(default_factory=dict)

    def rules(self) -> Sequence[Rule]:
        return () if self.group is None else self.group.rules

    def state_of(self, rule: Rule) -> RuleState:
        return self.state.get(key_of(rule)) or RuleState(rule.meaning)


@dataclass
class _Trial:
    """What is known of telling a group's alerts to a receiver."""

    failures: int = 0
    again_us: int = 0
    sent_us: int = 0
    error: str | None = None


class Alerting:
    """Evaluates all rules of a book and tells receivers. One at a time may work on a book. Lives on one event loop."""

    def __init__(
        self,
        book: AlertBook,
        asks: Asks,
        receivers: Sequence[Receiver],
        now_us: Callable[[], int],
        *,
        page_url: str = "",
        tally: m.Tally | None = None,
    ) -> None:
        self._book, self._asks, self._now_us, self._page_url = book, asks, now_us, page_url
        self._receivers = {one.name: one for one in receivers}
        self._tally = tally if tally is not None else m.Tally()
        self._held: dict[Whose, _Held] = {}
        self._silences: list[Silence] = []
        self._trials: dict[tuple[str, Whose], _Trial] = {}
        self._wake, self._news = asyncio.Event(), {name: asyncio.Event() for name in self._receivers}
        self._slots = asyncio.Semaphore(PARALLEL)
        self._is_loaded, self._load_at_us = False, 0
        self._flaws: list[str] = []
        self._away: str | None = None

    def look(self) -> None:
        """Look for rules and silences at once."""
        self._load_at_us = 0
        self._wake.set()

    @property
    def trouble(self) -> list[str]:
        """Name the receivers that cannot be told just now, what of rules, silences and states cannot be read, and why;
        and why nothing can be evaluated."""
        failing = {
            f"alerts: the receiver {name} cannot be told: {trial.error}"
            for (name, _), trial in self._trials.items()
            if trial.error is not None
        }
        away = [] if self._away is None else [f"alerts are not evaluated just now: {self._away}"]
        return [*away, *self._flaws, *sorted(failing)]

    async def run(self) -> None:
        """Evaluate and tell for ever."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._evaluating(), name="alert rules")
            for name in self._receivers:
                tasks.create_task(self._telling(name), name=f"alerts to {name}")

    async def _evaluating(self) -> None:
        while True:
            wait_us = LOOK_US
            try:
                wait_us = min(wait_us, max(0, await self.step() - self._now_us()))
                self._away = None
            except (EssError, OSError) as error:
                self._away = str(error)
                _log.warning("alerts cannot be evaluated just now: %s", error)
            with suppress(TimeoutError):
                async with asyncio.timeout(wait_us / _S_US):
                    await self._wake.wait()
            self._wake.clear()

    async def _telling(self, name: str) -> None:
        while True:
            wait_us = LOOK_US
            with suppress(EssError, OSError):  # the store: told where rules are evaluated, which needs it too
                wait_us = max(0, await self.tell(name) - self._now_us())
            with suppress(TimeoutError):
                async with asyncio.timeout(wait_us / _S_US):
                    await self._news[name].wait()
            self._news[name].clear()

    # ------------------------------------------------------------------------------------------------------ evaluating
    async def step(self) -> int:
        """Evaluate what is due, and keep it; gives when there is more to do, at the latest. Raises Unavailable, OSError
        where the book cannot be read; what cannot be kept is done again."""
        if self._now_us() >= self._load_at_us:
            self._load_at_us = self._now_us() + LOOK_US
            await self._load()
        work = [self._evaluate(whose, held) for whose, held in list(self._held.items())]
        failed = [end for end in await asyncio.gather(*work, return_exceptions=True) if end is not None]
        self._count_firing()
        for event in self._news.values():
            event.set()
        if failed:
            raise failed[0]
        now_us = self._now_us()
        times = [
            next_us(held.group, rule, held.state_of(rule), now_us)
            for held in self._held.values()
            if held.group is not None
            for rule in held.group.rules
        ]
        return min([now_us + LOOK_US, *times])

    async def _load(self) -> None:
        """Read rules and silences, and the first time, where everything stood; what of that cannot be read, again."""
        if not self._is_loaded or self._book.lacks_states:
            for tenant, name, state in await asyncio.to_thread(lambda: list(self._book.states())):
                held = self._held.setdefault((tenant, name), _Held(None, state))
                held.state = held.state or state
            self._is_loaded = True
        applied = await asyncio.to_thread(self._book.groups)
        self._silences = await asyncio.to_thread(self._book.silences)
        unread = {one.place: f"alerts: group {one.name}: {one.flaw}" for one in applied if one.group is None}
        self._flaws = [*unread.values(), *self._book.flaws()]
        there = {(one.tenant, one.name): one.group for one in applied if one.group is not None}
        for whose, group in there.items():
            self._held.setdefault(whose, _Held(None, {})).group = group
        for whose, held in self._held.items():
            held.is_unread = rules_place(*whose) in unread
            if whose not in there and not held.is_unread:
                held.group = None
        await self._load_forgotten()

    async def _load_forgotten(self) -> None:
        for tenant in {tenant for tenant, _ in self._held}:
            try:
                forgotten_us = await asyncio.to_thread(self._book.forgotten, tenant)
            except CorruptData as error:
                self._flaws.append(error.message)
                continue
            for held in (held for (whose, _), held in self._held.items() if whose == tenant):
                held.forgotten_us = forgotten_us

    async def _evaluate(self, whose: Whose, held: _Held) -> None:
        if held.group is None and held.is_unread:
            return
        async with self._slots:
            after = self._fitted(held)
            for rule in held.rules():
                after.update(await self._evaluate_rule(whose, held, rule))
            async with held.lock:
                await self._settle(whose, held, after)

    def _fitted(self, held: _Held) -> dict[str, RuleState]:
        """Give the states of rules that are no more: what fired is resolved."""
        wanted = {key_of(rule) for rule in held.rules()}
        gone = {name: one for name, one in held.state.items() if name not in wanted}
        ended = {name: end_all(one, self._now_us()) for name, one in gone.items()}
        return ended if held.group is not None else {name: only_resolved(one) for name, one in ended.items()}

    async def _evaluate_rule(self, whose: Whose, held: _Held, rule: Rule) -> dict[str, RuleState]:
        """Evaluate a rule as often as is due; gives its state where that has become another one."""
        group, key, state, now_us = held.group, key_of(rule), held.state_of(rule), self._now_us()
        if group is None:
            return {}
        slots = slots_due(group, rule, state, now_us, held.tried_us.get(key))
        for slot_us in slots:
            window = rule.arrival_us(slot_us, group.interval_us)
            started_s = time.monotonic()
            answer = await self._asks.ask(whose[0], rule, window)
            held.tried_us[key] = self._now_us()
            self._tally.count(m.ALERT_EVALUATIONS, 1, "complete" if answer.complete else "incomplete")
            self._tally.observe(m.ALERT_EVALUATION_SECONDS, time.monotonic() - started_s)
            if not answer.complete:
                _log.warning("alert %s of tenant %s is as it was: %s", rule.alert, whose[0], answer.incomplete[0])
            state = evaluate(rule, state, answer, slot_us=slot_us, window=window, forgotten_us=held.forgotten_us)
        return {key: state} if slots else {}

    async def _settle(self, whose: Whose, held: _Held, after: Mapping[str, RuleState]) -> None:
        """Keep new states, with what receivers were told meanwhile; let go of what nobody needs any more."""
        merged = {**held.state, **{name: _with_told(held.state.get(name), one) for name, one in after.items()}}
        silenced, is_deleted = self._silencer(whose[0]), held.group is None
        tidied = tidy(
            merged,
            self._names(held),
            silenced,
            self._now_us(),
            is_deleted=is_deleted,
            forgotten_us=held.forgotten_us,
        )
        for episode in tidied.given_up:
            self._tally.count(m.ALERT_DELIVERIES, 1, "all", "given up")
            _log.error("nobody could be told of the alert %s within a day", dict(episode.labels))
        wanted = {key_of(rule) for rule in held.rules()}
        state = {name: one for name, one in tidied.state.items() if name in wanted or one.episodes}
        if state == held.state and not held.unsaved:
            return
        if held.group is None and not state:
            await asyncio.to_thread(self._book.delete_state, *whose)
            self._held.pop(whose, None)
            return
        await asyncio.to_thread(self._book.write_state, *whose, state)
        held.state, held.unsaved = state, False

    # --------------------------------------------------------------------------------------------------------- telling
    async def tell(self, name: str) -> int:
        """Tell a receiver what it is to know; gives when it is to be tried again, at the latest."""
        receiver = self._receivers[name]
        again_us = self._now_us() + LOOK_US
        for whose, held in list(self._held.items()):
            if name not in self._names(held) and held.group is not None:
                continue
            trial = self._trials.setdefault((name, whose), _Trial())
            again_us = min(again_us, await self._tell_group(receiver, whose, held, trial))
        return again_us

    async def _tell_group(self, receiver: Receiver, whose: Whose, held: _Held, trial: _Trial) -> int:
        """Tell a receiver of one group's alerts, until there is nothing to tell, or it fails."""
        name, silenced = receiver.name, self._silencer(whose[0])
        while (now_us := self._now_us()) >= trial.again_us:
            repeats = receiver.repeat_s is not None and now_us - trial.sent_us >= receiver.repeat_s * _S_US
            wanted = (
                one for one in due(held.state, name, silenced) if held.group is not None or one.status != "firing"
            )
            found = list(islice(wanted, BUNDLE_NOTICES))
            again = list(firing(held.state, name, silenced)) if repeats and not found else []
            if not found and not again:
                break
            bundle = Bundle(*whose, [self._notice(whose, held, one) for one in found or again], now_us)
            if not await self._send(receiver, bundle, trial):
                break
            if not found or not trial.sent_us:
                trial.sent_us = now_us
            if not found:
                break
            await self._keep_told(whose, held, name, found)
        return max(trial.again_us, self._now_us() + _S_US) if trial.error is not None else self._now_us() + LOOK_US

    async def _send(self, receiver: Receiver, bundle: Bundle, trial: _Trial) -> bool:
        started_s = time.monotonic()
        try:
            await receiver.send(bundle)
        except EssError as error:
            pause_us = min(BACKOFF_US[0] << min(trial.failures, 20), BACKOFF_US[1])
            trial.failures, trial.error, trial.again_us = trial.failures + 1, error.message, self._now_us() + pause_us
            self._tally.count(m.ALERT_DELIVERIES, 1, receiver.name, "failed")
            _log.warning(
                "alerts: %s was not told, and is again in %g s: %s", receiver.name, pause_us / 1e6, error.message
            )
            return False
        trial.failures, trial.error, trial.again_us = 0, None, 0
        self._tally.count(m.ALERT_DELIVERIES, 1, receiver.name, "sent")
        self._tally.observe(m.ALERT_DELIVERY_SECONDS, time.monotonic() - started_s)
        return True

    async def _keep_told(self, whose: Whose, held: _Held, name: str, what: Sequence[Due]) -> None:
        """Keep what a receiver knows: in memory in any case, so that it is not told twice, and then durably."""
        async with held.lock:
            held.state = told(held.state, name, what)
            held.unsaved = True
            await asyncio.to_thread(self._book.write_state, *whose, held.state)
            held.unsaved = False

    def _notice(self, whose: Whose, held: _Held, one: Due) -> Notice:
        episode = one.episode
        fired_us = episode.fired_us or episode.since_us
        state = held.state.get(one.rule)
        rule = None if held.group is None else rule_of(held.group, one.rule)
        url = ""
        if rule is not None and self._page_url:
            url = page_of(self._page_url, rows_query(rule, episode, None if state is None else state.last))
        name = fingerprint(episode.labels)
        key = f"{whose[0]}/{whose[1]}/{name}/{episode.since_us}/{one.status}"
        ends_us = episode.ended_us if one.status == "resolved" else None
        return Notice(key, one.status, episode.labels, episode.annotations, fired_us, ends_us, url, name)

    def _names(self, held: _Held) -> list[str]:
        """Name the receivers of a group; of one that is gone, all, of whom those that knew of an alert are told."""
        wanted = None if held.group is None else held.group.receivers
        return [name for name in self._receivers if wanted is None or name in wanted]

    def _silencer(self, tenant: str) -> Callable[[Mapping[str, str]], bool]:
        mine = [one for one in self._silences if one.tenant == tenant]
        return lambda labels: bool(covering(mine, labels, self._now_us()))

    def _count_firing(self) -> None:
        states = [
            one.state for held in self._held.values() for rule in held.state.values() for one in rule.live.values()
        ]
        self._tally.set(m.ALERTS_ACTIVE, states.count("firing"), "firing")
        self._tally.set(m.ALERTS_ACTIVE, states.count("pending"), "pending")


def _with_told(before: RuleState | None, after: RuleState) -> RuleState:
    """Take over what receivers were told while a rule was evaluated."""
    if before is None:
        return after
    known = {one.key: one.told for one in before.episodes}
    states = {"": after}
    for episode in after.episodes:
        for receiver, status in known.get(episode.key, {}).items():
            if episode.told.get(receiver) != status:
                states = told(states, receiver, [Due("", episode, status)])
    return states[""]
