"""What a running system tells of itself: metrics as Prometheus reads them, its log, its status."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from typing import Any

import httpx

from tests.systems import System, wait_until

_LINE = re.compile(r"(ray_ess_\w+)\{(.*)\} (\S+)")


def listed(system: System, what: str) -> list[dict[str, Any]]:
    """What Ray's dashboard lists, asked for as its page does."""
    token = system.run_dirs().token.read_text()
    url = f"{system.run_file()['dashboard_url']}/api/v0/{what}"
    answer = httpx.get(
        url, params={"detail": 1, "limit": 1000}, headers={"Authorization": f"Bearer {token}"}, trust_env=False
    )
    found: list[dict[str, Any]] = answer.json()["data"]["result"]["result"]
    return found


def scraped(system: System) -> dict[str, float]:
    """Sum each metric over processes and labels, at the ports that the status names."""
    sums: dict[str, float] = defaultdict(float)
    for node in system.http.get("/search/v1/status").json()["nodes"]:
        for name, _, value in _LINE.findall(httpx.get(f"http://{node['metrics']}/metrics", trust_env=False).text):
            sums[name] += float(value)
    return sums


def test_status_names_the_dashboard(system: System) -> None:
    assert system.http.get("/search/v1/status").json()["dashboard"] == system.run_file()["dashboard_url"]


def test_figures_of_every_stage_are_right(system: System) -> None:
    system.push([{"message": f"counted {n}", "id": f"i-{n}"} for n in range(10)])
    system.push([{"message": f"counted {n}", "id": f"i-{n}"} for n in range(10)])
    mixed = system.http.post("/push/v1/events", json=[{"message": "counted"}, 7, None])
    assert mixed.json()["accepted"] == 1
    assert system.http.post("/push/v1/events", content=b"{").status_code == 400
    system.ess("flush")
    assert len(system.search("counted")) == 11
    system.ess("compact")
    expected = {
        "ray_ess_push_requests_total": 4,
        "ray_ess_push_request_seconds_count": 4,
        "ray_ess_push_events_accepted_total": 21,
        "ray_ess_push_events_rejected_total": 2,
        "ray_ess_ingest_events_total": 11,
        "ray_ess_ingest_repeats_total": 10,
        "ray_ess_ingest_rows_total": 11,
        "ray_ess_ingest_unstored_records": 0,
        "ray_ess_search_seconds_count": 1,
        "ray_ess_search_rows_matched_total": 11,
    }
    found = wait_until(
        lambda: (
            (now := scraped(system))["ray_ess_maintenance_runs_total"]
            and all(now.get(name) == value for name, value in expected.items())
            and now
        ),
        "the figures did not come to what was done",
    )
    assert found["ray_ess_search_gets_total"] >= 1
    assert found["ray_ess_ingest_objects_total"] >= 1
    assert found["ray_ess_ingest_commit_seconds_count"] >= 1
    assert found["ray_ess_search_footer_misses_total"] >= 1


def test_workers_log_into_the_systems_log_with_their_context(system: System) -> None:
    system.push([{"message": "logged"}])
    system.ess("flush")
    query = system.http.post("/search/v1/queries", json={"query": "logged"}).json()["id"]

    def lines() -> list[dict[str, object]]:
        text = (system.data_dir / "system.log").read_text().splitlines()
        return [json.loads(line) for line in text if line.startswith("{")]

    (ended,) = wait_until(lambda: [one for one in lines() if one.get("query_id") == query], "the search left no line")
    assert (ended["tenant"], ended["state"], ended["service"]) == ("default", "done", "ess_ray.search.run")
    assert any(one.get("actor") and one.get("objects") for one in lines()), "the flush left no line"


def test_the_status_is_readable_and_complete(system: System) -> None:
    told = json.loads(system.ess("status", "--json").stdout)
    assert told["healthy"]
    assert told["log"]["kind"] == "sqlite"
    assert {node["alive"] for node in told["nodes"]} == {True}
    assert told["replicas"]["search"] == {"RUNNING": 1}
    assert all(actor["host"] for actor in told["pool"]["actors"].values())
    text = system.ess("status").stdout
    assert "2 of 2 actors work" in text
    assert "/metrics" in text
    assert told["pool"]["events_per_s"] >= 0.0
    assert max(map(len, text.splitlines())) <= 80


def test_the_dashboard_reads_like_the_design(system: System) -> None:
    system.push([{"message": "named"}])
    system.ess("flush")
    query = system.http.post("/search/v1/queries", json={"query": "named"}).json()["id"]
    actors = {actor["name"]: actor for actor in listed(system, "actors")}
    assert {"log", "supervisor"} <= actors.keys()
    owned = set()
    for name, actor in actors.items():
        if name.startswith("persist-"):
            assert actor["repr_name"].startswith(f"{name.partition('.')[0]} for virtual nodes "), actor["repr_name"]
            owned |= set(re.findall(r"\d+", actor["repr_name"].partition("nodes")[2]))
    assert owned == {str(vnode) for vnode in range(8)}
    wait_until(
        lambda: any(task["name"].startswith(f"scan for {query}: ") for task in listed(system, "tasks")),
        "no scan task bears its query's id",
    )
