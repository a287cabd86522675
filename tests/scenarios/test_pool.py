"""The pool grows and shrinks under load: nothing lost, nothing doubled, searches complete or saying so."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.systems import Reader, System, persist_actors, titled, wait_until

Make = Callable[..., System]


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


def test_a_pool_is_resized_under_load_and_keeps_its_size(new_system: Make) -> None:
    system = new_system()
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


def test_a_size_that_cannot_be_is_refused(new_system: Make) -> None:
    system = new_system()
    for wrong in ({"actors": 0}, {"actors": 5000}, {"actors": "3"}, {"actors": True}, {}, {"actors": 2, "more": 1}):
        answer = system.http.post("/search/v1/pool", json=wrong)
        assert answer.status_code == 400, answer.text
        assert answer.headers["content-type"] == "application/problem+json"
    assert "refused" not in system.ess("pool", "--actors", "0", ok=(2,)).stdout
    assert shares(system) == [4, 4]
