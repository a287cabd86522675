"""Reading events by Ray Data: the cut, whose rows stay in Ray's object store, and read tasks that scan."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import pyarrow as pa
import ray
from ray.data import Dataset, Datasource, ReadTask, read_datasource
from ray.data.block import BlockMetadata

from ess_ray.adapters.places import EVENTS, Places, places_of
from ess_ray.core.errors import BadRequest, Unavailable
from ess_ray.core.event import EVENT_SCHEMA
from ess_ray.core.query import Query
from ess_ray.ports import ScanTask, Snapshot, VnodeRange
from ess_ray.runtime.log import open_log
from ess_ray.runtime.views import PoolViews
from ess_ray.runtime.wiring import SUPERVISOR_ACTOR, System, call
from ess_ray.search.export import ALL_ROWS
from ess_ray.search.formats import typed_rows, typed_schema
from ess_ray.search.plan import RAMP_BYTES, Plan, Tasks, make_plan, not_stored, standing, uncovered
from ess_ray.search.streaming import stream_object
from ess_ray.settings import load

EXPANSION: Final = 6
"""Arrow bytes of a stored byte, about: Ray Data chooses the number of its blocks by it."""
VIEW_TIMEOUT_S: Final = 60.0
"""How long the owners may take to give their views: buffers of a gigabyte take seconds to filter."""
_TYPED_FROM: Final = ("attributes", "attribute_types")
"""What columns beside those of the table are made of."""


@dataclass(frozen=True)
class Held:
    """Rows of a view, in Ray's object store: of each virtual node they are not stored from `stands` on."""

    table: Any
    stands: Mapping[int, int]


def dataset_of(
    tenant: str, query: Query, columns: Sequence[str], table: str | Path | None, **read_options: Any
) -> Dataset:
    """Make the dataset of a query. Raises BadRequest, Unavailable."""
    typed_schema(columns)  # names that are none are told before anything is read
    query = replace(query, limit=ALL_ROWS, order="oldest")
    if table is not None:
        places, held = _places(table), tuple[Held, ...]()
        snapshot: Snapshot = places.catalog().snapshot()
    else:
        system = ray.get(_system())
        places = system.places
        snapshot, held = asyncio.run(_cut(system, tenant, query))
    source = EventsDatasource(places, make_plan(tenant, query, snapshot), held, columns)
    return read_datasource(source, **read_options)


def _system() -> Any:
    """Ask the supervisor of this Ray what it runs. Raises Unavailable."""
    from ess_ray.runtime.datasets import NAMESPACE

    if not ray.is_initialized():
        raise Unavailable("this process is in no Ray: connect() to a system's, or name a `table`")
    try:
        return ray.get_actor(SUPERVISOR_ACTOR, namespace=NAMESPACE).system.remote()
    except ValueError as error:
        raise Unavailable("no ess_ray runs in this Ray: connect() to a system's, or name a `table`") from error


def _places(table: str | Path) -> Places:
    """Read where a table is. Raises BadRequest where there is none."""
    settings = load()
    address = urlsplit(str(table))
    if address.scheme == "s3":
        changed = {"bucket": address.netloc, "prefix": address.path.strip("/")}
        return places_of(settings.model_copy(update={"store": settings.store.model_copy(update=changed)}))
    folder = Path(table).resolve()
    folder = folder.parent if folder.name == EVENTS and (folder / "_delta_log").is_dir() else folder
    if not (folder / EVENTS / "_delta_log").is_dir():
        raise BadRequest(f"{table} is no data directory with a table in it, and no s3://BUCKET/PREFIX")
    return Places(folder)


async def _cut(system: System, tenant: str, query: Query) -> tuple[Snapshot, tuple[Held, ...]]:
    """Cut as a search does (docs/exactly-once.md, step 8): ends, views, a snapshot. Rows do not come here.

    Raises Unavailable, naming what it does not cover.
    """
    log, owners = open_log(system), PoolViews(system)
    log_id, ends, starts = await log.log_id(), await log.end_offsets(), await log.start_offsets()
    by_owner: dict[str | None, dict[int, int]] = {}
    owned = await owners.owners()
    for vnode, end in ends.items():
        by_owner.setdefault(owned.get(vnode), {})[vnode] = end
    freeze = ray.remote(_freeze).options(num_cpus=0, num_returns=2, name="view for a dataset")
    frozen = [freeze.remote(system, tenant, query, mine) for mine in by_owner.values()]
    ranges: dict[int, VnodeRange] = {}
    for told, _ in frozen:
        ranges.update(await call(told, "an owner's view", VIEW_TIMEOUT_S))
    snapshot = await asyncio.to_thread(system.catalog().snapshot)
    stands = standing(snapshot.next_offsets(log_id, sorted(ends)), starts)
    if missing := [str(gap) for gap in uncovered(ends, stands, ranges)]:
        raise Unavailable("; ".join(missing), incomplete=missing)
    return snapshot, tuple(Held(table, stands) for _, table in frozen)


def _freeze(
    system: System, tenant: str, query: Query, ends: Mapping[int, int]
) -> tuple[dict[int, VnodeRange], pa.Table]:
    """Take an owner's view in a task: what it covers, and its rows, which stay in Ray's object store."""
    views = asyncio.run(PoolViews(system).views(tenant, query, ends, system.search.freshness_timeout_s))
    ranges: dict[int, VnodeRange] = {}
    for view in views:
        ranges.update(view.ranges)
    return ranges, pa.concat_tables([EVENT_SCHEMA.empty_table(), *(view.table for view in views)])


class EventsDatasource(Datasource):  # type: ignore[misc]
    """The events of a plan and of views, cut into read tasks when Ray Data says how many it wants."""

    def __init__(self, places: Places, plan: Plan, held: Sequence[Held], columns: Sequence[str]) -> None:
        super().__init__()
        self._places, self._plan, self._held, self._columns = places, plan, tuple(held), tuple(columns)
        self._projection_map: dict[str, str] | None = None

    def get_name(self) -> str:
        """Name it in Ray's dashboard."""
        return "Events"

    def supports_projection_pushdown(self) -> bool:
        """Columns that nobody wants are not read."""
        return True

    def estimate_inmemory_data_size(self) -> int:
        """Guess the Arrow bytes, were every row of the objects to match."""
        return self._plan.bytes_left * EXPANSION

    def get_read_tasks(
        self, parallelism: int, per_task_row_limit: int | None = None, data_context: Any = None
    ) -> list[ReadTask]:
        """Cut the plan into about so many tasks, by bytes left to read, and one for each view."""
        chosen = self._get_data_columns()
        columns = self._columns if chosen is None else tuple(chosen)
        schema = typed_schema(columns) if columns or chosen is None else typed_schema(("timestamp",))
        task_bytes = max(RAMP_BYTES, -(-self._plan.bytes_left // max(1, parallelism)))

        def made(read: Callable[[], Iterator[pa.Table]], size: int) -> ReadTask:
            return ReadTask(read, BlockMetadata(None, size, None), schema, per_task_row_limit)

        tasks = [made(partial(read_held, held, schema), 0) for held in self._held]
        for task in Tasks(self._plan, task_bytes):
            size = EXPANSION * sum(entry.size for entry in task.entries)
            tasks.append(made(partial(read_stored, self._places, task, schema), size))
        return tasks


def read_held(held: Held, schema: pa.Schema) -> Iterator[pa.Table]:
    """Give the rows of a view that the table did not hold."""
    rows = not_stored(ray.get(held.table), held.stands)
    yield typed_rows(rows, schema)


def read_stored(places: Places, task: ScanTask, schema: pa.Schema) -> Iterator[pa.Table]:
    """Give the rows of a scan task's objects, as they are found. Raises Unavailable, naming an object."""
    store = places.store(EVENTS)
    typed = any(name not in EVENT_SCHEMA.names for name in schema.names)
    names = list(
        dict.fromkeys([n for n in (*schema.names, *(_TYPED_FROM if typed else ())) if n in EVENT_SCHEMA.names])
    )
    yield schema.empty_table()  # so that a task without a row has columns, too
    for entry in task.entries:
        for rows in stream_object(store, entry, task.query, names):
            yield typed_rows(rows, schema)
