"""A system on a disk that really fills up: refused in time, stored within the reserve, and on it goes by itself."""

from __future__ import annotations

import base64
import json
import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.disks import fill, free_bytes, kept_full, small_disk
from tests.systems import System, running, wait_until

pytestmark = pytest.mark.slow

MIB = 1024 * 1024
DISK = 512 * MIB
RESERVE = 128 * MIB
WARN = 256 * MIB
EVENT_BYTES = 10_000
BATCH = 100


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with small_disk(tmp_path_factory.mktemp("small") / "disk", DISK) as mounted:
        yield mounted


@pytest.fixture(scope="module")
def system(disk: Path) -> Iterator[System]:
    """Buffers are stored when they are asked to: what is where on the disk is then known."""
    settings = {
        "ESS_DISK__RESERVE_BYTES": str(RESERVE),
        "ESS_DISK__WARN_BYTES": str(WARN),
        "ESS_PERSIST__SEAL_AGE_S": "3600",
        "ESS_PERSIST__SEAL_BYTES": str(1024 * MIB),
    }
    with running(disk / "data", **settings) as made:
        yield made


class Pusher:
    """Pushes events that no codec makes much smaller, and remembers those that were acknowledged."""

    def __init__(self, system: System, seed: int) -> None:
        """`seed`: of its own for each, as a large body that was pushed before is a repeat."""
        self._system, self._random = system, random.Random(seed)
        self.acknowledged: Counter[str] = Counter()

    def push(self) -> httpx.Response:
        noise = [base64.b64encode(self._random.randbytes(EVENT_BYTES * 3 // 4)).decode() for _ in range(BATCH)]
        answer = self._system.http.post("/push/v1/events", json=[{"message": f"disk {text}"} for text in noise])
        assert answer.status_code in (202, 503), answer.text
        if answer.status_code == 202:
            self.acknowledged.update(f"disk {text}" for text in noise)
        return answer

    def push_until_refused(self) -> httpx.Response:
        for _ in range(DISK // (BATCH * EVENT_BYTES)):
            if (answer := self.push()).status_code == 503:
                return answer
        raise AssertionError("it was never refused")

    def check_all_are_found_once(self) -> None:
        found = Counter(event["message"] for event in self._system.search("disk"))
        wrong = {text[:40]: (found[text], times) for text, times in self.acknowledged.items() if found[text] != times}
        assert not wrong, f"{len(wrong)} are not found as often as they were acknowledged: {list(wrong.items())[:3]}"
        assert found.total() == self.acknowledged.total()


def test_a_disk_that_fills_up(system: System, disk: Path) -> None:
    pusher = Pusher(system, 1)
    ballast = fill(disk, RESERVE + 48 * MIB)
    told = json.loads(system.ess("status", "--json").stdout)
    assert told["disk"]["state"] == "low"
    assert any("pushes are refused" in warning for warning in told["warnings"]), "it is told before it happens"
    assert system.http.get("/push/healthz").status_code == 200

    refused = pusher.push_until_refused()
    assert refused.headers["retry-after"]
    assert str(disk) in refused.json()["detail"]
    health = system.http.get("/push/healthz")
    assert health.status_code == 503
    assert "pushes are refused until there is room" in health.json()["detail"]
    assert system.http.get("/search/healthz").status_code == 200
    pusher.check_all_are_found_once()
    assert "is full: free some space" not in (system.data_dir / "system.log").read_text()

    # Somebody else takes a part of the reserve as well: what was acknowledged is stored, and merged, all the same.
    fill(disk, RESERVE)
    system.ess("flush")
    system.ess("compact")
    table = json.loads(system.ess("status", "--json", ok=(1,)).stdout)["table"]
    assert table["rows"] == pusher.acknowledged.total()
    assert pusher.push().status_code == 503
    pusher.check_all_are_found_once()

    ballast.unlink()
    wait_until(lambda: system.http.get("/push/healthz").status_code == 200, "pushes are not taken again")
    assert pusher.push().status_code == 202


def test_a_disk_that_somebody_else_fills_to_the_brim(system: System, disk: Path) -> None:
    pusher = Pusher(system, 2)
    pusher.acknowledged.update(event["message"] for event in system.search("disk"))
    for _ in range(5):
        assert pusher.push().status_code == 202
    with kept_full(disk):
        assert free_bytes(disk) < MIB
        assert pusher.push().status_code == 503
        failed = system.ess("flush", ok=(1,))
        assert "No space left on device" in failed.stderr
        problems = json.loads(system.ess("status", "--json", ok=(1,)).stdout)["problems"]
        assert any("push: the disk of" in problem for problem in problems)
        assert any("cannot store" in problem and "No space left on device" in problem for problem in problems)
        pusher.check_all_are_found_once()

    wait_until(lambda: pusher.push().status_code == 202, "pushes are not taken again")
    system.ess("flush")
    wait_until(lambda: system.http.get("/search/healthz").status_code == 200, "storing is still in trouble")
    pusher.check_all_are_found_once()
    events = system.data_dir / "events"
    assert list(events.rglob("~*")) == [], "a write that failed left its file"
    assert json.loads(system.ess("verify", "--json").stdout)["right"]
