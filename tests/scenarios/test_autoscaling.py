"""Push replicas follow the requests: Serve starts more under load, and every event that was acknowledged is there."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import httpx

from tests.systems import System, wait_until

CLIENTS = 48
"""Requests under way: twice what one replica is to have."""
EVENTS = 1_000
"""Events of one request: decoding them keeps the replica busier than sending them keeps the clients."""


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


def test_push_gets_another_replica_under_load(new_system: Callable[..., System]) -> None:
    system = new_system(ESS_PUSH__REPLICAS="1", ESS_PUSH__MAX_REPLICAS="2")
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
