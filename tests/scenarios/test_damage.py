"""One damaged object, and damaged files below a system that starts: what goes on, what is named, what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.damages import DAMAGES, OBJECT_DAMAGES
from tests.systems import System, persist_actors, wait_until

Make = Callable[..., System]


class Tenant:
    """A tenant of a system, with a key of its own."""

    def __init__(self, system: System, name: str) -> None:
        scopes = [part for scope in ("push", "search", "admin") for part in ("--scope", scope)]
        self.key = system.ess("keys", "create", "--tenant", name, *scopes).stdout.strip()
        self.name, self.system = name, system

    def __enter__(self) -> System:
        """Give the system as this tenant sees it."""
        self.system.environment["ESS_KEY"] = self.key
        self.system.http.headers["Authorization"] = f"Bearer {self.key}"
        return self.system

    def __exit__(self, *_: object) -> None:
        return


def objects(system: System, tenant: str) -> set[Path]:
    return set((system.data_dir / "events" / f"tenant={tenant}").rglob("*.parquet"))


def replace_the_pool(system: System) -> None:
    """Kill both persist actors, and wait until others own what they had."""
    victims = persist_actors(system)
    assert len(victims) == 2
    for victim in victims:
        victim.kill()
    old = {victim.pid for victim in victims}

    def replaced() -> bool:
        status = system.http.get("/search/v1/status")
        if status.status_code != 200:
            return False
        actors = status.json()["pool"]["actors"].values()
        return len(actors) == 2 and all(actor.get("pid", 0) not in {0, *old} for actor in actors)

    wait_until(lambda: replaced() and health(system).status_code == 200, "the pool did not heal")


def health(system: System) -> httpx.Response:
    return system.http.get("/search/healthz")


def messages(events: list[dict[str, Any]]) -> set[str]:
    return {event["message"] for event in events}


@pytest.mark.slow
def test_one_damaged_object_stops_nobody_and_is_named_until_it_is_restored(new_system: Make) -> None:
    system = new_system()
    red, blue = Tenant(system, "red"), Tenant(system, "blue")
    with blue:
        system.push([{"message": "of blue"}])
    with red:
        system.push([{"message": "kept"}], **{"Idempotency-Key": "kept"})
        system.ess("flush")
        before = objects(system, "red")
        system.push([{"message": "lost for now"}], **{"Idempotency-Key": "lost"})
        system.ess("flush")
        (damaged,) = objects(system, "red") - before
        whole = damaged.read_bytes()
        OBJECT_DAMAGES["a byte of the footer flipped"](damaged)
        replace_the_pool(system)
        goes_on(system, red, blue, damaged, "after the pool died")
        system.down()
        refuses_and_heals(system)
    goes_on(system, red, blue, damaged, "after a start")
    damaged.write_bytes(whole)
    with red:
        assert "lost for now" in messages(system.search("*"))
        system.ess("verify")
        replace_the_pool(system)
        assert health(system).json()["warnings"] == []
        system.push([{"message": "kept"}], **{"Idempotency-Key": "kept"})
        system.push([{"message": "lost for now"}], **{"Idempotency-Key": "lost"})
        found = sorted(event["message"] for event in system.search("kept") + system.search("lost"))
        assert found == ["kept", "lost for now"], "repeats are known again"


def goes_on(system: System, red: Tenant, blue: Tenant, damaged: Path, when: str) -> None:
    """Pushes and searches of all, with the damaged object named wherever somebody would look."""
    with blue:
        system.push([{"message": f"{when} of blue"}])
        assert {"of blue", f"{when} of blue"} <= messages(system.search("*"))
    with red:
        system.push([{"message": f"{when} of red"}])
        found, page = system.try_search("*")
        assert {"kept", f"{when} of red"} <= messages(found)
        assert "lost for now" not in messages(found)
        assert (page["state"], page["complete"]) == ("done", False)
        assert [damaged.name in reason for reason in page["incomplete"]] == [True]
        assert health(system).status_code == 200
        (warning,) = health(system).json()["warnings"]
        assert damaged.name in warning
        assert "may be stored twice until" in warning
        assert damaged.name in system.ess("status").stderr.replace("\n", "")
        report = json.loads(system.ess("verify", "--json", ok=(1,)).stdout)
        assert [damaged.name in problem["where"] for problem in report["problems"]] == [True]


def refuses_and_heals(system: System) -> None:
    """Start on damaged files: exit code 1 with file and remedy, or healed, which the log tells."""
    log = system.data_dir / "events" / "_delta_log"
    commit = max(log.glob("*.json"))
    whole = commit.read_bytes()
    DAMAGES["cut in half"](commit)
    refused = system.ess("up", "--detach", "--port", str(system.port), ok=(1,))
    assert commit.name in refused.stderr
    assert "restore it from a backup" in refused.stderr
    commit.write_bytes(whole)
    (log / "_last_checkpoint").write_bytes(b"{")
    (system.data_dir / "pool").mkdir(exist_ok=True)
    (system.data_dir / "pool" / "size.json").write_bytes(b"")
    system.up()
    told = (system.data_dir / "system.log").read_text()
    assert "_last_checkpoint" in told
    assert "healed" in told
    assert "ess pool --actors" in told
    system.ess("pool", "--actors", "2")
