"""Two search replicas that share their answers in Redis: either answers for all, and cancels what the other runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress

import httpx
import psutil
import pytest

from tests.redis_server import redis_server
from tests.systems import System, persist_actors, titled


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    with redis_server(tmp_path_factory.mktemp("redis")) as redis:
        made = System(
            tmp_path_factory.mktemp("ess") / "data",
            ESS_RESULTS__REDIS_URL=redis.url,
            ESS_SEARCH__REPLICAS="2",
            ESS_PUSH__REPLICAS="1",
        )
        made.up()
        try:
            yield made
        finally:
            made.down()
            made.http.close()


@contextmanager
def search_replicas(system: System) -> Iterator[list[httpx.Client]]:
    """Give a client for the own port of each search replica, past HAProxy, which chooses one by itself."""
    found: list[httpx.Client] = []
    for process in titled(system, "ServeReplica:search"):
        for port in {c.laddr.port for c in process.net_connections("tcp") if c.status == psutil.CONN_LISTEN}:
            client = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30)
            with suppress(httpx.TransportError):  # a port of Ray's own
                if client.get("/search/openapi.json").status_code == 200:
                    found.append(client)
    try:
        yield found
    finally:
        for client in found:
            client.close()


def test_each_search_replica_answers_for_all(system: System) -> None:
    names = [f"paged {number:03}" for number in range(200)]
    system.push([{"message": name, "service": "paged"} for name in names])
    with search_replicas(system) as replicas:
        assert len(replicas) == 2
        body = {"query": "service:paged", "start": 0, "order": "oldest"}
        query_id = replicas[0].post("/search/v1/queries", json=body).json()["id"]
        found, cursor, asked = [], "", 0
        while len(found) < len(names):
            page = replicas[asked % 2].get(f"/search/v1/queries/{query_id}", params={"cursor": cursor, "limit": 30})
            found += [event["message"] for event in page.json()["events"]]
            assert page.json()["state"] == "running" or page.json()["complete"]
            cursor, asked = page.json()["cursor"], asked + 1
            assert asked < 10_000
        assert sorted(found) == names
        streams = [replica.get(f"/search/v1/queries/{query_id}/stream").text for replica in replicas]
        assert streams[0] == streams[1]
        assert streams[0].count("event: event\n") == len(names)


def test_a_search_is_cancelled_through_the_replica_that_does_not_run_it(system: System) -> None:
    with search_replicas(system) as replicas:
        owner = persist_actors(system)[0]
        owner.suspend()  # a search waits for its view, until the supervisor replaces it three seconds later
        try:
            query_id = replicas[0].post("/search/v1/queries", json={"query": "", "start": 0}).json()["id"]
            assert replicas[1].get(f"/search/v1/queries/{query_id}").json()["state"] == "running"
            cancelled = replicas[1].delete(f"/search/v1/queries/{query_id}").json()
        finally:
            with suppress(psutil.NoSuchProcess):
                owner.resume()
        assert cancelled["state"] == "cancelled", cancelled
        assert replicas[0].get(f"/search/v1/queries/{query_id}").json()["state"] == "cancelled"
