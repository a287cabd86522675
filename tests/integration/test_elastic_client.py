"""Elasticsearch's own client for Python, unmodified, writes to the push application over a real socket."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from typing import Any

import pytest
from elasticsearch import ApiError, AuthenticationException, BadRequestError, Elasticsearch, NotFoundError
from elasticsearch.helpers import BulkIndexError, bulk, parallel_bulk, streaming_bulk

from ess_ray.core.errors import Unauthenticated, Unavailable
from tests.http_server import serving
from tests.pushing import World


class Served(World):
    """The push application on a port of its own; `refusals` are raised before anything is taken."""

    def __init__(self) -> None:
        super().__init__()
        self.refusals: list[Exception] = []
        self.keys: list[str | None] = []

    async def _tenant(self, request: Any) -> str:
        self.keys.append(request.headers.get("authorization"))
        if self.refusals:
            raise self.refusals.pop()
        return "default"

    def rows(self) -> list[dict[str, Any]]:
        return [row for record in asyncio.run(self.records()) for row in record.batch.to_pylist()]


@pytest.fixture
def world() -> Served:
    made = Served()
    made.now_us = time.time_ns() // 1_000
    return made


@pytest.fixture(params=["9", "8"])
def client(world: Served, request: pytest.FixtureRequest) -> Iterator[Elasticsearch]:
    """The client as it is, and saying that it speaks the version before."""
    kind = f"application/vnd.elasticsearch+{{}}; compatible-with={request.param}"
    headers = {"accept": kind.format("json"), "content-type": kind.format("x-ndjson")}
    with serving(world.app) as url:
        made = Elasticsearch(f"{url}/elasticsearch", api_key="ess_key", max_retries=3, retry_on_status=[503])
        yield made if request.param == "9" else made.options(headers=headers)
        made.close()


def test_the_client_takes_this_for_elasticsearch(client: Elasticsearch, world: Served) -> None:
    assert client.ping()
    info = client.info()
    assert info["tagline"] == "You Know, for Search"
    assert info.meta.headers["x-elastic-product"] == "Elasticsearch"
    assert client.cluster.health()["status"] == "green"
    assert client.license.get()["license"]["type"] == "basic"
    assert client.xpack.info()["features"] == {}
    assert world.keys == ["ApiKey ess_key"] * len(world.keys)


def test_what_is_set_up_first_is_missed_and_then_acknowledged(client: Elasticsearch) -> None:
    assert not client.indices.exists_index_template(name="logs")
    assert client.indices.put_index_template(name="logs", index_patterns=["logs-*"])["acknowledged"]
    assert not client.indices.exists(index="logs-1")
    assert client.indices.create(index="logs-1")["acknowledged"]
    with pytest.raises(NotFoundError):
        client.ilm.get_lifecycle(name="logs")
    assert client.ilm.put_lifecycle(name="logs", policy={"phases": {}})["acknowledged"]
    with pytest.raises(NotFoundError):
        client.ingest.get_pipeline(id="p")
    assert client.indices.create_data_stream(name="logs-x-default")["acknowledged"]
    assert client.indices.refresh(index="logs-1")["_shards"]["failed"] == 0


@pytest.mark.parametrize("how", [streaming_bulk, parallel_bulk])
def test_documents_arrive_with_their_fields_however_they_are_sent(
    client: Elasticsearch, world: Served, how: Any
) -> None:
    actions = [
        {
            "_op_type": "create",
            "_index": "web",
            "_id": f"id-{n}",
            "@timestamp": world.now_us // 1_000,
            "message": f"{n}",
        }
        for n in range(1_200)
    ]
    told = list(how(client, actions, chunk_size=500))
    assert all(ok for ok, _ in told)
    assert sorted(item["create"]["_id"] for _, item in told) == sorted(f"id-{n}" for n in range(1_200))
    rows = sorted(world.rows(), key=lambda row: int(row["message"]))
    assert [row["event_id"] for row in rows] == [f"id-{n}" for n in range(1_200)]
    assert {dict(row["attributes"])["_index"] for row in rows} == {"web"}


def test_a_flaw_is_told_of_its_document_alone(client: Elasticsearch, world: Served) -> None:
    actions = [
        {"_index": "web", "_source": {"message": "a"}},
        {"_op_type": "delete", "_index": "web", "_id": "x"},
        {"_index": "web", "_source": {"message": "b"}},
    ]
    with pytest.raises(BulkIndexError) as caught:
        bulk(client, actions)
    (error,) = caught.value.errors
    assert (error["delete"]["_id"], error["delete"]["status"]) == ("x", 400)
    assert [row["message"] for row in world.rows()] == ["a", "b"]


def test_single_documents(client: Elasticsearch, world: Served) -> None:
    told = client.index(index="web", document={"message": "a"})
    assert told["result"] == "created"
    assert client.create(index="web", id="1", document={"message": "b"})["_id"] == "1"
    assert client.index(index="web", id="a/b", document={"message": "c"})["_id"] == "a/b"
    assert sorted((row["message"], row["event_id"]) for row in world.rows()) == [("a", None), ("b", "1"), ("c", "a/b")]


def test_what_is_to_be_sent_again_is(client: Elasticsearch, world: Served) -> None:
    world.refusals = [Unavailable("away"), Unavailable("away")]
    assert bulk(client, [{"_index": "web", "_id": "1", "message": "once"}]) == (1, [])
    assert [row["message"] for row in world.rows()] == ["once"]
    assert len(world.keys) == 3


def test_refusals_are_the_clients_own_errors(client: Elasticsearch, world: Served) -> None:
    with pytest.raises(BadRequestError, match="illegal_argument_exception"):
        client.bulk(operations=[{"upsert": {}}, {"message": "m"}])
    with pytest.raises(ApiError, match="resource_not_found_exception"):
        client.search(index="web")
    world.refusals = [Unauthenticated("this system wants a key")]
    with pytest.raises(AuthenticationException, match="this system wants a key"):
        bulk(client, [{"_index": "web", "message": "m"}])
    assert world.rows() == []
