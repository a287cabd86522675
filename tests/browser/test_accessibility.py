"""axe on every state of every page, in both themes: no serious and no critical violation."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from tests.browser.axe import grave_violations
from tests.browser.chromium import PHONE, turn
from tests.browser.conftest import Person
from tests.browser.data import World
from tests.browser.pages import Search


def results(search: Search) -> None:
    search.open({"q": "GET level:INFO"})
    expect(search.fields.get_by_role("list", name="Fields").get_by_role("listitem").first).to_be_visible()


def opened_row(search: Search) -> None:
    search.open({"q": "service:nginx", "wrap": "1"})
    search.expand(0)


def field_values(search: Search) -> None:
    search.open()
    search.fields.get_by_role("button", name=re.compile("^host")).click()
    expect(search.fields.get_by_role("list", name="Values of host").get_by_role("listitem").first).to_be_visible()
    search.fields.get_by_role("searchbox", name="Values of host begin with").fill("no such host")
    expect(search.fields.get_by_text(re.compile("^No value begins so"))).to_be_visible()


def around(search: Search) -> None:
    search.open({"q": "service:nginx"})
    search.expand(3).get_by_role("button", name="Show around").click()
    expect(search.page.get_by_role("grid", name="Events around")).to_be_visible()


def loading(search: Search) -> None:
    search.page.route("**/search/v1/queries", lambda _: None)  # never answered
    search.open(ended=False)
    expect(search.page.get_by_text("Searching …")).to_be_visible()


def nothing(search: Search) -> None:
    search.open({"q": "kqxzvwjq"})
    expect(search.page.get_by_text("Nothing matches in this time range")).to_be_visible()


def bad_query(search: Search) -> None:
    search.open({"q": "level:ERROR AND )"}, ended=False)
    expect(search.page.get_by_text("The query cannot be run")).to_be_visible()


def failed(search: Search) -> None:
    search.page.route("**/search/v1/queries", lambda route: route.fulfill(status=503, json={"title": "Starting"}))
    search.open(ended=False)
    expect(search.page.get_by_text("Starting.").first).to_be_visible()


def completion(search: Search) -> None:
    search.open()
    search.type("ser")
    expect(search.page.get_by_role("option").first).to_be_visible()


def time_range(search: Search) -> None:
    search.open()
    search.page.get_by_title("Time range (t)").click()
    expect(search.page.get_by_role("group", name="Presets")).to_be_visible()


def menus(search: Search) -> None:
    search.open({"q": "service:nginx"})
    search.page.get_by_role("button", name="Columns").click()
    expect(search.page.get_by_role("menu")).to_be_visible()


def plan(search: Search) -> None:
    search.open()
    search.page.get_by_role("button", name="Explain").click()
    expect(search.page.get_by_text("Query as understood")).to_be_visible()


def help_(search: Search) -> None:
    search.open()
    search.page.keyboard.press("?")
    expect(search.page.get_by_role("dialog")).to_be_visible()


def key(search: Search) -> None:
    search.open()
    search.page.get_by_role("button", name="API key: none").click()
    expect(search.page.get_by_role("dialog", name="API key")).to_be_visible()


def tail(search: Search) -> None:
    search.page.goto("/tail?q=kqxzvwjq")
    expect(search.page.get_by_text("Nothing has come yet")).to_be_visible()


def status(search: Search) -> None:
    search.page.goto("/status")
    expect(search.page.get_by_role("region", name="Persist actors")).to_be_visible()


def alerts(search: Search) -> None:
    search.page.goto("/alerts")
    expect(search.page.get_by_text("There are no rules")).to_be_visible()


def no_such_page(search: Search) -> None:
    search.page.goto("/nowhere")
    expect(search.page.get_by_text("There is no such page")).to_be_visible()


STATES = [
    results, opened_row, field_values, around, loading, nothing, bad_query, failed, completion, time_range, menus, plan,
    help_, key, tail, alerts, status, no_such_page,
]  # fmt: skip


@pytest.mark.parametrize("state", STATES, ids=lambda state: state.__name__.strip("_"))
def test_no_state_has_grave_violations_in_either_theme(person: Person, state: Callable[[Search], None]) -> None:
    person.complaints.expect("Failed to load resource")
    state(person.search)
    found = {}
    for theme in ("light", "dark"):
        turn(person.page, theme)
        found[theme] = grave_violations(person.page)
    assert found == {"light": [], "dark": []}


def test_nor_has_a_telephone(world: World, new_person: Callable[..., Person]) -> None:
    person = new_person(world.system.url, viewport=PHONE, has_touch=True, is_mobile=True)
    for state in (results_of_a_phone, opened_row, tail, alerts, status):
        state(person.search)
        assert grave_violations(person.page) == [], state.__name__


def results_of_a_phone(search: Search) -> None:
    search.open({"q": "GET"})


def test_the_skip_link_leads_to_the_content(page: Page, search: Search) -> None:
    search.open()
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#main")).to_be_focused()
