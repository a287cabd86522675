"""The door: no key no walls, one key and everybody needs one; scopes, tenants, and a book that cannot be read."""

from __future__ import annotations

import asyncio
import base64
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, Request

from deployments.access import Access
from deployments.main import check_listener
from deployments.problem import install_problem_handlers
from deployments.whose import route_whose
from ess_ray.core.errors import BadRequest, Unavailable
from ess_ray.intake.door import MAX_AGE_S, READS_KEYS, REFRESH_S, REREAD_S
from ess_ray.keys import KeyBook
from ess_ray.testing import MemoryObjectStore


class Store(MemoryObjectStore):
    """A store that can be away."""

    away = False

    def list(self, prefix: str) -> Any:
        if self.away:
            raise Unavailable("the store is away")
        return super().list(prefix)


class Rig:
    """An application with a door for each scope, and time that passes when told."""

    def __init__(self, *, in_addresses: bool = False) -> None:
        self.store = Store(lambda: 1_790_000_000_000_000)
        self.book = KeyBook(self.store)
        self.now_s = 1000.0
        self.access = Access(self.book, lambda: self.now_s, in_addresses=in_addresses)
        app = FastAPI()
        install_problem_handlers(app)
        for scope in ("push", "search", "admin"):
            app.get(f"/{scope}")(self._endpoint(scope))
        route_whose(app, self.access.holder)
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        self.http = httpx.AsyncClient(transport=transport, base_url="http://door")

    def _endpoint(self, scope: Any) -> Any:
        tenant_of = self.access.tenant_for(scope)

        async def endpoint(request: Request) -> str:
            return await tenant_of(request)

        return endpoint

    async def get(self, scope: str, key: str | None = None) -> tuple[int, Any]:
        headers = {} if key is None else {"Authorization": f"Bearer {key}"}
        answer = await self.http.get(f"/{scope}", headers=headers)
        if answer.status_code == 401:
            assert answer.headers["WWW-Authenticate"] == "Bearer"
        return answer.status_code, answer.json() if answer.status_code == 200 else answer.json()["type"]

    async def reread(self) -> None:
        """Let the book become old, have it read again, and wait for that."""
        self.now_s += REFRESH_S
        await self.http.get("/push")
        if reading := [task for task in asyncio.all_tasks() if task.get_name() == READS_KEYS]:
            await asyncio.wait(reading)


@pytest.fixture
def rig() -> Rig:
    return Rig()


async def test_without_keys_everybody_is_the_default_tenant(rig: Rig) -> None:
    for scope in ("push", "search", "admin"):
        assert await rig.get(scope) == (200, "default")
        assert await rig.get(scope, "whatever") == (200, "default")


async def test_with_a_key_everybody_needs_one_for_its_tenant_and_scopes(rig: Rig) -> None:
    _, acme = rig.book.create("acme", ["push", "search"])
    _, other = rig.book.create("other", ["search"])
    assert await rig.get("push") == (401, "urn:ess-ray:unauthenticated")
    assert await rig.get("push", acme[:-1]) == (401, "urn:ess-ray:unauthenticated")
    assert await rig.get("push", acme) == (200, "acme")
    assert await rig.get("search", acme) == (200, "acme")
    assert await rig.get("search", other) == (200, "other")
    assert await rig.get("push", other) == (403, "urn:ess-ray:forbidden")
    assert await rig.get("admin", acme) == (403, "urn:ess-ray:forbidden")


async def test_a_new_key_opens_and_a_revoked_one_closes_once_the_book_is_read_again(rig: Rig) -> None:
    first, text = rig.book.create("acme", ["push"])
    assert (await rig.get("push", text))[0] == 200
    _, second = rig.book.create("acme", ["push"])
    rig.book.revoke(first.id)
    assert (await rig.get("push", text))[0] == 200, "the book is read again only after a while"
    assert (await rig.get("push", f"ess_{'0' * 12}_{'0' * 64}"))[0] == 401
    assert (await rig.get("push", second))[0] == 401, "it is read again for unknown keys, but not all the time"
    await rig.reread()
    assert (await rig.get("push", text))[0] == 401
    assert (await rig.get("push", second))[0] == 200


async def test_the_first_key_counts_at_once_for_whoever_sends_it(rig: Rig) -> None:
    assert await rig.get("push") == (200, "default")
    _, text = rig.book.create("acme", ["push"])
    rig.now_s += REREAD_S
    assert await rig.get("push", text) == (200, "acme")


async def test_a_damaged_key_shuts_nobody_else_out_and_opens_nothing(rig: Rig) -> None:
    _, acme = rig.book.create("acme", ["push"])
    damaged, lost = rig.book.create("other", ["push"])
    rig.store.put(f"{damaged.id}.json", b"{")
    assert await rig.get("push", acme) == (200, "acme")
    assert (await rig.get("push", lost))[0] == 401
    assert (await rig.get("push"))[0] == 401
    for info in rig.store.list(""):
        rig.store.put(info.key, b"")
    await rig.reread()
    assert (await rig.get("push"))[0] == 401, "all are damaged: closed all the same"


async def test_revoking_the_last_key_opens_nothing(rig: Rig) -> None:
    key, _ = rig.book.create("acme", ["push"])
    rig.book.revoke(key.id)
    assert (await rig.get("push"))[0] == 401


async def test_a_book_that_cannot_be_read_counts_for_a_while_and_then_nobody_is_let_in(rig: Rig) -> None:
    _, text = rig.book.create("acme", ["push"])
    assert (await rig.get("push", text))[0] == 200
    rig.store.away = True
    await rig.reread()
    assert (await rig.get("push", text))[0] == 200
    rig.now_s += MAX_AGE_S
    assert await rig.get("push", text) == (503, "urn:ess-ray:unavailable")
    rig.store.away = False
    assert (await rig.get("push", text))[0] == 200


async def test_a_book_that_was_never_read_lets_nobody_in(rig: Rig) -> None:
    rig.store.away = True
    assert (await rig.get("push"))[0] == 503


def test_an_address_that_others_reach_needs_a_key(rig: Rig) -> None:
    for host in ("127.0.0.1", "::1", "localhost", "127.8.8.8"):
        check_listener(host, rig.book)
    for host in ("0.0.0.0", "::", "192.0.2.7", "example.org"):
        with pytest.raises(BadRequest, match="ess keys create"):
            check_listener(host, rig.book)
    rig.book.create("acme", ["push"])
    check_listener("0.0.0.0", rig.book)


async def test_whose_a_key_is_is_told_whatever_it_may_do(rig: Rig) -> None:
    assert (await rig.http.get("/v1/key")).json() == {"tenant": "default", "key": None}
    key, text = rig.book.create("shop", ["push"], "the shop's agents")
    rig.now_s += REFRESH_S
    told = await rig.http.get("/v1/key", headers={"Authorization": f"Bearer {text}"})
    assert told.json() == {
        "tenant": "shop",
        "key": {"id": key.id, "name": "the shop's agents", "scopes": ["push"]},
    }
    assert (await rig.get("search", text))[0] == 403
    assert (await rig.http.get("/v1/key")).status_code == 401


# ------------------------------------------------------------------------------------------------------- the envelopes
def base64_of(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


HEADERS = {
    "bearer": lambda key: {"Authorization": f"bEARER  {key} "},
    "basic": lambda key: {"Authorization": f"Basic {base64_of('anything:' + key)}"},
    "basic, the key as the user": lambda key: {"Authorization": f"basic {base64_of(key + ':')}"},
    "basic without padding": lambda key: {"Authorization": f"Basic {base64_of('u:' + key).rstrip('=')}"},
    "apikey as written": lambda key: {"Authorization": f"ApiKey {key}"},
    "apikey of id and key": lambda key: {"Authorization": f"APIKEY {base64_of('id:' + key)}"},
    "splunk": lambda key: {"Authorization": f"Splunk {key}"},
    "datadog": lambda key: {"DD-API-KEY": key},
    "datadog beside what is no key": lambda key: {"Authorization": "Bearer x", "DD-API-KEY": key},
}


@pytest.mark.parametrize("envelope", HEADERS)
async def test_one_key_whichever_envelope(rig: Rig, envelope: str) -> None:
    _, key = rig.book.create("acme", ["push"])
    answer = await rig.http.get("/push", headers=HEADERS[envelope](key))
    assert (answer.status_code, answer.json()) == (200, "acme")
    wrong = key[:-1] + ("0" if key[-1] != "0" else "1")
    assert (await rig.http.get("/push", headers=HEADERS[envelope](wrong))).status_code == 401


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": "Basic !!!"},
        {"Authorization": "Basic " + "A" * 100_000},
        {"Authorization": "Basic"},
        {"Authorization": "Negotiate x"},
        {"Authorization": base64_of("\xff\xfe")},
        {"X-Scope-OrgID": "acme", "AccountID": "acme"},
    ],
)
async def test_what_is_no_key_opens_nothing(rig: Rig, headers: dict[str, str]) -> None:
    rig.book.create("acme", ["push"])
    assert (await rig.http.get("/push", headers=headers)).status_code == 401


async def test_authorization_comes_before_the_vendors_header(rig: Rig) -> None:
    (_, acme), (_, other) = (rig.book.create(tenant, ["push"]) for tenant in ("acme", "other"))
    answer = await rig.http.get("/push", headers={"Authorization": f"Splunk {acme}", "DD-API-KEY": other})
    assert answer.json() == "acme"


@pytest.mark.parametrize("name", ["dd-api-key", "token"])
async def test_a_key_in_an_address_counts_only_where_that_is_switched_on(rig: Rig, name: str) -> None:
    _, key = rig.book.create("acme", ["push"])
    assert (await rig.http.get("/push", params={name: key})).status_code == 401
    rig = Rig(in_addresses=True)
    _, key = rig.book.create("acme", ["push"])
    assert (await rig.http.get("/push", params={name: key})).json() == "acme"
