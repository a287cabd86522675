"""Whole answers of a running system as files: what a search finds, more than a stored answer holds, or broken off."""

from __future__ import annotations

import csv
import io
import json
import time
from pathlib import Path
from typing import Any

import httpx
import pyarrow.parquet as pq
import pytest

from ess_ray.core.query import MAX_LIMIT
from tests.systems import System, wait_until

TEXTS = ["plain", 'with "quotes", commas', "two\nlines\r\n", "=1+2", "ä€𝄞 \u2028", ""]
REQUEST_EVENTS = 10_000
MORE_REQUESTS = MAX_LIMIT // REQUEST_EVENTS + 1
AT_ONCE = 4
"""Exports that a replica has under way at most, of all tenants together."""


def asked(system: System, query: str, **arguments: Any) -> str:
    answer = system.http.post("/search/v1/queries", json={"query": query, "start": 0, "limit": 1, **arguments})
    assert answer.status_code == 201, answer.text
    return f"/search/v1/queries/{answer.json()['id']}/export"


def exported(system: System, query: str, file_format: str, **arguments: Any) -> httpx.Response:
    answer = system.http.get(asked(system, query, **arguments), params={"format": file_format})
    assert answer.status_code == 200, answer.text
    return answer


@pytest.fixture(scope="module")
def filled(system: System) -> System:
    """Stored and in flight, each with the same texts and one id that both have."""
    for part in ("stored", "buffered"):
        events = [{"message": text, "service": "texts", "attributes": {"part": part, "k": text}} for text in TEXTS]
        system.push([*events, {"message": "once", "service": "texts", "id": "the same"}])
        if part == "stored":
            system.ess("flush")
    return system


@pytest.mark.parametrize("order", ["newest", "oldest"])
def test_every_format_has_what_a_search_finds(filled: System, order: str) -> None:
    found = filled.search("service:texts", order=order)
    assert len(found) == 2 * len(TEXTS) + 1
    lines = exported(filled, "service:texts", "ndjson", order=order).content.split(b"\n")
    assert [json.loads(line) for line in lines[:-1]] == found
    text = exported(filled, "service:texts", "csv", order=order).content.decode()
    records = list(csv.DictReader(io.StringIO(text, newline=""), strict=True))
    assert [{**record, "attributes": json.loads(record["attributes"])} for record in records] == [
        {name: value if isinstance(value, dict) else "" if value is None else str(value) for name, value in one.items()}
        for one in found
    ]
    table = pq.read_table(io.BytesIO(exported(filled, "service:texts", "parquet", order=order).content))
    for column, name in (("message", "message"), ("offset", "offset"), ("event_id", "id")):
        assert table.column(column).to_pylist() == [event[name] for event in found]


def test_a_search_does_what_was_explained(filled: System) -> None:
    told = json.loads(filled.ess("explain", "service:texts", "--since", "all", "--json").stdout)
    _, page = filled.try_search("service:texts")
    did = page["progress"]
    assert (told["objects_total"], told["objects_pruned"]) == (did["objects_total"], did["objects_pruned"])
    assert told["objects"] == did["objects_done"] >= 1
    assert told["in_flight_rows"] == did["in_flight_rows"] >= len(TEXTS)
    assert (told["complete"], told["executor"], told["lambda"]) == (True, "ray", None)


def test_an_export_has_more_than_a_stored_answer_holds(system: System, tmp_path: Path) -> None:
    now_us = time.time_ns() // 1_000
    for request in range(MORE_REQUESTS):
        first = request * REQUEST_EVENTS
        numbers = range(first, first + REQUEST_EVENTS)
        system.push([{"timestamp": now_us - n, "message": f"number {n}", "service": "many"} for n in numbers])
        if request == MORE_REQUESTS // 2:
            system.ess("flush")
    count = MORE_REQUESTS * REQUEST_EVENTS
    _, page = system.try_search("service:many")
    assert page["progress"]["rows_matched"] >= MAX_LIMIT
    file = tmp_path / "many.ndjson"
    done = system.ess("export", "service:many", "--since", "all", "--output", str(file))
    assert f"{count:,} events" in done.stderr
    messages = [json.loads(line)["message"] for line in file.read_bytes().splitlines()]
    assert messages == [f"number {n}" for n in range(count)], "all, once, newest first"
    file = tmp_path / "many.parquet"
    system.ess("export", "service:many", "--since", "all", "--order", "oldest", "--output", str(file))
    assert pq.read_table(file).column("message").to_pylist() == messages[::-1]


def test_clients_that_go_give_their_places_free(filled: System) -> None:
    where = asked(filled, "*")
    for _ in range(2 * AT_ONCE):

        def begun() -> bool:
            with filled.http.stream("GET", where) as answer:
                return answer.status_code == 200

        wait_until(begun, "a client that went still has its place")


def test_an_object_that_is_gone_breaks_the_export_off(system: System) -> None:
    old_us = time.time_ns() // 1_000 - 30 * 24 * 3_600 * 1_000_000
    system.push([{"timestamp": old_us, "message": "old", "service": "broken"}])
    system.push([{"message": "new " + "x" * 1_000, "service": "broken"} for _ in range(1_000)])
    system.ess("flush")
    (file,) = (system.data_dir / "events").glob(f"tenant=default/date=*/hour=*/{old_us}-*.parquet")
    away = file.with_suffix(".away")
    file.rename(away)
    try:
        with system.http.stream("GET", asked(system, "service:broken")) as answer:
            assert answer.status_code == 200
            with pytest.raises(httpx.RemoteProtocolError):
                answer.read()
        done = system.ess("export", "service:broken", "--since", "all", ok=(1,))
        assert "broke its answer off" in done.stderr
    finally:
        away.rename(file)
    assert len(exported(system, "service:broken", "ndjson").content.splitlines()) == 1_001
