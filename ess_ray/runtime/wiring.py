"""Which adapter stands behind which port: a frozen description of a system that any Ray process can build from."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Mapping
from dataclasses import KW_ONLY, dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar

import ray
from ray import exceptions as ray_errors

from ess_ray.adapters.delta_catalog import DeltaCatalog
from ess_ray.adapters.kafka_settings import KafkaSettings
from ess_ray.adapters.lambda_function import FunctionLocation, LambdaFunction
from ess_ray.adapters.memory_results import MemoryResultStore
from ess_ray.adapters.places import ALERTS, DEAD_LETTERS, DELETIONS, EVENTS, KEYS, LAMBDA_ANSWERS, LOG, POOL, Places
from ess_ray.adapters.receivers import AlertSettings
from ess_ray.alerts.book import AlertBook
from ess_ray.core.errors import Unavailable
from ess_ray.core.tenant import DEFAULT_TENANT
from ess_ray.intake.formats.elastic_handshake import VERSION
from ess_ray.intake.limits import IntakeLimits
from ess_ray.keys import KeyBook
from ess_ray.limits import (
    EXECUTOR,
    LOKI_LABELS,
    PERSIST_ACTORS,
    PUSH_REPLICAS,
    SEARCH_REPLICAS,
    VNODES,
    AnswerLimits,
    CompactionPolicy,
    DiskLimits,
    InvokeLimits,
    LambdaLimits,
    ListenAt,
    SearchLimits,
    SocketLimits,
    WriterLimits,
)
from ess_ray.pool import PoolSize
from ess_ray.ports import InvocationSlots, ObjectStore, ResultStore, ScanExecutor
from ess_ray.runtime.blocking import CALL_TIMEOUT_S, off_loop
from ess_ray.search.executors.invocations import InvokingExecutor
from ess_ray.search.executors.mixed import AutoExecutor
from ess_ray.search.executors.pace import LocalSlots
from ess_ray.search.pipeline import Lane
from ess_ray.table.compaction import TARGET_BYTES
from ess_ray.table.deletion_book import DeletionBook
from ess_ray.table.disk import space_of

LOG_ACTOR: Final = "log"
SUPERVISOR_ACTOR: Final = "supervisor"
SLOT_MARGIN_S: Final = 60.0
"""Beyond the function's time limit, until a slot of a replica that died comes back: a cold start, and the answer."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Replicas:
    """How many replicas a deployment has: as many as its requests need, within these bounds; equal ones fix it."""

    min: int
    max: int


@dataclass(frozen=True)
class System:
    """One running system: where its data lies, how its actors are found, and its limits."""

    places: Places
    namespace: str
    _: KW_ONLY
    vnodes: int = VNODES
    persist_actors: int = PERSIST_ACTORS
    """What the settings say; how many are wanted now is `pool_size`'s to tell."""
    push_replicas: Replicas = Replicas(PUSH_REPLICAS, PUSH_REPLICAS)
    search_replicas: Replicas = Replicas(SEARCH_REPLICAS, SEARCH_REPLICAS)
    scan_parallelism: int | None = None
    """Scan tasks of one search at a time; None: as many as the cluster has CPUs just then."""
    writer: WriterLimits = field(default_factory=WriterLimits)
    search: SearchLimits = field(default_factory=SearchLimits)
    intake: IntakeLimits = field(default_factory=IntakeLimits)
    listeners: tuple[ListenAt, ...] = ()
    """What each node listens for beside HTTP."""
    listen_sockets: SocketLimits = field(default_factory=SocketLimits)
    compaction: CompactionPolicy = field(default_factory=CompactionPolicy)
    disk: DiskLimits = field(default_factory=DiskLimits)
    kafka: KafkaSettings | None = None
    """Where the log is; None: in the data directory, owned by an actor."""
    redis_url: str | None = field(default=None, repr=False)
    """Where answers are kept; None: in the memory of the one search replica."""
    foreign_tenant: str = DEFAULT_TENANT
    """Whose the records are that other programs write to the log."""
    keys_in_addresses: bool = False
    """Whether a push may have its key in its address."""
    elasticsearch_version: str = VERSION
    """What clients of Elasticsearch are told."""
    loki_labels: tuple[str, ...] = LOKI_LABELS
    """Attributes that are labels for Loki's clients."""
    function: FunctionLocation | None = None
    """The Lambda function that scans; None: there is none."""
    invoke: InvokeLimits = field(default_factory=InvokeLimits)
    lambda_limits: LambdaLimits = field(default_factory=LambdaLimits)
    executor: str = EXECUTOR
    """Who scans when a query does not say."""
    answers: AnswerLimits = field(default_factory=AnswerLimits)
    alerts: AlertSettings = field(default_factory=AlertSettings)
    ports: tuple[Mapping[str, Any], ...] = ()
    """What the settings open on each node (`settings.ports.PortAt`, which is slow to import), for the status."""
    session_id: int | None = None
    """The session that all processes of this system are in; None where it has none of its own."""

    def room_to_merge(self, backlog_bytes: int) -> int | None:
        """Tell how much a merge may put on the disk, with so much in the log that is not stored yet; None: any size.

        Of what is kept from new events a merge may take its share, and storing the rest. Raises OSError.
        """
        if self.places.bucket is not None:
            return None
        kept_bytes = max(0, self.disk.reserve_bytes - TARGET_BYTES)
        return space_of(self.places.data_dir).free_bytes - kept_bytes - backlog_bytes

    def is_disk_low(self) -> bool:
        """Tell whether objects lie on a disk with less room than is told of. Raises OSError."""
        return self.places.bucket is None and space_of(self.places.data_dir).free_bytes < self.disk.warn_bytes

    @property
    def log_path(self) -> Path:
        return self.places.data_dir / LOG

    def store(self) -> ObjectStore:
        return self.places.store(EVENTS)

    def catalog(self) -> DeltaCatalog:
        return self.places.catalog()

    def dead_letters(self) -> ObjectStore:
        return self.places.store(DEAD_LETTERS)

    def keys(self) -> KeyBook:
        return KeyBook(self.places.store(KEYS))

    def deletions(self) -> DeletionBook:
        return DeletionBook(self.places.store(DELETIONS))

    def alert_book(self) -> AlertBook:
        return AlertBook(self.places.store(ALERTS))

    def pool_size(self) -> PoolSize:
        return PoolSize(self.places.store(POOL), self.persist_actors)

    def result_store(self) -> ResultStore:
        if self.redis_url is None:
            return MemoryResultStore(lambda: time.time_ns() // 1000, self.answers)
        # Only here: Redis's client takes a fifth of a second to import, in each process of a system without one.
        from ess_ray.adapters.redis_results import RedisResultStore

        return RedisResultStore(self.redis_url, self.answers)

    def lanes(self, local: ScanExecutor) -> dict[str, Lane]:
        """Give the executors that a query may name; `lambda` is among them where a function is configured."""
        usual = Lane(local, self.search.task_bytes)
        if self.function is None:
            return {"ray": usual, "auto": usual}
        cap = self.lambda_limits.max_concurrency
        scans = LambdaFunction(self.function, self.places.store(LAMBDA_ANSWERS), cap)
        slots: InvocationSlots = LocalSlots(cap)
        if self.redis_url is not None:
            from ess_ray.adapters.redis_slots import RedisSlots

            lease_s = self.function.timeout_s + SLOT_MARGIN_S
            slots = RedisSlots(self.redis_url, self.function.name, cap=cap, lease_s=lease_s)
        remote = InvokingExecutor(scans, slots, limits=self.invoke)
        auto = AutoExecutor(
            remote, local, memory_gb=scans.memory_gb, limits=self.invoke, max_cost_usd=self.lambda_limits.max_cost_usd
        )
        return {
            "ray": usual,
            # Who asks for invocations gets them, however small the search: else there is no trying it out.
            "lambda": Lane(remote, self.lambda_limits.task_bytes, in_place=False),
            "auto": Lane(auto, self.lambda_limits.task_bytes),
        }

    def actor(self, name: str) -> Any:
        """Find an actor of this system. Blocks; raises Unavailable when there is none just now."""
        try:
            return ray.get_actor(name, namespace=self.namespace)
        except ValueError as error:
            raise Unavailable(f"the actor {name} is not running just now; try again in a few seconds") from error


async def call(reference: Awaitable[T], what: str, timeout_s: float = CALL_TIMEOUT_S) -> T:
    """Await an actor's answer. Its own errors come as they were raised; its absence becomes Unavailable."""
    try:
        # Not `wait_for`: before Python 3.12 it loses a cancellation that comes together with the answer.
        async with asyncio.timeout(timeout_s):
            return await reference
    except ray_errors.RayTaskError as error:
        raise error.cause from error
    except ray_errors.RayError as error:
        raise Unavailable(f"{what} is not there just now; try again in a few seconds") from error
    except TimeoutError as error:
        raise Unavailable(f"{what} did not answer within {timeout_s:g} s; try again in a few seconds") from error


class RemoteActor:
    """Calls to a named actor. Lives on one event loop; nothing of it blocks that.

    Its handle is remembered until it is not there any more: one that does not answer may still do so.
    """

    def __init__(self, system: System, name: str, what: str) -> None:
        """`what` it is called in errors."""
        self._system, self._name, self._what = system, name, what
        self._handle: Any = None
        self._finding: asyncio.Task[Any] | None = None

    async def call(
        self, method: str, *args: Any, timeout_s: float = CALL_TIMEOUT_S, large: bool = False, **kwargs: Any
    ) -> Any:
        """Call a method and await its answer. Raises Unavailable, and what the method raises.

        `large` arguments go through the shared object store, where handing them over may block.
        """
        remote = getattr(await self._found(), method).remote
        try:
            made = await off_loop(remote, *args, **kwargs) if large else remote(*args, **kwargs)
            return await call(made, self._what, timeout_s)
        except Unavailable as error:
            if not isinstance(error.__cause__, TimeoutError):
                self._handle = None
            raise

    async def _found(self) -> Any:
        if self._handle is None:
            if self._finding is None:  # once for all who wait: each look takes a thread
                self._finding = asyncio.create_task(off_loop(self._system.actor, self._name, what=self._what))
                self._finding.add_done_callback(self._looked)
            self._handle = await asyncio.shield(self._finding)
        return self._handle

    def _looked(self, finding: asyncio.Task[Any]) -> None:
        self._finding = None
        if not finding.cancelled():
            finding.exception()  # looked at, also when nobody waits any more
