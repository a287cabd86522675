"""The table of a running system: open to other programs, and compacted under a reader that polls all the time."""

from __future__ import annotations

import json

import polars

from tests.systems import Reader, System

ROUNDS = 5
BATCH = 20


def objects(system: System) -> int:
    found: int = system.http.get("/search/v1/status").json()["table"]["objects"]
    return found


def table(system: System) -> polars.LazyFrame:
    """The table as Polars reads it by itself."""
    return polars.scan_delta(str(system.data_dir / "events"))


def test_a_reader_that_polls_through_compactions_sees_no_gap_and_no_double(own_system: System) -> None:
    system, merged = own_system, 0
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
    frame = table(system).select("message", "offset", "vnode", "row").collect()
    found = system.search("service:polled")
    assert frame.height == len(found) == ROUNDS * 2 * BATCH
    assert set(frame["message"]) == {event["message"] for event in found} == set(reader.acknowledged)


def test_polars_counts_the_same_events(own_system: System) -> None:
    levels = ["error" if i % 3 else "info" for i in range(1000)]
    own_system.push([{"message": f"m{i}", "level": level, "n": i} for i, level in enumerate(levels)])
    own_system.ess("flush")
    frame = table(own_system).select("message", "level", "tenant").filter(polars.col("message").str.starts_with("m"))
    got = frame.collect()
    assert got.height == 1000
    assert got.filter(polars.col("level") == "ERROR").height == len(own_system.search("level:ERROR")) == 666
    assert set(got["tenant"]) == {"default"}


def test_before_and_after_a_flush_the_same_is_found(own_system: System) -> None:
    for turn in range(8):
        own_system.push([{"message": f"turn {turn} number {i}", "service": "flushed"} for i in range(50)])
        before = sorted(e["message"] for e in own_system.search("service:flushed"))
        if turn % 2:
            own_system.http.post("/search/v1/flush").raise_for_status()
        after = sorted(e["message"] for e in own_system.search("service:flushed"))
        expected = sorted(f"turn {t} number {i}" for t in range(turn + 1) for i in range(50))
        assert before == expected
        assert after == expected
