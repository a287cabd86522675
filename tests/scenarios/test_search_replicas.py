"""Two search replicas that share their answers in Redis: either answers for all, cancels what the other runs, and goes
on with the streams of one that leaves."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import psutil
import pyarrow as pa
import pytest

from ess_ray.adapters.redis_results import RedisResultStore
from ess_ray.cli.tail_cmd import server_sent
from ess_ray.ports import AnswerState
from tests.redis_server import redis_server
from tests.systems import DEADLINE_S, System, persist_actors, running, title, titled, wait_until

DEPLOY = """
import sys
import ray
from ray import serve
ray.init(address=sys.argv[1], namespace="ess", log_to_driver=False)
from deployments import app
from ess_ray.settings import load
serve.run(app.search_application(app.system_of(load())), name="search", route_prefix="/search")
"""


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    with (
        redis_server(tmp_path_factory.mktemp("redis")) as redis,
        running(
            tmp_path_factory.mktemp("ess") / "data",
            ESS_RESULTS__REDIS_URL=redis.url,
            ESS_SEARCH__REPLICAS="2",
            ESS_PUSH__REPLICAS="1",
        ) as made,
    ):
        yield made


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
        system.push([{"message": "not stored yet"}])
        owners = persist_actors(system)
        for owner in owners:  # a search waits for the view of that which has it, until it is replaced, after 3 s
            owner.suspend()
        try:
            query_id = replicas[0].post("/search/v1/queries", json={"query": "", "start": 0}).json()["id"]
            assert replicas[1].get(f"/search/v1/queries/{query_id}").json()["state"] == "running"
            cancelled = replicas[1].delete(f"/search/v1/queries/{query_id}").json()
        finally:
            for owner in owners:
                with suppress(psutil.NoSuchProcess):
                    owner.resume()
        assert cancelled["state"] == "cancelled", cancelled
        assert replicas[0].get(f"/search/v1/queries/{query_id}").json()["state"] == "cancelled"


class Reader:
    """Follows a stream to its end as a client should: where it is told to, it connects again behind the last id."""

    def __init__(self, system: System, query_id: str) -> None:
        self._system, self._path = system, f"/search/v1/queries/{query_id}/stream"
        self.offsets: list[int] = []
        self.told: list[dict[str, Any]] = []
        """Each time that it was to connect again."""
        self.done: dict[str, Any] = {}

    def follow(self, first: httpx.Client) -> Reader:
        """Read on until `done`: at first from one replica, then from whichever HAProxy chooses."""
        http, last_id = first, ""
        while not self.done:
            with http.stream("GET", self._path, headers={"Last-Event-ID": last_id}, timeout=DEADLINE_S) as answer:
                assert answer.status_code == 200
                for kind, data, event_id in server_sent(answer.iter_lines()):
                    if kind == "event":
                        self.offsets.append(data["offset"])
                        last_id = event_id
                    elif kind == "error":
                        assert data["reconnect"], data
                        self.told.append(data)
                    elif kind == "done":
                        self.done = data
            http = wait_until(self._answering, "nobody goes on with the stream")
        return self

    def _answering(self) -> httpx.Client | None:
        """Give HAProxy's client once a replica answers behind it; the pause between two tries is `wait_until`'s."""
        answer = self._system.http.get(self._path.removesuffix("/stream"))
        return self._system.http if answer.status_code == 200 else None


def answer_of(system: System, work: Callable[[RedisResultStore], Awaitable[None]]) -> None:
    """Write to the system's answers as a search replica does that has much to read."""

    async def written() -> None:
        store = RedisResultStore(system.environment["ESS_RESULTS__REDIS_URL"], alive_s=2 * DEADLINE_S)
        try:
            await work(store)
        finally:
            await store.close()

    asyncio.run(written())


@contextmanager
def deployed_anew(system: System, folder: Path, **settings: str) -> Iterator[None]:
    """Deploy the search application again, with other settings, as an operator does.

    The old replicas have left a minute later, which is not waited for: this is for what happens meanwhile.
    """
    (address,) = {
        found[1] for process in titled(system, "raylet") if (found := re.search(r"--gcs-address=(\S+)", title(process)))
    }
    environment = {
        **titled(system, "raylet")[0].environ(),  # with the variables of this run, and its token's place
        "ESS_DATA_DIR": str(system.data_dir),
        **settings,
    }
    with (folder / "deploy.log").open("w") as log:
        deploying = subprocess.Popen([sys.executable, "-c", DEPLOY, address], env=environment, stdout=log, stderr=log)
        try:
            yield
            assert not deploying.poll(), (folder / "deploy.log").read_text()
        finally:
            deploying.kill()
            deploying.wait()


def test_a_stream_goes_on_elsewhere_when_its_replica_leaves(
    system: System, tmp_path: Path, make_events: Callable[..., pa.Table], t0_us: int
) -> None:
    progress = {"objects_total": 1}

    async def begin(store: RedisResultStore) -> None:
        await store.create("default", "long", AnswerState("running", progress, False, (), 0))
        await store.append("default", "long", make_events([t0_us, t0_us + 1]))

    async def end(store: RedisResultStore) -> None:
        await store.append("default", "long", make_events([t0_us + 2, t0_us + 3], first=2))
        await store.update("default", "long", AnswerState("done", progress, True, (), 1))

    answer_of(system, begin)
    with search_replicas(system) as replicas, ThreadPoolExecutor() as threads:
        readers = [Reader(system, "long") for _ in replicas]
        ends = [threads.submit(reader.follow, http) for reader, http in zip(readers, replicas, strict=True)]
        try:
            wait_until(lambda: all(len(reader.offsets) == 2 for reader in readers), "the streams do not begin")
            with deployed_anew(system, tmp_path, ESS_SEARCH__REPLICAS="1"):
                wait_until(lambda: any(reader.told for reader in readers), "no stream is told that its replica leaves")
        finally:
            answer_of(system, end)
        for each in ends:
            each.result(DEADLINE_S)
    for reader in readers:
        assert reader.offsets == [0, 1, 2, 3]
        assert reader.done["complete"], reader.done
    assert {reader.told[0]["cursor"] for reader in readers if reader.told} == {"r2"}
