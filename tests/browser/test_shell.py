"""What holds for every page: themes, keys, a telephone's width, the policy that browsers enforce."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from tests.browser.chromium import BACKGROUNDS, PHONE, turn
from tests.browser.conftest import Person
from tests.browser.data import World
from tests.browser.pages import Search


def test_the_theme_follows_the_system_until_one_is_chosen_which_is_kept(page: Page, search: Search) -> None:
    search.open()
    turn(page, "dark")
    button = page.get_by_role("button", name=re.compile("^Theme: "))
    button.click()
    expect(button).to_have_accessible_name("Theme: light")
    expect(page.locator("body")).to_have_css("background-color", BACKGROUNDS["light"])
    page.reload()
    expect(button).to_have_accessible_name("Theme: light")
    expect(page.locator("body")).to_have_css("background-color", BACKGROUNDS["light"])
    button.click()
    expect(page.locator("body")).to_have_css("background-color", BACKGROUNDS["dark"])
    button.click()
    turn(page, "light")


def test_everything_is_reached_by_keys(page: Page, search: Search) -> None:
    search.open({"q": "service:nginx"})
    press = page.keyboard.press
    press("j")
    press("j")
    press("Enter")
    expect(search.row(1)).to_have_attribute("aria-expanded", "true")
    press("k")
    expect(search.row(0)).to_have_attribute("aria-selected", "true")
    press("o")
    expect(page.get_by_role("button", name="Oldest first")).to_be_visible()
    search.wait()
    press("[")
    expect(page.get_by_title("Time range (t)")).not_to_contain_text("Last hour")
    press("t")
    expect(page.get_by_role("group", name="Presets")).to_be_visible()
    press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    press("/")
    expect(search.editor).to_be_focused()
    press("Escape")
    press("e")
    expect(page.get_by_role("dialog", name="What this search would do")).to_be_visible()
    press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    press("?")
    expect(page.get_by_role("dialog", name="Keys and query language")).to_be_visible()
    press("Escape")
    search.wait()


@pytest.mark.parametrize("path", ["/?q=service:nginx", "/?q=nasty&wrap=1", "/tail", "/status"])
def test_a_telephone_shows_every_page_without_scrolling_sideways(
    world: World, new_person: Callable[..., Person], path: str
) -> None:
    page = new_person(world.system.url, viewport=PHONE, has_touch=True, is_mobile=True).page
    page.goto(path)
    expect(page.get_by_role("heading", level=1)).to_be_attached()
    if path.startswith("/?"):
        expect(page.get_by_role("treegrid").locator("[data-index]").first).to_be_visible()
    wide = page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
    assert wide == [PHONE["width"], PHONE["width"]]


def test_a_telephone_has_the_fields_in_a_drawer(world: World, new_person: Callable[..., Person]) -> None:
    search = new_person(world.system.url, viewport=PHONE, has_touch=True, is_mobile=True).search
    search.open({"q": "service:nginx"})
    expect(search.fields).to_have_count(0)
    search.page.get_by_role("button", name="Fields").tap()
    drawer = search.page.get_by_role("dialog", name="Fields")
    expect(drawer.get_by_role("button", name=re.compile("^service"))).to_be_visible()
    drawer.get_by_role("button", name="Close").tap()
    expect(drawer).to_have_count(0)


def test_the_policy_of_the_page_is_enforced(person: Person) -> None:
    person.complaints.expect("policy")
    person.complaints.expect("Content Security Policy")
    answer = person.page.goto("/")
    assert answer is not None
    policy = answer.headers["content-security-policy"]
    assert "unsafe" not in policy
    assert "script-src 'self'" in policy
    person.page.evaluate(
        "() => { const script = document.createElement('script'); script.textContent = 'window.harmed = 1'; "
        "document.body.append(script) }"
    )
    assert person.page.evaluate("window.harmed") is None
    assert person.complaints.found()  # also that violations are seen at all, which every other test relies on
