"""The supervisor: keeps the pool of persist actors alive and says which of them owns which virtual node."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Sequence
from functools import partial
from typing import Any, Final

import ray

from ess_ray.core.errors import EssError, Unavailable
from ess_ray.core.ring import place
from ess_ray.core.timestamps import format_timestamp
from ess_ray.damage import MAX_NAMED, Damaged
from ess_ray.runtime.alerting import AlertsWatch, end_alerts
from ess_ray.runtime.blocking import off_loop
from ess_ray.runtime.deleting import deleting_of
from ess_ray.runtime.listeners import Listeners, end_listeners
from ess_ray.runtime.log import LogActor, open_log
from ess_ray.runtime.maintain import Maintenance
from ess_ray.runtime.metrics import published_tally
from ess_ray.runtime.persist import PersistActor
from ess_ray.runtime.placement import HEAD, spread
from ess_ray.runtime.rate import Rate
from ess_ray.runtime.slots import Slot, hand_over, read_actor_name
from ess_ray.runtime.wiring import LOG_ACTOR, SUPERVISOR_ACTOR, System, call

_log = logging.getLogger(__name__)

PING_INTERVAL_S: Final = 0.5
PING_TIMEOUT_S: Final = 3.0
"""An actor that does not answer so long is replaced: with the start of its replacement, searchable again in 5 s."""
START_TIMEOUT_S: Final = 60.0
"""A process starts in two seconds on an idle machine, several at once on a busy one in ten, and on one that is
overloaded in thirty: to replace it then would only make it busier."""
CREATE_TIMEOUT_S: Final = 3600.0
"""How long handing an actor over to Ray may take: as long as its control store stands still. Trying again sooner would
make a second one when it goes on."""
FLUSH_TIMEOUT_S: Final = 55.0
"""A replacement of an owner takes five; `ess down` allows 90 s in all."""
POOL_TIMEOUT_S: Final = 240.0
"""A pool is complete in 3 s; on nodes that are just coming up, or busy, workers take long to start. Less than the
driver gives the whole system (300 s)."""
POOL_SETTINGS: Final = (
    "places",
    "namespace",
    "vnodes",
    "persist_actors",
    "writer",
    "intake",
    "compaction",
    "disk",
    "kafka",
    "foreign_tenant",
    "listeners",
    "listen_sockets",
    "redis_url",
    "alerts",
)
"""What of a System the pool reads: when a deployment changes it, the pool is made anew."""
UNREADABLE: Final = "searches that meet it call themselves incomplete and name it; `ess verify` says what to do"
MISSING_REPEATS: Final = "what it held is missing in the memory of repeats, so that a repeat may be stored twice until"
REPORT_DEATH_S: Final = 60.0
"""How long a death stays in the status after the replacement works: long enough for a person or a probe to see."""


class Supervisor:
    """Owns the pool; a plain class, made an actor in `start_pool`."""

    def __init__(self, system: System) -> None:
        self._system = system
        self._log = open_log(system)
        self._size = system.pool_size()
        self._actors = system.persist_actors
        self._slots: list[Slot] = []
        self._incarnations: dict[int, int] = {}  # of slots that left too: a name is never given twice
        self._deaths: list[tuple[float, str]] = []
        self._rate = Rate()
        self._trouble: str | None = None
        self._maintenance = Maintenance(system, self._log, tally=published_tally())
        self._adopted = False
        self._changing = asyncio.Lock()
        self._resizing = asyncio.Lock()
        # Here, since nobody asks whom Ray restarted to start: Ray runs this in the actor's event loop. (A call to
        # itself is no way: Ray fails it, "the actor was restarted", when it learns of the restart after the call.)
        self._watch = asyncio.create_task(self._watch_loop(), name="supervisor watch")
        self._maintaining = asyncio.create_task(self._maintenance.run(), name="maintenance")
        self._listeners = Listeners(system)
        self._listening = asyncio.create_task(self._listeners.run(), name="listeners")
        self._deletions = deleting_of(system, self._log, self.flush, self._maintenance.one_at_a_time)
        self._deleting = asyncio.create_task(self._deletions.run(), name="deletions")
        self._alerts = AlertsWatch(system)
        self._alerting = asyncio.create_task(self._alerts.run(), name="alerts")

    async def start(self) -> None:
        """Return once every virtual node is owned.

        Idempotent. Raises Unavailable when the pool cannot be completed just now: watching goes on, and tries again.
        """
        await self._ensure()

    async def system(self) -> System:
        """Give the description that this pool was made from."""
        return self._system

    def _adopt(self) -> None:
        """Find the actors of an earlier life of this supervisor: the newest of each slot stays, what is older goes."""
        living: dict[int, list[int]] = {}
        for number, incarnation in _persist_actors(self._system):
            living.setdefault(number, []).append(incarnation)
        for number, incarnations in sorted(living.items()):
            for incarnation in sorted(incarnations):
                slot = Slot(number, incarnation)
                slot.handle = self._system.actor(slot.actor_name)
                if incarnation < max(incarnations):
                    ray.kill(slot.handle)
            self._incarnations[number] = slot.incarnation
            self._slots.append(slot)

    # ---------------------------------------------------------------------------------------------------- the pool
    async def _ensure(self) -> int:
        """Give every wanted slot a living actor and every virtual node an owner; end the actors beyond.

        Gives how many virtual nodes changed their slot.
        """
        async with self._changing:
            if not self._adopted:
                self._actors = await asyncio.to_thread(self._size.read)
                await off_loop(self._adopt)
                self._adopted = True
            vnodes = range(await self._log.vnode_count())
            there = {slot.number: slot for slot in self._slots}
            staying = [there.get(number) or Slot(number) for number in range(self._actors)]
            leaving = [slot for slot in self._slots if slot.number >= self._actors and slot.handle is not None]
            wanted = place(vnodes, [slot.name for slot in staying])
            for slot in staying:
                if slot.handle is None:
                    mine = sorted(vnode for vnode, name in wanted.items() if name == slot.name)
                    await off_loop(self._create, slot, mine, timeout_s=CREATE_TIMEOUT_S)
            self._slots = [*staying, *leaving]
            moved = await hand_over(self._slots, wanted)
            for slot in leaving:
                if slot.handle is not None:
                    await off_loop(ray.kill, slot.handle)
            self._slots = staying
            return moved

    def _create(self, slot: Slot, mine: Sequence[int]) -> None:
        slot.incarnation = self._incarnations[slot.number] = self._incarnations.get(slot.number, 0) + 1
        actor = ray.remote(PersistActor)
        # Detached: the pool outlives its supervisor, which Ray may restart.
        slot.handle = actor.options(
            name=slot.actor_name,
            namespace=self._system.namespace,
            num_cpus=0,
            max_restarts=0,
            max_concurrency=1000,
            lifetime="detached",
            scheduling_strategy=spread(slot.number),
        ).remote(self._system, slot.name, partial(open_log, self._system), make_tally=published_tally, vnodes=mine)

    async def resize(self, actors: int) -> dict[str, Any]:
        """Have so many persist actors from now on, also after a restart; gives `actors` and the `moved` virtual nodes.

        Idempotent. Returns once every virtual node is where it belongs. Raises BadRequest (nothing is changed), and
        Unavailable when that could not be done at once: the number is kept then, and the watch goes on with it.
        """
        async with self._resizing:
            await asyncio.to_thread(self._size.write, actors)
            self._actors = actors
            return {"actors": actors, "moved": await self._ensure()}

    async def _watch_loop(self) -> None:
        while True:
            try:
                await asyncio.gather(*(self._check(slot) for slot in self._slots))
                await self._ensure()
                self._trouble = None
            except EssError as error:
                self._trouble = f"the pool is not complete: {error.message}"
                _log.warning(self._trouble)
            except Exception as error:  # noqa: BLE001
                # Whatever it is, a supervisor that stops watching is worse: tell it and look again.
                self._trouble = f"the pool is not complete: {type(error).__name__}: {error}"
                _log.exception("the supervisor could not complete the pool")
            await asyncio.sleep(PING_INTERVAL_S)

    async def _check(self, slot: Slot) -> None:
        handle = slot.handle
        if handle is None:
            return
        try:
            # One that owns nothing yet is still starting; one that died answers at once that it did.
            patience_s = START_TIMEOUT_S if slot.told is None else PING_TIMEOUT_S
            last = await call(handle.ping.remote(), slot.name, patience_s)
            reason = last["failure"]
        except Unavailable as error:
            reason = f"{slot.name} died: {error.message}"
        if slot.handle is not handle or slot not in self._slots:
            return  # it left the pool meanwhile
        if reason is None:
            slot.last = last
            self._rate.look(slot.actor_name, last["counts"].get("rows_read", 0))
        else:
            _log.error("%s; replacing %s", reason, slot.actor_name)
            await off_loop(ray.kill, handle)
            self._deaths.append((time.monotonic(), reason))
            self._rate.forget(slot.actor_name)
            slot.forget(reason)

    # ----------------------------------------------------------------------------------------------- what others ask
    async def owners(self) -> dict[int, str]:
        """Give the actor name of each owned virtual node."""
        return {vnode: slot.actor_name for slot in self._slots for vnode in slot.assigned or ()}

    async def health(self) -> list[str]:
        """Name what stands in the way of storing and of complete answers; empty when all is well."""
        problems = [] if self._trouble is None else [self._trouble]
        if not any(slot.assigned for slot in self._slots):
            problems.append("no virtual node has an owner yet")
        for loop in (self._watch, self._maintaining, self._listening, self._deleting, self._alerting):
            if loop.done() and not loop.cancelled() and loop.exception() is not None:
                problems.append(f"the {loop.get_name()} loop died: {loop.exception()!r}; restart the system")
        now = time.monotonic()
        self._deaths = [(at, reason) for at, reason in self._deaths if now - at < REPORT_DEATH_S]
        for slot in self._slots:
            if slot.assigned is None and slot.died:
                problems.append(f"{slot.name} is being replaced ({slot.died})")
            problems += slot.last.get("trouble", [])
            problems += [
                f"virtual node {v}: offsets {a} to {b} were lost by the log" for v, a, b in slot.last.get("gaps", [])
            ]
        return problems

    async def warnings(self) -> list[str]:
        """Name what is wrong and stands in nobody's way: damaged objects, and what follows from each."""
        warnings = {key: f"{Damaged(key, reason)}: {UNREADABLE}" for key, reason in self._maintenance.damaged.items()}
        more = 0
        for slot in self._slots:
            missing = slot.last.get("missing_repeats", {"objects": 0, "named": ()})
            more = max(more, missing["objects"] - len(missing["named"]))
            for part in missing["named"]:
                until = format_timestamp(part["until_us"])
                warnings[part["key"]] = f"{part['reason']}: {UNREADABLE}; {MISSING_REPEATS} {until}"
        told = [*self._listeners.warnings(), *warnings.values(), *self._deletions.trouble, *self._alerts.warnings()]
        if len(told) > MAX_NAMED or more:
            hidden = max(len(told) - MAX_NAMED, 0) + more
            told = [*told[:MAX_NAMED], f"{hidden:,} more objects cannot be read: `ess verify` names all"]
        return told

    async def status(self) -> dict[str, Any]:
        """Give the pool's figures: events a second just now; per actor its virtual nodes, positions, buffers and
        counts; recent deaths."""
        await self.health()
        actors = {
            slot.name: {"actor": slot.actor_name, "vnodes": list(slot.assigned or ()), **slot.last}
            for slot in self._slots
        }
        return {
            "wanted": self._actors,
            "events_per_s": round(self._rate.per_s(), 1),
            "actors": actors,
            "deaths": [r for _, r in self._deaths],
            "maintenance": self._maintenance.last,
        }

    async def listeners(self) -> list[dict[str, Any]]:
        """Give each protocol of each node's listener: place, state, figures."""
        return self._listeners.status()

    async def listeners_ready(self) -> None:
        """Return once the listeners are open. Raises Unavailable when that takes long."""
        await self._listeners.ready()

    async def drain_listeners(self) -> None:
        """End the listeners, once what they have read is in the log. Idempotent."""
        await self._listeners.drain()

    async def compact(self, before_us: int | None) -> dict[str, Any]:
        """Merge small objects and apply retention now; gives what was done. Raises Unavailable, UnknownOutcome."""
        return await self._maintenance.compact_now(before_us)

    async def look_for_deletions(self) -> None:
        """Carry out deletions that were asked for just now: else they would be found a little later."""
        self._deletions.look()

    async def look_for_alerts(self) -> None:
        """Evaluate rules, and heed silences, that were made just now: else they would be found a little later."""
        self._alerts.look()

    async def flush(self) -> int:
        """Have every virtual node read to the log's end and stored; gives the rows stored by this call.

        Waits for owners that are being replaced or handed over: a round counts when every virtual node had the same
        owner from its beginning to its end. Raises UnknownOutcome, and Unavailable when none did in time.
        """
        deadline, rows = time.monotonic() + FLUSH_TIMEOUT_S, 0
        while True:
            before = await self.owners()
            left_s = deadline - time.monotonic()
            calls = [
                call(slot.handle.flush.remote(), slot.name, left_s) for slot in self._slots if slot.handle is not None
            ]
            answers = await asyncio.gather(*calls, return_exceptions=True)
            rows += sum(answer for answer in answers if isinstance(answer, int))
            errors = [answer for answer in answers if isinstance(answer, BaseException)]
            if lasting := [error for error in errors if not isinstance(error, Unavailable)]:
                raise lasting[0]
            if not errors and len(before) == await self._log.vnode_count() and before == await self.owners():
                return rows
            if time.monotonic() + PING_INTERVAL_S > deadline:
                raise errors[0] if errors else Unavailable("some virtual nodes have no owner; ess status tells more")
            await asyncio.sleep(PING_INTERVAL_S)


def start_pool(system: System) -> Any:
    """Start supervisor, pool and, without Kafka, the log, or find them; gives the supervisor's handle.

    Blocks until every virtual node is owned. Idempotent, from several processes at once too. Raises Unavailable when
    it is not complete in time, which the supervisor goes on trying.
    """
    deadline = time.monotonic() + POOL_TIMEOUT_S
    while True:
        supervisor = _find_or_make(system)
        try:
            running = ray.get(supervisor.system.remote(), timeout=max(0.0, deadline - time.monotonic()))
            if _pool_settings(running) == _pool_settings(system):
                ray.get(supervisor.start.remote(), timeout=max(0.0, deadline - time.monotonic()))
                return supervisor
            _log.warning("the settings of the pool have changed: it is made anew")
            _end_pool(supervisor, system)
        except ray.exceptions.GetTimeoutError as error:
            raise Unavailable(f"the pool is not complete after {POOL_TIMEOUT_S:g} s; it goes on trying") from error
        except ray.exceptions.RayActorError as error:
            # It is being restarted, or somebody else ended it to make it anew.
            if time.monotonic() > deadline:
                raise Unavailable("the supervisor does not stay alive; look into its log") from error
            time.sleep(PING_INTERVAL_S)


def _find_or_make(system: System) -> Any:
    everlasting = {
        "namespace": system.namespace,
        "num_cpus": 0,
        "max_restarts": -1,
        "lifetime": "detached",
        "get_if_exists": True,
    }
    if system.kafka is None:
        ray.remote(LogActor).options(name=LOG_ACTOR, max_concurrency=1000, **everlasting).remote(system)
    # Beside the control store: it outlives every worker node, and where it goes all goes.
    options = {**everlasting, "resources": HEAD}
    return ray.remote(Supervisor).options(name=SUPERVISOR_ACTOR, max_concurrency=100, **options).remote(system)


def _pool_settings(system: System) -> System:
    """Keep what supervisor and persist actors read: all else may change while they live."""
    given = {name: getattr(system, name) for name in POOL_SETTINGS}
    return System(**given)


def _end_pool(supervisor: Any, system: System) -> None:
    """End a pool for good. What it held in memory is in the log; the next one reads it again."""
    ray.kill(supervisor)
    end_listeners(system)
    end_alerts(system)
    for number, incarnation in _persist_actors(system):
        with contextlib.suppress(Unavailable):  # it ended meanwhile
            ray.kill(system.actor(Slot(number, incarnation).actor_name))


def _persist_actors(system: System) -> list[tuple[int, int]]:
    """Find the system's persist actors, whoever made them: (slot's number, incarnation)."""
    named = ray.util.list_named_actors(all_namespaces=True)
    found = [read_actor_name(actor["name"]) for actor in named if actor["namespace"] == system.namespace]
    return [each for each in found if each is not None]
