"""Which adapter stands behind which port: a frozen description of a system that any Ray process can build from.

May live here: choosing and building adapters, names of actors, calls to them. May not: policy.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar

import ray
from ray import exceptions as ray_errors

from ess_ray.adapters.delta_catalog import DeltaCatalog
from ess_ray.adapters.object_store import LocalObjectStore
from ess_ray.compaction import CompactionPolicy
from ess_ray.core.errors import Unavailable
from ess_ray.core.event import DEFAULT_TENANT
from ess_ray.ingest.writer import WriterLimits
from ess_ray.intake.limits import IntakeLimits
from ess_ray.search.run import SearchLimits

LOG_ACTOR: Final = "log"
SUPERVISOR_ACTOR: Final = "supervisor"
CALL_TIMEOUT_S: Final = 10.0
"""How long a call to another actor may take before it counts as unavailable: a restart takes two or three seconds."""

T = TypeVar("T")


@dataclass(frozen=True)
class System:
    """One running system: where its data lies, how its actors are found, and its limits."""

    data_dir: Path
    namespace: str
    vnodes: int = 8
    persist_actors: int = 2
    push_replicas: int = 2
    scan_parallelism: int = 2
    writer: WriterLimits = field(default_factory=WriterLimits)
    search: SearchLimits = field(default_factory=SearchLimits)
    intake: IntakeLimits = field(default_factory=IntakeLimits)
    compaction: CompactionPolicy = field(default_factory=CompactionPolicy)
    foreign_tenant: str = DEFAULT_TENANT
    """Whose the records are that other programs write to the log."""
    results: Mapping[str, Any] = field(default_factory=dict)
    """Arguments of the result store: how long and how much."""

    @property
    def events_dir(self) -> Path:
        return self.data_dir / "events"

    @property
    def log_path(self) -> Path:
        return self.data_dir / "log.sqlite"

    def store(self) -> LocalObjectStore:
        return LocalObjectStore(self.events_dir)

    def catalog(self) -> DeltaCatalog:
        return DeltaCatalog(self.events_dir)

    def dead_letters(self) -> LocalObjectStore:
        return LocalObjectStore(self.data_dir / "dead-letters")

    def actor(self, name: str) -> Any:
        """Find an actor of this system. Raises Unavailable when there is none just now."""
        try:
            return ray.get_actor(name, namespace=self.namespace)
        except ValueError as error:
            raise Unavailable(f"the actor {name} is not running just now; try again in a few seconds") from error


async def call(reference: Awaitable[T], what: str, timeout_s: float = CALL_TIMEOUT_S) -> T:
    """Await an actor's answer. Its own errors come as they were raised; its absence becomes Unavailable."""
    try:
        return await asyncio.wait_for(_awaitable(reference), timeout_s)
    except ray_errors.RayTaskError as error:
        raise error.cause from error
    except (ray_errors.RayActorError, ray_errors.ObjectLostError, ray_errors.WorkerCrashedError) as error:
        raise Unavailable(f"{what} is not there just now; try again in a few seconds") from error
    except TimeoutError as error:
        raise Unavailable(f"{what} did not answer within {timeout_s:g} s; try again in a few seconds") from error


async def _awaitable(reference: Awaitable[T]) -> T:
    return await reference
