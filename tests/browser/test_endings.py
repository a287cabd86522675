"""A system of its own, on which keys are made and which is stopped: what the page then asks for, and says."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, expect

from tests.browser.conftest import Person
from tests.browser.data import push_shop
from tests.proxy import http_proxy
from tests.systems import System

HELD_AFTER_BYTES = 150_000


@pytest.fixture(scope="module")
def locked(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """A system that wants a key."""
    system = System(tmp_path_factory.mktemp("locked") / "data")
    system.up()
    try:
        push_shop(system, 5_000)
        yield system
    finally:
        system.down()
        system.http.close()


@pytest.fixture(scope="module")
def keys(locked: System) -> dict[str, str]:
    made = {}
    for name, scopes in {"searcher": ["search"], "admin": ["search", "admin"]}.items():
        flags = [flag for scope in scopes for flag in ("--scope", scope)]
        made[name] = json.loads(locked.ess("keys", "create", *flags, "--json").stdout)["key"]
    return made


def enter_key(person: Person, key: str) -> None:
    dialog = person.page.get_by_role("dialog", name="API key")
    dialog.get_by_label("Key", exact=True).fill(key)
    dialog.get_by_role("button", name="Use this key").click()


def test_a_key_is_asked_for_kept_for_the_tab_and_never_in_an_address(
    locked: System, keys: dict[str, str], new_person: Callable[..., Person]
) -> None:
    person = new_person(locked.url)
    person.complaints.expect("status of 401")
    asked: list[str] = []
    person.page.on("request", lambda request: asked.append(request.url))
    person.page.goto("/?q=level:ERROR")
    expect(person.page.get_by_text("This system wants a key.")).to_be_attached()
    enter_key(person, "ess_no-such-key")
    expect(person.page.get_by_role("dialog", name="API key")).to_contain_text("is not accepted")
    enter_key(person, keys["searcher"])
    person.search.wait()
    expect(person.search.rows.first).to_be_visible()
    person.page.reload()
    person.search.wait()
    expect(person.search.rows.first).to_be_visible()
    with person.page.expect_download() as downloading:
        person.page.evaluate("delete window.showSaveFilePicker")  # no dialog of the system's can be answered here
        person.page.get_by_role("button", name="Download").click()
        person.page.get_by_role("menuitem", name="NDJSON").click()
    assert downloading.value.failure() is None
    assert keys["searcher"] not in " ".join([*asked, person.page.url])
    other = person.page.context.new_page()
    other.goto(person.page.url)
    expect(other.get_by_role("dialog", name="API key")).to_be_visible()


def test_the_status_wants_a_key_of_the_admin(
    locked: System, keys: dict[str, str], new_person: Callable[..., Person]
) -> None:
    person = new_person(locked.url)
    person.complaints.expect("status of 40")
    person.page.goto("/status")
    enter_key(person, keys["searcher"])
    expect(person.page.get_by_role("alert")).to_contain_text("it needs the scope “admin”")
    person.page.get_by_role("button", name="Enter a key").click()
    enter_key(person, keys["admin"])
    expect(person.page.get_by_role("dialog")).to_have_count(0)
    expect(person.page.get_by_role("region", name="Persist actors")).to_be_visible()


def test_a_server_that_stops_in_the_middle_is_told_and_the_rows_stay(
    locked: System, keys: dict[str, str], new_person: Callable[..., Person]
) -> None:
    """The last test of this system: it is killed."""
    with http_proxy(locked.port) as proxy:
        person = new_person(proxy.endpoint)
        person.complaints.expect("Failed to load resource")
        search = person.search
        search.page.goto("/?q=kqxzvwjq")
        enter_key(person, keys["searcher"])
        search.wait()
        proxy.hold(HELD_AFTER_BYTES)
        proxy.order("cut", times=2, method="GET", containing="/stream")  # of the rows, and of the counts
        search.type("-kqxzvwjq")
        search.page.keyboard.press("Enter")
        expect(search.page.get_by_text(re.compile(r"^\d+ rows so far …$"))).to_be_visible()
        locked.kill_everything()
        proxy.release()
        expect(search.status).to_have_text(re.compile(r"^\d+ rows, then it failed$"))
        expect(search.page.get_by_text("The server cannot be reached.").first).to_be_visible()
        expect(search.row(0)).to_be_visible()
        assert search.count() > 100
