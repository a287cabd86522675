"""Ray Data over a table: what is read, how it is cut, and what a write sends, on a real Ray without a system."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pytest
from ray import cloudpickle

from ess_ray.adapters.places import EVENTS, Places
from ess_ray.core.chunk import ObjectLimits, encode_object
from ess_ray.core.errors import BadRequest, Conflict, Unavailable
from ess_ray.ingest.seal import Sealed, entry_of
from ess_ray.ports import Advance, ObjectEntry, vnode_advances
from ess_ray.runtime.datasets import connect, read_events
from ess_ray.search.formats import PARQUET_SCHEMA
from tests.rays import local_ray

# Ray Data warns of settings of its own, when it makes its context.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:ray.data")

Tables = Callable[..., pa.Table]
OBJECTS, ROWS = 4, 500
HOUR_US = 3_600_000_000


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory, make_events: Tables, t0_us: int) -> Path:
    """A data directory with a table of some hours, each with an object of some row groups."""
    folder = tmp_path_factory.mktemp("table")
    places = Places(folder)
    store, catalog = places.store(EVENTS), places.catalog()
    entries: list[ObjectEntry] = []
    for number in range(OBJECTS):
        first = number * ROWS
        rows = make_events(
            [t0_us + number * HOUR_US + n for n in range(ROWS)],
            [f"event {first + n}" for n in range(ROWS)],
            first=first,
            level=["ERROR" if n % 5 == 0 else "INFO" for n in range(ROWS)],
            attributes=[[("ms", str(n))] for n in range(ROWS)],
            attribute_types=["n"] * ROWS,
        )
        encoded = encode_object(rows, [], limits=ObjectLimits(rows_per_group=100))
        entry = entry_of(Sealed("default", encoded), t0_us)
        store.put(entry.key, encoded.data)
        entries.append(entry)
    catalog.writer().commit(entries, [], vnode_advances("log", {0: Advance(0, OBJECTS * ROWS)}))
    return folder


@pytest.fixture(scope="module", autouse=True)
def running_ray() -> Iterator[None]:
    with local_ray(2):
        import ray

        ray.data.DataContext.get_current().enable_progress_bars = False
        yield


def offsets(dataset: object) -> list[int]:
    return sorted(row["offset"] for row in dataset.take_all())  # type: ignore[attr-defined]


def test_a_table_is_read_with_typed_columns(data_dir: Path) -> None:
    dataset = read_events(start=0, table=data_dir)
    assert dataset.schema().base_schema.equals(PARQUET_SCHEMA)
    assert dataset.count() == OBJECTS * ROWS
    assert offsets(dataset) == list(range(OBJECTS * ROWS))
    row = read_events('message:"event 7"', start=0, table=data_dir).take_all()[0]
    assert row["attribute_numbers"] == [("ms", 7.0)]


def test_filter_time_and_columns_are_pushed_down(data_dir: Path, t0_us: int) -> None:
    dataset = read_events("level:ERROR", start=t0_us, end=t0_us + HOUR_US, columns=["offset"], table=data_dir / EVENTS)
    assert dataset.schema().names == ["offset"]
    assert offsets(dataset) == list(range(0, ROWS, 5))
    chosen = read_events(start=0, table=data_dir).select_columns(["message", "offset"])
    assert offsets(chosen) == list(range(OBJECTS * ROWS))
    assert read_events("nowhere", start=0, table=data_dir).count() == 0


def test_tasks_are_cut_by_bytes_and_travel(data_dir: Path) -> None:
    from ess_ray.core.query import Query
    from ess_ray.runtime.reading import EventsDatasource
    from ess_ray.search.plan import make_plan

    places = Places(data_dir)
    plan = make_plan("default", Query(), places.catalog().snapshot())
    source = pickle.loads(cloudpickle.dumps(EventsDatasource(places, plan, (), ())))
    tasks = source.get_read_tasks(8)
    assert len(tasks) >= 2
    assert sum(len(block) for task in tasks for block in task()) == OBJECTS * ROWS


def test_python_runs_over_it(data_dir: Path) -> None:
    def doubled(batch: pa.Table) -> pa.Table:
        return batch.append_column("twice", pa.array([2 * n for n in batch.column("offset").to_pylist()]))

    dataset = read_events(start=0, table=data_dir, columns=["offset"]).map_batches(doubled, batch_format="pyarrow")
    assert sorted(row["twice"] for row in dataset.take_all()) == [2 * n for n in range(OBJECTS * ROWS)]


def test_an_object_that_is_gone_fails_the_dataset_and_is_named(data_dir: Path) -> None:
    file = next((data_dir / EVENTS).glob("tenant=default/**/*.parquet"))
    away = file.with_suffix(".away")
    file.rename(away)
    try:
        with pytest.raises(Exception, match=r"cannot be read"):
            read_events(start=0, table=data_dir).count()
    finally:
        away.rename(file)


def test_what_cannot_be_read_is_refused(data_dir: Path, tmp_path: Path) -> None:
    with pytest.raises(BadRequest, match="no data directory"):
        read_events(table=tmp_path)
    with pytest.raises(BadRequest, match="user_id"):
        read_events(table=data_dir, columns=["user_id"])
    with pytest.raises(Unavailable, match="connect"):
        read_events()
    with pytest.raises(Conflict, match="before `import ray`"):
        connect(data_dir)
