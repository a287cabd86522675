"""Persist actors as many as wanted, push replicas as many as needed: nothing lost, nothing doubled on the way."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from tests.systems import Reader, System, persist_actors, running, titled, wait_until

pytestmark = pytest.mark.slow

CLIENTS = 48
"""Requests under way: twice what one replica is to have."""
EVENTS = 1_000
"""Events of one request: decoding them keeps the replica busier than sending them keeps the clients."""


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """A system with one push replica that may become two."""
    with running(tmp_path_factory.mktemp("ess") / "data", ESS_PUSH__REPLICAS="1", ESS_PUSH__MAX_REPLICAS="2") as made:
        yield made


def push_replicas(system: System) -> int:
    found = system.http.get("/search/v1/status").json()["replicas"]["push"]
    return int(found.get("RUNNING", 0))


def push_until(system: System, stop: threading.Event) -> int:
    """Push until told to stop; gives the number of events acknowledged."""
    body, acknowledged = json.dumps([{"message": f"busy {n}"} for n in range(EVENTS)]).encode(), 0
    with httpx.Client(base_url=system.url, timeout=60) as http:
        while not stop.is_set():
            answer = http.post("/push/v1/events", content=body)
            assert answer.status_code in (202, 429, 503), answer.text
            acknowledged += answer.json()["accepted"] if answer.status_code == 202 else 0
    return acknowledged


def test_push_gets_another_replica_under_load(system: System) -> None:
    assert push_replicas(system) == 1
    stop = threading.Event()
    with ThreadPoolExecutor(CLIENTS) as clients:
        pushing = [clients.submit(push_until, system, stop) for _ in range(CLIENTS)]
        try:
            wait_until(lambda: push_replicas(system) == 2, "no replica was added")
        finally:
            stop.set()
        acknowledged = sum(each.result() for each in pushing)
    system.ess("flush")
    assert system.http.get("/search/v1/status").json()["table"]["rows"] == acknowledged


def pool_of(system: System) -> dict[str, Any]:
    found: dict[str, Any] = system.http.get("/search/v1/pool").json()
    return found


def shares(system: System) -> list[int]:
    return sorted(len(one["vnodes"]) for one in pool_of(system)["actors"].values())


def push_and_read(system: System, reader: Reader, turns: range) -> None:
    for turn in turns:
        names = [f"polled {turn} {number}" for number in range(20)]
        system.push([{"message": name, "service": "polled"} for name in names])
        reader.acknowledged += names


def test_a_size_that_cannot_be_is_refused(system: System) -> None:
    for wrong in ({"actors": 0}, {"actors": 5000}, {"actors": "3"}, {"actors": True}, {}, {"actors": 2, "more": 1}):
        answer = system.http.post("/search/v1/pool", json=wrong)
        assert answer.status_code == 400, answer.text
        assert answer.headers["content-type"] == "application/problem+json"
    assert "refused" not in system.ess("pool", "--actors", "0", ok=(2,)).stdout
    assert shares(system) == [4, 4]


def test_a_pool_is_resized_under_load_and_keeps_its_size(system: System) -> None:
    with Reader(system) as reader:
        push_and_read(system, reader, range(5))
        system.ess("pool", "--actors", "4")
        assert shares(system) == [2, 2, 2, 2]
        push_and_read(system, reader, range(5, 10))
        again = system.http.post("/search/v1/pool", json={"actors": 4}).json()
        assert again == {"actors": 4, "moved": 0}
        done = system.http.post("/search/v1/pool", json={"actors": 1}).json()
        assert done["moved"] == 6
        assert shares(system) == [8]
        push_and_read(system, reader, range(10, 15))
        at = reader.complete
        wait_until(lambda: reader.complete >= at + 2 or reader.wrong, "the reader got no complete answer")
    assert reader.wrong == []
    wait_until(lambda: len(persist_actors(system)) == 1, "actors that left the pool live on")
    expected = sorted(reader.acknowledged)
    assert sorted(e["message"] for e in system.search("service:polled")) == expected
    system.ess("flush")
    assert sorted(e["message"] for e in system.search("service:polled")) == expected
    (supervisor,) = titled(system, "Supervisor")
    supervisor.kill()
    wait_until(lambda: not supervisor.is_running(), "the supervisor did not die")
    wait_until(lambda: system.http.get("/search/healthz").status_code == 200, "the supervisor did not come back")
    assert shares(system) == [8]
    system.down()
    system.up()
    assert shares(system) == [8]
    assert sorted(e["message"] for e in system.search("service:polled")) == expected
