"""Walls between tenants, tried from outside: from the first key on, a key is needed and opens its own tenant only."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import ExitStack

import httpx

from tests.systems import System, wait_until


def test_a_key_is_needed_and_opens_its_own_tenant_only(new_system: Callable[[], System]) -> None:
    system = new_system()
    system.push([{"message": "before there were keys"}])
    keys = {
        name: made(system, "--tenant", tenant, *(part for scope in scopes for part in ("--scope", scope)))
        for name, tenant, scopes in (
            ("red", "red", ("push", "search")),
            ("blue", "blue", ("push", "search")),
            ("push only", "red", ("push",)),
            ("admin", "default", ("admin", "search")),
        )
    }
    wait_until(lambda: system.http.post("/push/v1/events", json=[]).status_code == 401, "still open")
    assert system.http.get("/search/v1/status").status_code == 401
    assert system.http.get("/search/healthz").status_code == 200
    clients = {name: client(system, key["key"]) for name, key in keys.items()}
    for flushed in (False, True):
        for name in ("red", "blue"):
            event = [{"message": f"{name} secret {flushed}", "id": "the same id"[: 8 + flushed]}]
            answer = clients[name].post("/push/v1/events", json=event, headers={"Idempotency-Key": f"k{flushed}"})
            assert answer.status_code == 202, answer.text
        if flushed:
            assert clients["admin"].post("/search/v1/flush").status_code == 200
        for name in ("red", "blue"):
            found = searched(clients[name], "secret")
            assert {message.split()[0] for message in found} == {name}
            assert len(found) == 1 + flushed
            assert searched(clients[name], "*") == found
    assert searched(clients["admin"], "*") == ["before there were keys"]
    made_by_red = clients["red"].post("/search/v1/queries", json={"query": "secret", "start": 0}).json()["id"]
    for path in ("", "/stream", "?cursor=r0", "/export"):
        assert clients["red"].get(f"/search/v1/queries/{made_by_red}{path}").status_code == 200
        assert clients["blue"].get(f"/search/v1/queries/{made_by_red}{path}").status_code == 404
    assert "blue" not in clients["red"].get(f"/search/v1/queries/{made_by_red}/export").text
    plans = {name: clients[name].post("/search/v1/explain", json={"start": 0}).json() for name in ("red", "admin")}
    assert plans["red"]["objects_total"] >= 1
    assert plans["admin"]["objects_total"] >= 1
    assert clients["push only"].post("/search/v1/explain", json={}).status_code == 403
    assert clients["blue"].delete(f"/search/v1/queries/{made_by_red}").status_code == 404
    assert clients["push only"].post("/search/v1/queries", json={"query": "*"}).status_code == 403
    assert clients["red"].post("/search/v1/flush").status_code == 403
    assert clients["red"].get("/search/v1/status").status_code == 403
    system.ess("keys", "revoke", keys["red"]["id"])
    wait_until(lambda: clients["red"].post("/push/v1/events", json=[]).status_code == 401, "a revoked key still works")
    assert len(searched(clients["blue"], "secret")) == 2
    one_tenant_leaves_an_export_to_the_others(clients["blue"], clients["admin"])
    for one in clients.values():
        one.close()


def one_tenant_leaves_an_export_to_the_others(greedy: httpx.Client, other: httpx.Client) -> None:
    """Exports that nobody reads stay under way: 20 MB are more than the connections' buffers hold."""
    for _ in range(2):
        events = [{"message": f"much {number} " + "x" * 950} for number in range(10_000)]
        assert greedy.post("/push/v1/events", json=events).status_code == 202
    body = {"query": "*", "start": 0, "limit": 1}
    exports = {
        one: f"/search/v1/queries/{one.post('/search/v1/queries', json=body).json()['id']}/export"
        for one in (greedy, other)
    }
    with ExitStack() as held:
        for _ in range(3):
            assert held.enter_context(greedy.stream("GET", exports[greedy])).status_code == 200
        refused = greedy.get(exports[greedy])
        assert refused.status_code == 429
        assert refused.headers["retry-after"]
        assert "kept for other tenants" in refused.json()["detail"]
        assert other.get(exports[other]).text.count("\n") == 1


def made(system: System, *arguments: str) -> dict[str, str]:
    key: dict[str, str] = json.loads(system.ess("keys", "create", "--json", *arguments).stdout)
    return key


def client(system: System, key: str) -> httpx.Client:
    return httpx.Client(base_url=system.url, timeout=30, headers={"Authorization": f"Bearer {key}"})


def searched(http: httpx.Client, query: str) -> list[str]:
    query_id = http.post("/search/v1/queries", json={"query": query, "start": 0}).json()["id"]

    def page() -> dict[str, object] | None:
        found = http.get(f"/search/v1/queries/{query_id}").json()
        return found if found["state"] != "running" else None

    done = wait_until(page, "the search does not end")
    assert done["complete"], done
    return sorted(event["message"] for event in done["events"])
