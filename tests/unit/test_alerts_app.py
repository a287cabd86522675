"""Alerts over HTTP, over real parts in memory: rules, what they come to over real rows, silences, keys."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from deployments.access import Access
from deployments.alerts import AlertsApi, route_alerts
from ess_ray.alerts.asking import Asker
from ess_ray.alerts.book import AlertBook
from ess_ray.alerts.running import Alerting
from ess_ray.core.errors import Unavailable
from ess_ray.keys import KeyBook
from ess_ray.limits import SearchLimits
from ess_ray.testing import HeardReceiver, MemoryObjectStore
from tests.alerting import MINUTE_US, rule
from tests.unit.test_search_app import Rig
from tests.worlds import World

RULES = "/v1/alerts/rules"
SILENCES = "/v1/alerts/silences"


class Alerted(Rig):
    """A search application with alerts, and the loop that evaluates them."""

    def __init__(self, world: World, writer: Any) -> None:
        super().__init__(world, writer, SearchLimits())
        store = MemoryObjectStore(lambda: world.now_us)
        self.book, self.keys = AlertBook(store), KeyBook(MemoryObjectStore(lambda: world.now_us))
        self.pager = HeardReceiver()
        self.woken, self.away = 0, False
        asker = Asker(self.searcher, self.results)
        self.loop = Alerting(self.book, asker, [self.pager], lambda: world.now_us)
        access = Access(self.keys)
        route_alerts(self.app, AlertsApi(self.book, asker, access, ["pager"], self._wake, now_us=lambda: world.now_us))

    async def _wake(self) -> None:
        self.woken += 1
        self.loop.look()
        if self.away:
            raise Unavailable("the supervisor is away")

    async def step(self, minutes: int = 1) -> None:
        self.world.now_us += minutes * MINUTE_US
        await self.loop.step()
        await self.loop.tell("pager")

    async def alerts(self) -> dict[str, Any]:
        found: dict[str, Any] = (await self.http.get("/v1/alerts")).json()
        return found


@pytest.fixture
async def rig() -> Alerted:
    world = World()
    writer = world.writer()
    await writer.assign(range(3))
    return Alerted(world, writer)


async def test_late_events_in_flight_and_stored_are_counted_by_when_they_arrived(rig: Alerted) -> None:
    group = {"interval": "1m", "rules": [rule(expr="late", condition="count() >= 3", window="5m")]}
    made = await rig.http.put(f"{RULES}/g", json=group)
    assert (made.status_code, made.json()) == (200, {"name": "g", "created": True, "rules": 1})
    assert rig.woken == 1
    await rig.push("late 1", "late 2", hour=-50)
    await rig.writer.flush()
    await rig.push("late 3", "other", hour=-20)
    await rig.step()
    found = await rig.alerts()
    (alert,) = found["alerts"]
    assert (alert["state"], alert["value"], alert["labels"]) == ("firing", 3.0, {"alertname": "High"})
    assert alert["told"] == {"pager": "firing"}
    (evaluated,) = found["groups"][0]["rules"]
    last = evaluated["last_evaluation"]
    assert (last["complete"], last["rows"], last["events"]) == (True, 1, 3)
    assert last["arrived_until"] > last["arrived_from"]
    await rig.step(minutes=9)
    assert rig.pager.told == [("High", "firing"), ("High", "resolved")]
    assert [one["state"] for one in (await rig.alerts())["alerts"]] == ["resolved"]
    await rig.step(minutes=61)
    assert (await rig.alerts())["alerts"] == []


async def test_rates_are_of_the_window(rig: Alerted) -> None:
    await rig.push("a", "b", "c")
    rig.world.now_us += 1
    body = {"rules": [rule(expr="* | stats rate()", condition="rate() >= 0.05", window="1m")]}
    (told,) = (await rig.http.post("/v1/alerts/test", json=body)).json()["rules"]
    assert [(one["value"], one["met"]) for one in told["rows"]] == [(0.05, True)]


async def test_patterns_that_are_frequent_or_new_are_alerts_with_the_rows_that_they_are_of(rig: Alerted) -> None:
    rules = [
        rule(alert="Often", expr="user | patterns", condition="count >= 3", window="1h"),
        rule(alert="New", expr="* | patterns", condition="age_s < 600", window="1h"),
    ]
    await rig.http.put(f"{RULES}/g", json={"interval": "1m", "rules": rules})
    await rig.push(*(f"user {number} came" for number in range(4)), "user <num> left", hour=-1)
    await rig.step()
    await rig.writer.flush()
    await rig.step(minutes=2)
    await rig.push("disk /dev/sda failed", "user 7 came")
    await rig.step()
    found = (await rig.alerts())["alerts"]
    often = next(one for one in found if one["labels"]["alertname"] == "Often")
    assert (often["labels"]["pattern"], often["value"], often["state"]) == ("user <num> came", 5, "firing")
    assert sorted(await rig.messages(often["query"])) == [
        *(f"user {number} came" for number in range(4)),
        "user 7 came",
    ]
    new = [one for one in found if one["labels"]["alertname"] == "New"]
    assert [(one["labels"]["pattern"], one["state"]) for one in new] == [("disk /dev/sda failed", "firing")]


async def test_what_is_not_searchable_makes_an_answer_incomplete_and_changes_nothing(rig: Alerted) -> None:
    await rig.http.put(f"{RULES}/g", json={"interval": "1m", "rules": [rule(expr="", missing_data="alert")]})
    await rig.push("a")
    await rig.step()
    assert rig.pager.told == [("High", "firing")]
    rig.in_flight.views = _no_views  # type: ignore[method-assign, assignment]
    await rig.step(minutes=9)
    assert rig.pager.told == [("High", "firing")]
    (evaluated,) = (await rig.alerts())["groups"][0]["rules"]
    assert evaluated["last_evaluation"]["complete"] is False
    assert "virtual node" in evaluated["last_evaluation"]["incomplete"][0]


async def _no_views(*_: Any, **__: Any) -> list[Any]:
    return []


async def test_a_group_is_given_back_replaced_and_deleted(rig: Alerted) -> None:
    group = {"interval": "30s", "rules": [rule(for_="2m", labels={"severity": "page", "n": 12345678901234567890123})]}
    await rig.http.put(f"{RULES}/a%20b", json=group)
    given = (await rig.http.get(f"{RULES}/a%20b")).json()
    assert given["name"] == "a b"
    assert given["rules"][0]["for"] == "2m"
    assert given["rules"][0]["labels"] == {"severity": "page", "n": "12345678901234567890123"}
    assert (await rig.http.put(f"{RULES}/a%20b", json=given)).json()["created"] is False
    assert (await rig.http.get(RULES)).json() == {"groups": [given]}
    rig.away = True
    assert (await rig.http.delete(f"{RULES}/a%20b")).status_code == 200, "it is heeded a little later"
    assert (await rig.http.delete(f"{RULES}/a%20b")).status_code == 404


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"rules": []}, "rules"),
        ({"rules": [{"alert": "A"}]}, "expr"),
        ({"rules": [rule(expr="level:")]}, "rule 1 (High)"),
        ({"rules": [rule(condition="n > 1")]}, "no column"),
        ({"rules": [rule()], "receivers": ["nobody"]}, "there are pager"),
        ({"rules": [rule()], "name": "other"}, "other"),
        ({"rules": [rule(keep_firing_for="1m")]}, "keep_firing_for"),
    ],
)
async def test_what_is_wrong_is_said_and_nothing_is_kept(rig: Alerted, body: dict[str, Any], says: str) -> None:
    for answer in (
        await rig.http.put(f"{RULES}/g", json=body),
        await rig.http.post("/v1/alerts/check", json={**body, "name": "g"} if "name" not in body else body),
    ):
        if answer.request.method == "PUT" or "name" not in body:
            assert answer.status_code == 400
            assert says in answer.text
    assert (await rig.http.get(RULES)).json() == {"groups": []}


async def test_silences(rig: Alerted) -> None:
    body = {"matchers": 'alertname="High"', "for": "2h", "comment": "known", "created_by": "me"}
    made = await rig.http.post(SILENCES, json=body)
    assert made.status_code == 201
    told = made.json()
    assert (told["active"], told["text"], told["comment"]) == (True, 'alertname="High"', "known")
    listed = [{"name": "a", "value": "b.*", "sign": "=~"}, {"name": "c", "value": "d"}]
    other = (await rig.http.post(SILENCES, json={"matchers": listed, "for": "1d"})).json()
    assert other["text"] == 'a=~"b.*", c="d"'
    assert len((await rig.http.get(SILENCES)).json()["silences"]) == 2
    rig.world.now_us += MINUTE_US
    assert (await rig.http.delete(f"{SILENCES}/{told['id']}")).json()["active"] is False
    assert (await rig.http.delete(f"{SILENCES}/nothing")).status_code == 404
    for wrong in ({"matchers": "", "for": "1h"}, {"matchers": "a=b", "for": "soon"}, {"matchers": "a=b"}):
        assert (await rig.http.post(SILENCES, json=wrong)).status_code == 400


async def test_rules_want_an_admin_and_tenants_see_their_own(rig: Alerted) -> None:
    def header(tenant: str, *scopes: Any) -> dict[str, str]:
        return {"Authorization": f"Bearer {rig.keys.create(tenant, scopes)[1]}"}

    searching, admin, other = header("one", "search"), header("one", "admin"), header("two", "search", "admin")

    async def asked(method: str, path: str, headers: dict[str, str], **more: Any) -> httpx.Response:
        return await rig.http.request(method, path, headers=headers, **more)

    group = {"rules": [rule()]}
    assert (await asked("PUT", f"{RULES}/g", searching, json=group)).status_code == 403
    assert (await asked("PUT", f"{RULES}/g", admin, json=group)).status_code == 200
    assert (await asked("GET", f"{RULES}/g", searching)).status_code == 403
    assert (await asked("GET", f"{RULES}/g", other)).status_code == 404
    assert len((await asked("GET", "/v1/alerts", searching)).json()["groups"]) == 1
    assert (await asked("GET", "/v1/alerts", other)).json()["groups"] == []
    assert (await rig.http.get("/v1/alerts")).status_code == 401
