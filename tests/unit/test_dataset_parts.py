"""What a dataset's tasks do, without a Ray to run them: read tasks over a table, and bodies that blocks become."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pytest
from ray import cloudpickle

from ess_ray.adapters.places import EVENTS, Places
from ess_ray.core.chunk import encode_object
from ess_ray.core.errors import BadRequest
from ess_ray.core.query import Query
from ess_ray.ingest.seal import Sealed, entry_of
from ess_ray.language import parse
from ess_ray.ports import Advance, vnode_advances
from ess_ray.runtime.reading import EventsDatasource
from ess_ray.runtime.writing import EventsDatasink, bodies_of, events_of
from ess_ray.search.formats import PARQUET_SCHEMA, with_typed_maps
from ess_ray.search.plan import make_plan

Tables = Callable[..., pa.Table]
OBJECTS, ROWS = 4, 50


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory, make_events: Tables, t0_us: int) -> Places:
    made = Places(tmp_path_factory.mktemp("table"))
    entries = []
    for number in range(OBJECTS):
        times = [t0_us + number * 3_600_000_000 + n for n in range(ROWS)]
        held = {"attributes": [[("ms", str(n))] for n in range(ROWS)], "attribute_types": ["n"] * ROWS}
        encoded = encode_object(make_events(times, first=number * ROWS, **held), [])
        entries.append(entry_of(Sealed("default", encoded), t0_us))
        made.store(EVENTS).put(entries[-1].key, encoded.data)
    made.catalog().writer().commit(entries, [], vnode_advances("log", {0: Advance(0, 1)}))
    return made


def source(places: Places, text: str = "", columns: tuple[str, ...] = ()) -> EventsDatasource:
    plan = make_plan("default", Query(parse(text)), places.catalog().snapshot())
    return EventsDatasource(places, plan, (), columns)


def rows_of(made: EventsDatasource, parallelism: int = 8) -> pa.Table:
    blocks = [block for task in made.get_read_tasks(parallelism) for block in task()]
    return pa.concat_tables(blocks).sort_by("offset")


def test_read_tasks_give_the_rows_of_the_plan_with_typed_columns(places: Places) -> None:
    made = pickle.loads(cloudpickle.dumps(source(places)))  # a dataset may be handed to another process
    rows = rows_of(made)
    assert rows.schema.equals(PARQUET_SCHEMA)
    assert rows.column("offset").to_pylist() == list(range(OBJECTS * ROWS))
    assert rows.column("attribute_numbers")[7].as_py() == [("ms", 7.0)]
    assert len(made.get_read_tasks(8)) >= 2
    assert made.estimate_inmemory_data_size() > 0


def test_filter_and_columns_reach_the_tasks(places: Places) -> None:
    rows = rows_of(source(places, "ms:<10", ("offset", "message")))
    assert rows.schema.names == ["offset", "message"]
    assert len(rows) == OBJECTS * 10
    projected = source(places).apply_projection({"offset": "offset"})
    assert rows_of(projected).schema.names == ["offset"]


def test_events_that_were_read_are_written_as_they_were_pushed(make_events: Tables, t0_us: int) -> None:
    rows = make_events([t0_us], ["m"], attributes=[[("ms", "1.50"), ("ok", "true")]], attribute_types=["nb"])
    (event,) = events_of(with_typed_maps(rows))
    assert event.keys() == {"timestamp", "message", "attributes"}
    assert event["attributes"]["ok"] is True
    assert float(event["attributes"]["ms"]) == 1.5


def test_any_row_becomes_an_event() -> None:
    at = datetime(2026, 12, 1, tzinfo=UTC)
    table = pa.table(
        {
            "timestamp": [at, None],
            "message": ["a", "b"],
            "event_id": ["x", None],
            "attributes": pa.array([[("k", "v")], None], pa.map_(pa.string(), pa.string())),
            "blob": [b"\x00", None],
            "list": [[1, 2], None],
        }
    )
    first, second = events_of(table)
    assert first == {
        "timestamp": "2026-12-01T00:00:00+00:00",
        "message": "a",
        "id": "x",
        "attributes": {"k": "v"},
        "blob": "AA==",
        "list": [1, 2],
    }
    assert second == {"message": "b"}


def test_the_same_blocks_give_the_same_bodies() -> None:
    blocks = [pa.table({"message": [f"{n}" for n in range(count)]}) for count in (5_000, 3)]
    bodies = list(bodies_of(blocks))
    assert bodies == list(bodies_of(blocks))
    assert [len(body.splitlines()) for body in bodies] == [2_000, 2_000, 1_000, 3]
    large = pa.table({"message": ["x" * 3_000_000] * 5})
    assert [len(body.splitlines()) for body in bodies_of([large])] == [2, 2, 1]


def test_a_tasks_parts_have_keys_of_their_own_and_rejections_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[tuple[str, Any]] = []

    class Recorded:
        def __init__(self, *_: object) -> None:
            pass

        def __enter__(self) -> Recorded:
            return self

        def __exit__(self, *_: object) -> None:
            pass

        def push(self, body: bytes, idempotency_key: str) -> dict[str, Any]:
            events = [json.loads(line) for line in body.splitlines()]
            sent.append((idempotency_key, events))
            return {"accepted": len(events) - 1, "rejected": [{"index": 0, "reason": "too large"}]}

    monkeypatch.setattr("ess_ray.runtime.writing.Client", Recorded)
    sink = EventsDatasink("http://x", None, "w")
    told = [sink.write([pa.table({"message": ["a", "b"]})], SimpleNamespace(task_idx=at)) for at in (0, 1, 0)]
    assert [key for key, _ in sent] == ["w-0-0", "w-1-0", "w-0-0"]
    assert sent[0] == sent[2]
    sink.on_write_complete(SimpleNamespace(write_returns=told))
    assert (sink.accepted, sink.rejected) == (3, ["too large"] * 3)


def test_columns_that_are_none_are_refused(places: Places) -> None:
    with pytest.raises(BadRequest, match="user_id"):
        source(places, columns=("user_id",)).get_read_tasks(1)


def test_a_table_is_found_by_its_folder_or_not_at_all(places: Places, tmp_path: Path) -> None:
    from ess_ray.runtime.reading import _places

    for where in (places.data_dir, places.data_dir / EVENTS, str(places.data_dir)):
        assert _places(where) == Places(places.data_dir)
    with pytest.raises(BadRequest, match="no data directory"):
        _places(tmp_path)
    bucket = _places("s3://some-bucket/a/prefix").bucket
    assert bucket is not None
    assert (bucket.bucket, bucket.prefix) == ("some-bucket", "a/prefix")
