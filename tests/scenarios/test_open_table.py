"""The table is open: Polars reads it by itself and counts what a search counts."""

from __future__ import annotations

import json

import polars

from tests.systems import System


def test_polars_counts_the_same_events(system: System) -> None:
    events = [{"message": f"m{i}", "level": "error" if i % 3 else "info", "n": i} for i in range(1000)]
    assert system.http.post("/push/v1/events", json=events).json()["accepted"] == 1000
    system.ess("flush")
    frame = polars.scan_delta(str(system.data_dir / "events")).select("message", "level", "tenant").collect()
    assert frame.height == 1000
    assert frame.filter(polars.col("level") == "ERROR").height == len(system.search("level:ERROR")) == 666
    assert set(frame["tenant"]) == {"default"}


def test_a_reader_that_polls_through_flushes_sees_no_gap_and_no_double(system: System) -> None:
    for turn in range(8):
        events = [{"message": f"turn {turn} number {i}", "service": "polled"} for i in range(50)]
        assert system.http.post("/push/v1/events", content=json.dumps(events)).status_code == 202
        before = sorted(e["message"] for e in system.search("service:polled"))
        if turn % 2:
            system.http.post("/search/v1/flush").raise_for_status()
        after = sorted(e["message"] for e in system.search("service:polled"))
        expected = sorted(f"turn {t} number {i}" for t in range(turn + 1) for i in range(50))
        assert before == expected
        assert after == expected
