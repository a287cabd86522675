"""The page of alerts: what fires leads to its rows, and is silenced and heard again, with a pointer or the keyboard."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from tests.browser.axe import grave_violations
from tests.browser.data import World
from tests.browser.pages import Search

RULES = "/search/v1/alerts/rules/shop"
SEEN_MS = 30_000
"""Until a rule was asked and the page has asked for what came of it."""


@pytest.fixture
def firing(world: World) -> Iterator[None]:
    """A rule that each service meets whatever was received within the week, and one whose query finds nothing."""
    rules = [
        {"alert": "Busy", "expr": "* | stats count() by service", "window": "7d", "labels": {"team": "<b>shop</b>"}},
        {"alert": "Quiet", "expr": '"no such message"'},
    ]
    world.system.http.put(RULES, json={"interval": "5s", "rules": rules}).raise_for_status()
    yield
    world.system.http.delete(RULES).raise_for_status()


@pytest.mark.usefixtures("firing")
def test_what_fires_is_seen_with_its_rows_and_silenced(page: Page, search: Search) -> None:
    page.goto("/alerts")
    rules = page.get_by_role("region", name="Rules")
    busy = rules.get_by_role("row", name="shop / Busy")
    expect(busy).to_contain_text("firing", timeout=SEEN_MS)
    expect(busy).to_contain_text("complete")
    expect(rules.get_by_role("row", name="shop / Quiet")).to_contain_text("quiet")
    active = page.get_by_role("region", name="Active alerts").get_by_role("row", name="service=nasty")
    expect(active).to_contain_text("team=<b>shop</b>")
    assert grave_violations(page) == []

    active.get_by_role("button", name="Silence Busy").press("Enter")
    dialog = page.get_by_role("dialog", name="New silence")
    expect(dialog.get_by_label("Matches")).to_have_value('alertname="Busy", service="nasty", team="<b>shop</b>"')
    assert grave_violations(page) == []
    dialog.get_by_label("Comment").fill("known")
    page.keyboard.press("Enter")
    expect(dialog).to_be_hidden()
    expect(active).to_contain_text("firing (silenced)")
    silence = page.get_by_role("region", name="Silences").get_by_role("row", name="known")
    silence.get_by_role("button", name="End now the silence").click()
    expect(silence).to_contain_text("over")
    expect(active).not_to_contain_text("silenced")

    active.get_by_role("link", name="Show rows of Busy").click()
    search.wait()
    expect(search.row(0)).to_contain_text("nasty")
