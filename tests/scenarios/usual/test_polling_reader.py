"""A reader that polls all the time, while events come in, are flushed, and owners die: never a gap, never a double."""

from __future__ import annotations

import pytest

from tests.systems import Reader, System, persist_actors, wait_until

ROUNDS = 12
BATCH = 25


@pytest.mark.parametrize("kill", [False, True], ids=["flushes", "flushes and take-overs"])
def test_a_polling_reader_sees_no_gap_and_no_double(system: System, kill: bool) -> None:
    with Reader(system, "service:watched") as reader:
        for turn in range(ROUNDS):
            names = [f"{kill} {turn} {number}" for number in range(BATCH)]
            system.push([{"message": name, "service": "watched"} for name in names])
            reader.acknowledged += names
            if turn % 3 == 1:
                system.http.post("/search/v1/flush").raise_for_status()
            if kill and turn == ROUNDS // 2:
                victim = persist_actors(system)[0]
                victim.kill()
                # Waits for the replacement: "stored" while a virtual node has no owner would not be true.
                system.http.post("/search/v1/flush").raise_for_status()
                assert system.http.get("/search/v1/status").json()["log"]["lag_records"] == 0
                wait_until(lambda: len(persist_actors(system)) == 2, "the actor was not replaced")
        seen = reader.complete
        wait_until(lambda: reader.complete > seen + 2 or reader.wrong, "no complete answer any more")
    assert reader.wrong == []
    assert reader.complete > 2
    assert {e["message"] for e in system.search("service:watched")} >= set(reader.acknowledged)
