"""Alerts on one machine, as a user has them: rules from a file, a receiver that fails, kill -9, silences, keys."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.systems import System, running, wait_until
from tests.webhooks import Webhooks, alert_settings, failing_events, rules_file, story_of_an_alert, webhooks


@pytest.fixture(scope="module")
def hooks() -> Iterator[Webhooks]:
    with webhooks() as found:
        yield found


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory, hooks: Webhooks) -> Iterator[System]:
    with running(tmp_path_factory.mktemp("ess") / "data", **alert_settings(hooks)) as made:
        yield made


def test_late_events_a_receiver_that_fails_and_kill_9(system: System, hooks: Webhooks, tmp_path: Path) -> None:
    story_of_an_alert(system, hooks, tmp_path)


def test_rules_are_tried_before_they_are_kept(system: System, tmp_path: Path) -> None:
    file = rules_file(tmp_path, "only-tried", window="10m")
    system.ess("push", "-", stdin=failing_events("only-tried"))
    (group,) = json.loads(system.ess("alerts", "test", str(file), "--json").stdout)["groups"]
    (rule,) = group["rules"]
    assert (rule["complete"], rule["events"]) == (True, 3)
    met = {row["labels"]["service"]: row["met"] for row in rule["rows"]}
    assert met == {"api": True, "web": False}
    assert "Failing" in system.ess("alerts", "test", str(file)).stdout
    file.write_text(file.read_text().replace("n >= 2", "m >= 2"))
    refused = system.ess("alerts", "apply", str(file), ok=(2,))
    assert "group payments, rule 1 (Failing): there is no column" in refused.stderr
    assert system.http.get("/search/v1/alerts").json()["groups"] == []


def test_a_silence_keeps_it_from_being_told(system: System, hooks: Webhooks, tmp_path: Path) -> None:
    before = len(hooks.bodies)
    made = json.loads(system.ess("alerts", "silence", 'service=~"ap."', "--for", "1h", "--json").stdout)
    assert made["id"] in system.ess("alerts", "silences").stdout
    file = rules_file(tmp_path, "in-silence", window="10m")
    system.ess("push", "-", stdin=failing_events("in-silence"))
    system.ess("alerts", "apply", str(file))

    def shown() -> list[dict[str, object]]:
        found: list[dict[str, object]] = system.http.get("/search/v1/alerts").json()["alerts"]
        return [one for one in found if one["state"] == "firing"]

    wait_until(shown, "it does not fire")
    (alert,) = shown()
    assert alert["silenced_by"] == [made["id"]]
    assert len(hooks.bodies) == before
    system.ess("alerts", "unsilence", made["id"])
    wait_until(lambda: len(hooks.bodies) > before, "it was not told when the silence had ended")
    assert "firing" in system.ess("alerts", "list").stdout
    system.ess("alerts", "rm", "payments")


def test_another_tenant_sees_nothing_and_rules_want_an_admin(system: System, tmp_path: Path) -> None:
    """The last one: from the first key on, every request needs one."""
    keys = {}
    for tenant, scopes in (("default", ("search",)), ("default", ("admin",)), ("other", ("search", "admin"))):
        words = [word for scope in scopes for word in ("--scope", scope)]
        made = json.loads(system.ess("keys", "create", "--tenant", tenant, *words, "--json").stdout)
        keys[tenant, scopes[0]] = {"Authorization": f"Bearer {made['key']}"}
    searching, admin, other = keys["default", "search"], keys["default", "admin"], keys["other", "search"]
    group = {"rules": [{"alert": "A", "expr": "level:ERROR"}]}
    path = "/search/v1/alerts/rules/walls"
    wait_until(lambda: system.http.get(path, headers=searching).status_code == 403, "the key is not known")
    assert system.http.put(path, json=group, headers=searching).status_code == 403
    assert system.http.put(path, json=group, headers=admin).json() == {"name": "walls", "created": True, "rules": 1}
    assert system.http.put(path, json=group, headers=admin).json()["created"] is False
    assert system.http.get(path, headers=other).status_code == 404
    assert system.http.delete(path, headers=other).status_code == 404
    assert system.http.get("/search/v1/alerts", headers=other).json()["groups"] == []
    for known in (searching, admin):
        (found,) = system.http.get("/search/v1/alerts", headers=known).json()["groups"]
        assert found["name"] == "walls"
    body = {"matchers": "alertname=A", "for": "1h"}
    silence = system.http.post("/search/v1/alerts/silences", json=body, headers=searching)
    assert silence.status_code == 201
    silences = "/search/v1/alerts/silences"
    assert system.http.get(silences, headers=other).json() == {"silences": []}
    assert system.http.delete(f"{silences}/{silence.json()['id']}", headers=other).status_code == 404
    assert system.http.delete(f"{silences}/{silence.json()['id']}", headers=searching).json()["active"] is False
    assert system.http.delete(path, headers=admin).status_code == 200
    assert system.http.get("/search/v1/alerts").status_code == 401
