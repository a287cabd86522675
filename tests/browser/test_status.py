"""The status page: the figures of the running system, and that old ones are not taken for new."""

from __future__ import annotations

import re

from playwright.sync_api import Page, expect

from tests.browser.conftest import Person
from tests.browser.data import World


def test_it_shows_the_parts_of_the_system(page: Page, world: World) -> None:
    page.goto("/status")
    expect(page.get_by_text("Complete answers are possible, and events are stored.")).to_be_visible()
    for figure in ("Not stored yet", "Objects", "Stored events", "Event log", "Persist actors", "Replicas"):
        expect(page.get_by_role("term").get_by_text(figure, exact=True)).to_be_visible()
    status = world.system.http.get("/search/v1/status").json()
    actors = page.get_by_role("region", name="Persist actors").get_by_role("rowheader")
    expect(actors).to_have_text(sorted(actor["actor"] for actor in status["pool"]["actors"].values()))
    vnodes = page.get_by_role("region", name="Virtual nodes").get_by_role("rowheader")
    expect(vnodes).to_have_text(list(status["log"]["vnodes"]))
    expect(page.get_by_role("link", name="Ray’s dashboard")).to_have_attribute("href", status["dashboard"])


def test_figures_are_marked_as_old_when_answers_stop_coming(person: Person) -> None:
    person.complaints.expect("Failed to load resource")
    page = person.page
    page.goto("/status")
    expect(page.get_by_text("Asked every 3 s", exact=True)).to_be_visible()
    page.route("**/search/v1/status", lambda route: route.abort())
    expect(page.get_by_text(re.compile("^Stale: as it was"))).to_be_visible()
    expect(page.get_by_role("alert")).to_contain_text("The server cannot be reached.")
    expect(page.get_by_role("region", name="Persist actors")).to_be_visible()
    page.unroute("**/search/v1/status")
    expect(page.get_by_text("Asked every 3 s", exact=True)).to_be_visible()
