"""The Python client: what it gives, and what it does about answers that are not whole."""

from __future__ import annotations

import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pyarrow as pa
import pytest

from ess_ray.client import AsyncClient, Client, Incomplete, IncompleteWarning
from ess_ray.client.answers import of_pipe, of_stats
from ess_ray.core.errors import BadRequest, NotFound, TooFast, Unavailable
from ess_ray.ports import Record
from ess_ray.search.formats import PARQUET_SCHEMA
from ess_ray.search.slices import SliceLimits
from tests.clients import exchanged
from tests.exports import World, app_of

Tables = Callable[..., pa.Table]
ROWS = 4_010


@pytest.fixture
def world(make_events: Tables, t0_us: int) -> World:
    objects = [make_events([t0_us + n * 1_000 + i for i in range(1_000)], first=n * 1_000) for n in range(4)]
    return World(
        objects,
        make_events([t0_us + 4_000 + i for i in range(10)], first=4_000),
        slices=SliceLimits(1 << 40, 1_500, 1_500, 1_500),
        most=2,
    )


@pytest.fixture
def url(world: World) -> Iterator[str]:
    with exchanged() as (address, inside):
        inside.app = app_of(world)
        yield address


@pytest.fixture
def client(url: str) -> Iterator[Client]:
    with Client(url) as made:
        yield made


def test_all_events_come_in_order_as_they_are_over_http(client: Client, url: str) -> None:
    for limit in (None, 5_000):
        events = client.search(start=0, limit=limit)
        assert events.complete is None
        found = list(events)
        assert [event["offset"] for event in found] == list(range(ROWS - 1, -1, -1))
        assert (events.complete, events.incomplete) == (True, ())
    created = httpx.post(f"{url}/search/v1/queries", json={"start": 0, "limit": ROWS, "wait": 30, "page": ROWS})
    assert found == created.json()["events"]


def test_a_limit_is_one(client: Client) -> None:
    events = client.search(start=0, limit=7, order="oldest")
    assert events.to_arrow().column("offset").to_pylist() == list(range(7))
    assert events.complete


def test_columns_are_typed_in_every_shape(client: Client) -> None:
    table = client.search(start=0).to_arrow()
    assert table.schema.equals(PARQUET_SCHEMA)
    frame = client.search(start=0).to_polars()
    assert frame["offset"].to_list() == table.column("offset").to_pylist()
    assert str(frame.schema["timestamp"]) == "Datetime(time_unit='us', time_zone='UTC')"
    chosen = client.search(start=0, columns=["message", "timestamp"]).to_arrow()
    assert chosen == table.select(["message", "timestamp"])
    assert client.search("nowhere", start=0).to_arrow() == PARQUET_SCHEMA.empty_table()


def test_pandas_has_the_same(client: Client) -> None:
    frame = client.search(start=0).to_pandas()
    assert list(frame["offset"]) == list(range(ROWS - 1, -1, -1))
    assert str(frame["timestamp"].dtype) == "datetime64[us, UTC]"


async def test_on_an_event_loop_it_is_the_same(url: str) -> None:
    async with AsyncClient(url) as client:
        for limit in (None, 5_000):
            events = client.search(start=0, limit=limit)
            found = [event["offset"] async for event in events]
            assert found == list(range(ROWS - 1, -1, -1))
            assert events.complete
        table = await client.search(start=0, limit=3).to_arrow()
        assert (await client.search(start=0, limit=3).to_polars())["offset"].to_list() == [4_009, 4_008, 4_007]
        assert len(await client.search(start=0, limit=3).to_pandas()) == len(table) == 3
        with pytest.raises(BadRequest, match=r"quote|closed|end"):
            await client.search('"open', limit=1).to_arrow()


def test_an_answer_is_read_once(client: Client) -> None:
    events = client.search(start=0, limit=1)
    assert len(list(events)) == 1
    with pytest.raises(BadRequest, match="read once"):
        list(events)


def lose(world: World) -> None:
    world.store.delete(world.entries[0].key)


@pytest.mark.parametrize("limit", [None, 5_000])
def test_an_incomplete_answer_raises_after_what_is_there(client: Client, world: World, limit: int | None) -> None:
    lose(world)
    events, found = client.search(start=0, limit=limit), []
    with pytest.raises(Incomplete, match=r"(could not|cannot) be read") as raised:
        found.extend(events)
    assert len(found) == ROWS - 1_000
    assert not events.complete
    assert raised.value.details["incomplete"] == list(events.incomplete)
    with pytest.raises(Incomplete):
        client.search(start=0, limit=limit).to_arrow()


@pytest.mark.parametrize("limit", [None, 5_000])
def test_an_incomplete_answer_may_warn_or_be_taken(client: Client, world: World, limit: int | None) -> None:
    lose(world)
    with pytest.warns(IncompleteWarning, match="read"):
        table = client.search(start=0, limit=limit, incomplete="warn").to_arrow()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        events = client.search(start=0, limit=limit, incomplete="ignore")
        assert events.to_arrow() == table
    assert (len(table), events.complete) == (ROWS - 1_000, False)
    with pytest.raises(BadRequest, match="incomplete="):
        client.search(incomplete="maybe")  # type: ignore[arg-type]


async def test_an_incomplete_answer_raises_on_an_event_loop(url: str, world: World) -> None:
    lose(world)
    async with AsyncClient(url) as client:
        for limit in (None, 5_000):
            with pytest.raises(Incomplete):
                await client.search(start=0, limit=limit).to_arrow()


async def test_what_cannot_be_searched_now_is_unavailable(url: str, world: World) -> None:
    await world.log.append([Record(0, b"nobody has read it")])
    world.buffers.covers = False
    async with AsyncClient(url) as client:
        with pytest.raises(Unavailable, match="virtual node 0"):
            await client.search(start=0).to_arrow()


def test_refusals_are_typed(client: Client, url: str) -> None:
    with pytest.raises(BadRequest) as raised:
        list(client.search('"open', start=0))
    assert isinstance(raised.value.details["position"], int)
    with pytest.raises(BadRequest, match="user_id"):
        list(client.search(start=0, columns=["user_id"]))
    first = iter(client.search(start=0))
    next(first)
    with pytest.raises(TooFast):
        list(client.search(start=0))
    first.close()  # type: ignore[attr-defined]
    with Client("http://127.0.0.1:9") as nowhere, pytest.raises(Unavailable, match="nothing answers"):
        list(nowhere.search())
    with Client(f"{url}/other") as other, pytest.raises(NotFound):
        list(other.search())


def test_a_reader_that_stops_cancels_what_it_asked(client: Client, world: World) -> None:
    events = iter(client.search(start=0, limit=200_000))
    next(events)
    events.close()  # type: ignore[attr-defined]


def page_of(**more: Any) -> dict[str, Any]:
    return {"state": "done", "complete": True, "incomplete": [], **more}


def test_a_pipes_table_has_typed_columns() -> None:
    columns = [{"name": "time", "type": "time"}, {"name": "service", "type": "text"}]
    columns += [{"name": "n", "type": "number"}, {"name": "p", "type": "number"}]
    rows = [["2026-12-01T00:00:00.000000Z", "a", 2**60, 0.5], ["2026-12-01T00:01:00.000000Z", None, 1, None]]
    table = of_pipe(page_of(columns=columns, rows=rows))
    assert list(table)[1] == {"time": rows[1][0], "service": None, "n": 1, "p": None}
    arrow = table.to_arrow()
    assert [str(kind) for kind in arrow.schema.types] == ["timestamp[us, tz=UTC]", "string", "int64", "double"]
    assert arrow.column("n").to_pylist() == [2**60, 1]
    assert (len(table), table.complete) == (2, True)
    assert table.to_polars().shape == (2, 4)
    assert table.to_pandas().shape == (2, 4)


def test_buckets_are_rows_without_the_rest() -> None:
    buckets = [
        {"start": None, "by": {"service": "a"}, "count": 3, "stats": {"sum(x)": 2**70}},
        {"start": None, "by": {"service": None}, "count": 1, "stats": {"sum(x)": None}, "other": True},
    ]
    table = of_stats(page_of(buckets=buckets), ["service"], ["sum(x)"], None)
    assert list(table) == [{"service": "a", "count": 3, "sum(x)": 2**70}]
    assert table.to_arrow().column("sum(x)").to_pylist() == [float(2**70)]


def test_importing_the_client_imports_no_server() -> None:
    told = "import sys; from ess_ray.client import Client; print(*{name.partition('.')[0] for name in sys.modules})"
    found = subprocess.run([sys.executable, "-c", told], capture_output=True, text=True, check=True).stdout.split()
    assert "httpx" in found
    unwanted = {"ray", "pydantic", "redis", "aiokafka", "confluent_kafka", "fastapi", "deltalake", "boto3", "obstore"}
    assert not {*unwanted, "pandas", "polars"} & set(found)
