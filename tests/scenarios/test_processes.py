"""Single processes that die or stand still: the system comes back by itself, and health tells the truth meanwhile."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import psutil
import pytest

from tests.systems import DEADLINE_S, System, titled, wait_until

GCS = "/gcs/gcs_server "
RAYLET = "/raylet/raylet "
HANG_S = 6.0
"""Health answers within 2 s; on a machine that does other things too, it must still not hang."""
BATCH = 20
PAUSE_S = 0.1
"""Between two pushes: a light load, so that what is measured is the start."""
RECOVERY_S = 300.0
"""Twelve seconds on an idle machine; on a busy one a start may even fail once."""


class Pushing:
    """Pushes small batches one after the other until left, each under its key until it is acknowledged."""

    def __init__(self, system: System, service: str) -> None:
        self._url, self._service = system.url, service
        self.acknowledged_s: list[tuple[float, float]] = []
        """Of each batch: when its last try began, and when it was acknowledged."""
        self.wrong: list[str] = []
        self._left = threading.Event()
        self._thread = threading.Thread(target=self._run, name="pushing")

    def __enter__(self) -> Pushing:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._left.set()
        self._thread.join()

    def has_begun_after(self, moment_s: float) -> bool:
        return any(begun_s > moment_s for begun_s, _ in list(self.acknowledged_s))

    def _run(self) -> None:
        with httpx.Client(base_url=self._url, timeout=DEADLINE_S) as http:
            while not self._left.wait(PAUSE_S):
                batch = len(self.acknowledged_s)
                names = [f"{self._service} {batch} {n}" for n in range(BATCH)]
                events = [{"message": name, "service": self._service} for name in names]
                begun_s = time.monotonic()
                try:
                    answer = http.post(
                        "/push/v1/events", json=events, headers={"Idempotency-Key": f"{self._service} {batch}"}
                    )
                except httpx.TransportError:
                    continue
                if answer.status_code == 202:
                    self.acknowledged_s.append((begun_s, time.monotonic()))
                elif answer.status_code != 503:
                    self.wrong.append(answer.text)


def process(system: System, title: str) -> psutil.Process:
    found = wait_until(lambda: titled(system, title), f"there is no {title}")
    return found[0]  # type: ignore[no-any-return]


@contextmanager
def standing_still(victim: psutil.Process) -> Iterator[None]:
    victim.suspend()
    try:
        yield
    finally:
        victim.resume()


def told(system: System, part: str) -> str:
    """Ask for health, and give the reasons; nothing when it is well."""
    answer = system.http.get(f"/{part}/healthz", timeout=HANG_S)
    assert answer.status_code in (200, 503), answer.text
    return "" if answer.status_code == 200 else str(answer.json()["detail"])


def healthy(system: System) -> bool:
    try:
        return not any(told(system, part) for part in ("push", "search"))
    except httpx.TransportError:
        return False


def end_of_search(system: System, query: str) -> dict[str, object]:
    """Run a search to its end, whatever that is."""
    created = system.http.post("/search/v1/queries", json={"query": query, "start": 0})
    assert created.status_code == 201, created.text
    path = f"/search/v1/queries/{created.json()['id']}"

    def page() -> dict[str, object] | None:
        found: dict[str, object] = system.http.get(path).json()
        return found if found["state"] != "running" else None

    return wait_until(page, "the search runs for ever")  # type: ignore[no-any-return]


@pytest.mark.parametrize("title", ["ray::LogActor", "ray::Supervisor", GCS, RAYLET, "ray-dashboard-DataHead"])
def test_health_tells_of_what_stands_still_and_a_search_ends(own_system: System, title: str) -> None:
    system = own_system
    system.push([{"message": "before it stood still", "service": "stands"}])
    victim = process(system, title)
    with standing_still(victim):
        for part in ("push", "search"):
            reason = wait_until(lambda part=part: told(system, part), f"{part} stays healthy")
            assert f"pid {victim.pid}" in reason
        page = end_of_search(system, "service:stands")
        assert page["state"] != "running"
        if not page["complete"]:
            assert page["incomplete"]
    wait_until(lambda: healthy(system), "it does not become well again")
    assert system.search("service:stands")


def test_a_replica_that_stands_still_is_told_soon_by_others(own_system: System) -> None:
    """The search replica has no other beside it: HAProxy answers for it."""
    system = own_system
    with standing_still(process(system, "ServeReplica:search")):
        answer = system.http.get("/search/healthz", timeout=HANG_S)
        assert answer.status_code == 503, answer.text
        assert "ServeReplica:search" in wait_until(lambda: told(system, "push"), "the push replicas tell nothing")
    wait_until(lambda: healthy(system), "it does not become well again")


@pytest.mark.timeout(3 * RECOVERY_S)
def test_the_system_comes_back_by_itself_with_everything(own_system: System) -> None:
    """This helper takes the node manager along, and that everything. (Each other process has a row in tests/chaos.)"""
    system, service, title = own_system, "killed-helper", "ray::DashboardAgent"
    before = {process.pid for process in system.processes()}
    with Pushing(system, service) as pushing:
        wait_until(lambda: len(pushing.acknowledged_s) >= 5, "nothing is acknowledged")
        session = system.run_file()["session_id"]
        process(system, title).kill()
        killed_s = time.monotonic()
        wait_until(lambda: pushing.has_begun_after(killed_s + 1), "nothing is acknowledged after the death", RECOVERY_S)
        wait_until(lambda: healthy(system), "it does not become healthy", RECOVERY_S)
    assert pushing.wrong == []
    assert system.run_file()["session_id"] == session
    assert {process.pid for process in system.processes()} & before <= {session}, "something of the old life is left"
    found = Counter(event["message"] for event in system.search(f"service:{service}"))
    acknowledged = {f"{service} {batch} {n}" for batch in range(len(pushing.acknowledged_s)) for n in range(BATCH)}
    assert [name for name in acknowledged if found[name] != 1] == []
    assert [name for name, times in found.items() if times > 1] == []
    in_doubt = {f"{service} {len(pushing.acknowledged_s)} {n}" for n in range(BATCH)}
    assert found.keys() - acknowledged <= in_doubt
    assert "restarting" in system.run_file()


def test_down_leaves_no_process_of_any_life(own_system: System) -> None:
    processes = own_system.processes()
    own_system.down()
    gone, alive = psutil.wait_procs(processes, timeout=DEADLINE_S)
    assert alive == []
    assert len(gone) == len(processes)
