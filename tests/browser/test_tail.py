"""The live tail: events appear as they are pushed, wait while it is paused, and its figures follow."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.data import World


@pytest.fixture
def rows(page: Page) -> Locator:
    return page.get_by_role("treegrid", name="Events").locator("[data-index]")


def follow(page: Page, query: str) -> None:
    """Open the tail, until it is connected."""
    page.goto(f"/tail?q={query}")
    expect(page.get_by_text("Live", exact=True)).to_be_visible()


def push(world: World, *numbers: int) -> None:
    world.system.push([{"message": f"tailed {number}", "service": "tailed", "level": "INFO"} for number in numbers])


def test_events_appear_as_they_are_pushed_and_only_those_that_match(page: Page, rows: Locator, world: World) -> None:
    follow(page, "service:tailed")
    expect(page.get_by_text("Nothing has come yet")).to_be_visible()
    world.system.push([{"message": "of another service", "service": "other"}])
    push(world, 1, 2, 3)
    expect(rows).to_have_count(3)
    expect(rows.last).to_contain_text("tailed 3")
    expect(page.get_by_text(re.compile(r"matches a second · nothing unread · 3 matched · 3 here$"))).to_be_visible()


def test_a_pause_holds_the_screen_and_nothing_is_lost(page: Page, rows: Locator, world: World) -> None:
    follow(page, "service:tailed")
    push(world, 1)
    expect(rows).to_have_count(1)
    page.get_by_role("button", name="Pause").click()
    expect(page.get_by_text("Paused", exact=True)).to_be_visible()
    push(world, 2, 3)
    waiting = page.get_by_role("button", name="2 new")
    expect(waiting).to_be_visible()
    expect(rows).to_have_count(1)
    waiting.click()
    expect(rows).to_have_count(3)
    expect(page.get_by_text("Live", exact=True)).to_be_visible()


def test_scrolling_up_holds_the_screen_and_the_end_lets_it_go(page: Page, rows: Locator, world: World) -> None:
    follow(page, "service:tailed")
    push(world, *range(100))
    expect(rows.last).to_contain_text("tailed 99")
    page.get_by_role("treegrid", name="Events").hover()
    page.mouse.wheel(0, -600)
    expect(page.get_by_text("Paused", exact=True)).to_be_visible()
    page.mouse.wheel(0, 5_000)
    expect(page.get_by_text("Live", exact=True)).to_be_visible()


def test_it_is_stopped_and_goes_on_behind_the_last_row(page: Page, rows: Locator, world: World) -> None:
    follow(page, "service:tailed")
    push(world, 1)
    expect(rows).to_have_count(1)
    page.get_by_role("button", name="Stop").click()
    expect(page.get_by_text("Stopped", exact=True)).to_be_visible()
    push(world, 2)
    page.get_by_role("button", name="Start").click()
    expect(rows.last).to_contain_text("tailed 2")
    expect(rows).to_have_count(2)


def test_the_view_goes_along_between_the_pages(page: Page, world: World) -> None:
    follow(page, "service:tailed")
    page.get_by_role("link", name="Search", exact=True).click()
    expect(page.get_by_role("textbox", name="Query")).to_have_text("service:tailed")
    page.get_by_role("link", name="Live tail").click()
    expect(page.get_by_role("textbox", name="Query")).to_have_text("service:tailed")
