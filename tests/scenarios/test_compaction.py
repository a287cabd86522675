"""`ess compact` on a running system, with a reader that polls all the time: fewer objects, the same events."""

from __future__ import annotations

import json

import polars

from tests.systems import Reader, System

ROUNDS = 5
BATCH = 20


def objects(system: System) -> int:
    found: int = system.http.get("/search/v1/status").json()["table"]["objects"]
    return found


def test_a_reader_that_polls_through_compactions_sees_no_gap_and_no_double(system: System) -> None:
    merged = 0
    with Reader(system) as reader:
        for turn in range(ROUNDS):
            for part in range(2):
                names = [f"{turn} {part} {number}" for number in range(BATCH)]
                system.push([{"message": name, "service": "polled"} for name in names])
                reader.acknowledged += names
                system.http.post("/search/v1/flush").raise_for_status()
            before = objects(system)
            done = json.loads(system.ess("compact", "--json").stdout)
            assert (done["skipped"], done["more"]) == ([], False)
            assert objects(system) == before - done["merged_objects"] + done["new_objects"] < before
            merged += done["merged_objects"]
    assert reader.wrong == []
    assert reader.complete > ROUNDS
    assert merged >= 3 * ROUNDS - 1, "each round merged two new objects and the one of the round before"
    assert objects(system) <= 2, "one for each hour that the test touched"
    assert json.loads(system.ess("compact", "--json").stdout)["new_objects"] == 0
    frame = polars.scan_delta(str(system.data_dir / "events")).select("message", "offset", "vnode", "row").collect()
    found = system.search("service:polled")
    assert frame.height == len(found) == ROUNDS * 2 * BATCH
    assert set(frame["message"]) == {event["message"] for event in found} == set(reader.acknowledged)
