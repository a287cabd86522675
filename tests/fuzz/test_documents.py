"""Both OpenAPI documents of a running system with keys: whoever asks whatever, no failure, and nothing of another's.

Requests are made up anew each time; Hypothesis prints how to make a failing one again.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import httpx
import pytest
import schemathesis
from hypothesis import Verbosity, settings

from tests.documents import CHECKS, ENDLESS, Check, probe, schema_at
from tests.systems import System, running, wait_until

CHOSEN: Final = settings(max_examples=6, deadline=None, database=None, print_blob=True, verbosity=Verbosity.normal)
"""Requests for each route, of each kind, by each caller, and for what is each tenant's: minutes in all."""
OPEN: Final = frozenset({"/push/healthz", "/search/healthz"})
"""What anybody may ask."""
RESIZE: Final = "/v1/pool$"
"""Each request of somebody who may would start and end actors."""
TENANTS: Final = ("red", "blue")


@dataclass(frozen=True)
class Caller:
    """Somebody with or without a key."""

    headers: Mapping[str, str]
    tenant: str | None
    scopes: tuple[str, ...]


@dataclass(frozen=True)
class Guarded:
    """A running system with keys, and one event and one search of each tenant."""

    system: System
    callers: Mapping[str, Caller]
    secrets: Mapping[str, str]
    query_ids: Mapping[str, str]


CALLERS: Final[Mapping[str, tuple[str | None, tuple[str, ...]]]] = {
    "red": ("red", ("push", "search", "admin")),
    "blue": ("blue", ("push", "search", "admin")),
    "red's pusher": ("red", ("push",)),
    "red's searcher": ("red", ("search",)),
    "an administrator": ("red", ("admin",)),
    "nobody": (None, ()),
    "a stranger": (None, ()),
    "a key of before": ("red", ()),
}
"""By name: the tenant, and the scopes that their key still has."""


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    with running(tmp_path_factory.mktemp("ess") / "data") as system:
        callers = {name: _caller(system, name, *who) for name, who in CALLERS.items()}
        secrets = {tenant: f"only{tenant}may4c1fsee" for tenant in TENANTS}
        queries = {}
        for tenant, secret in secrets.items():
            with httpx.Client(base_url=system.url, headers=dict(callers[tenant].headers), timeout=30) as http:
                event = {"message": secret, "service": secret, secret: secret}
                wait_until(lambda: http.post("/push/v1/events", json=event).status_code == 202, "no key opens")  # noqa: B023
                queries[tenant] = http.post("/search/v1/queries", json={"start": 0}).json()["id"]
        before = callers["a key of before"]
        wait_until(
            lambda: httpx.get(f"{system.url}/search/v1/status", headers=dict(before.headers)).status_code == 401,
            "a revoked key opens",
        )
        yield Guarded(system, callers, secrets, queries)


def _caller(system: System, name: str, tenant: str | None, scopes: tuple[str, ...]) -> Caller:
    if name == "nobody":
        return Caller({}, None, ())
    if name == "a stranger":
        return Caller({"Authorization": f"Bearer ess_{'0' * 12}_{'0' * 64}"}, None, ())
    wanted = [part for scope in scopes or ("push", "search", "admin") for part in ("--scope", scope)]
    made = json.loads(system.ess("keys", "create", "--json", "--tenant", str(tenant), *wanted).stdout)
    if not scopes:
        system.ess("keys", "revoke", made["id"])
    return Caller({"Authorization": f"Bearer {made['key']}"}, tenant, scopes)


def checks_for(guarded: Guarded, caller: Caller, prefix: str) -> list[Check]:
    """What every answer must be, whoever asked for it."""

    def nothing_of_another_tenant(_: Any, response: Any, case: schemathesis.Case) -> None:
        for tenant, secret in guarded.secrets.items():
            asked = secret in json.dumps(case.as_transport_kwargs(), default=str)
            assert tenant == caller.tenant or asked or secret.encode() not in response.content, f"{tenant}'s is told"

    def only_what_the_key_is_for(_: Any, response: Any, case: schemathesis.Case) -> None:
        scope = scope_of(prefix, case)
        if scope is not None and scope not in caller.scopes:
            # 405, 413, 415 and 400 tell of the request alone, and come before anybody has looked at the key.
            refused = {401 if not caller.scopes else 403, 400, 405, 413, 415}
            assert response.status_code in refused, f"{scope} is open to {caller.scopes}"

    return [*CHECKS, nothing_of_another_tenant, only_what_the_key_is_for]


def scope_of(prefix: str, case: schemathesis.Case) -> str | None:
    """Give the scope that a route needs; None where it needs none."""
    path = prefix + case.operation.path
    if path in OPEN:
        return None
    if prefix == "/push":
        return "push"
    admin = ("/v1/flush", "/v1/compact", "/v1/status", "/v1/pool")
    return "admin" if case.operation.path in admin else "search"


@pytest.mark.parametrize("prefix", ["/push", "/search"])
@pytest.mark.parametrize("name", CALLERS)
def test_whoever_asks_whatever(guarded: Guarded, name: str, prefix: str) -> None:
    caller = guarded.callers[name]
    schema = schema_at(guarded.system.url + prefix).exclude(path_regex=ENDLESS)
    if "admin" in caller.scopes:
        schema = schema.exclude(path_regex=RESIZE)
    for tenant in TENANTS:  # their own searches, and the other's
        routes = probe(
            schema,
            CHOSEN,
            caller.headers,
            checks_for(guarded, caller, prefix),
            query_id=guarded.query_ids[tenant],
            name=guarded.secrets[tenant],
        )
    assert routes
    assert guarded.system.http.get(f"{prefix}/healthz").status_code == 200
