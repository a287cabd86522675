"""Grafana's and logcli's questions to a running system, on the port and the paths that they know."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any
from urllib.parse import urlencode

import pytest
import websockets

from tests.loki_clients import run_logcli
from tests.systems import DEADLINE_S, System

LINES = 40
SELECTOR = '{service_name="grafana-shop"}'


@pytest.fixture(scope="module")
def began_s(system: System) -> float:
    """Push by Loki's push: the first half is stored, the rest in flight. Gives a time before all of them."""
    now_s = int(time.time()) - 60
    for half in range(2):
        values = [
            [f"{(now_s + at) * 10**9}", f'{{"n": {at}, "took": "{at}ms"}}', {"order_id": f"o{at}"}]
            for at in range(half * LINES // 2, (half + 1) * LINES // 2)
        ]
        labels = {"service_name": "grafana-shop", "level": "error" if half else "info"}
        body = {"streams": [{"stream": labels, "values": values}]}
        answer = system.http.post("/loki/api/v1/push", json=body)
        assert answer.status_code == 204, answer.text
        if half == 0:
            system.ess("flush")
    return float(now_s - 1)


def ask(system: System, path: str, began_s: float, **parameters: Any) -> Any:
    times = {"start": int(began_s) * 10**9, "end": int(began_s + 120) * 10**9}
    answer = system.http.get(f"/loki/api/v1/{path}", params={**times, **parameters})
    assert answer.status_code == 200, answer.text
    told = answer.json()
    assert "warnings" not in told
    return told


def lines_of(told: Any) -> list[tuple[int, str]]:
    return [(int(value[0]), value[1]) for stream in told["data"]["result"] for value in stream["values"]]


def test_lines_stored_and_in_flight(system: System, began_s: float) -> None:
    found = lines_of(ask(system, "query_range", began_s, query=SELECTOR, direction="forward", limit=1000))
    assert sorted(json.loads(line)["n"] for _, line in found) == list(range(LINES))
    assert all(ns % 1_000 == 0 for ns, _ in found)
    newest = lines_of(ask(system, "query_range", began_s, query=SELECTOR + ' | json | n >= 30 |= "took"', limit=3))
    assert sorted(json.loads(line)["n"] for _, line in newest) == [37, 38, 39]


def test_explores_histogram(system: System, began_s: float) -> None:
    query = f"sum by (level, detected_level) (count_over_time({SELECTOR}[10s]))"
    told = ask(system, "query_range", began_s, query=query, step="10s")
    sums = {
        one["metric"]["detected_level"]: sum(int(value) for _, value in one["values"]) for one in told["data"]["result"]
    }
    assert sums == {"info": LINES // 2, "error": LINES // 2}


def test_numbers_of_parsed_lines(system: System, began_s: float) -> None:
    query = f"max_over_time({SELECTOR} | json | unwrap duration(took) [5m]) by (service_name)"
    told = ask(system, "query", began_s, query=query, time=int(began_s + 120))
    (one,) = told["data"]["result"]
    assert (one["metric"], one["value"][1]) == ({"service_name": "grafana-shop"}, "0.039")


def test_patterns_find_their_lines(system: System, began_s: float) -> None:
    found = ask(system, "patterns", began_s, query=SELECTOR)["data"]
    assert sum(count for one in found for _, count in one["samples"]) == LINES
    (most, *_) = found
    lines = lines_of(ask(system, "query_range", began_s, query=f"{SELECTOR} |> `{most['pattern']}`", limit=1000))
    assert len(lines) == sum(count for _, count in most["samples"])


def test_labels_and_saving_a_data_source(system: System, began_s: float) -> None:
    assert {"service_name", "level", "detected_level"} <= set(ask(system, "labels", began_s)["data"])
    assert "grafana-shop" in ask(system, "label/service_name/values", began_s)["data"]
    told = system.http.get("/loki/api/v1/query", params={"query": "vector(1)+vector(1)", "time": 4_000_000_000})
    assert told.json()["data"]["result"] == [{"metric": {}, "value": [4_000_000_000, "2"]}]
    refused = system.http.get("/loki/api/v1/query_range", params={"query": '{a="b"} | nonsense'})
    assert refused.status_code == 400
    assert refused.headers["content-type"].startswith("text/plain")
    assert system.http.get("/loki/nothing").status_code == 404


def test_a_tail_by_websocket(system: System, began_s: float) -> None:
    async def watch() -> list[str]:
        asked = urlencode({"query": '{service_name="grafana-tail"}', "limit": 5})
        address = f"ws://127.0.0.1:{system.port}/loki/api/v1/tail?{asked}"
        async with asyncio.timeout(DEADLINE_S), websockets.connect(address) as socket:
            await socket.recv()  # what was there before: nothing
            await asyncio.to_thread(
                system.push, [{"message": f"line {n}", "service": "grafana-tail"} for n in range(3)]
            )
            found: list[str] = []
            while len(found) < 3:
                told = json.loads(await socket.recv())
                assert told["dropped_entries"] is None
                found += [value[1] for stream in told["streams"] for value in stream["values"]]
            return found

    assert asyncio.run(watch()) == ["line 0", "line 1", "line 2"]


def test_logcli_as_it_is(system: System, began_s: float) -> None:
    times = ("--from", _rfc3339(began_s), "--to", _rfc3339(began_s + 120))
    assert "service_name" in run_logcli(system.url, "labels", *times).split()
    found = run_logcli(system.url, "query", SELECTOR, *times, "--limit=0", "--batch=7", "--output=raw", "--forward")
    assert [json.loads(line)["n"] for line in found.splitlines()] == list(range(LINES))
    counted = run_logcli(system.url, "instant-query", f"sum(count_over_time({SELECTOR}[5m]))", f"--now={times[3]}")
    assert json.loads(counted)[0]["value"][1] == str(LINES)


def _rfc3339(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))
