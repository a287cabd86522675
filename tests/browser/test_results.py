"""Rows as they arrive: while the search runs, only ever appended, a hundred thousand; stopped, incomplete, none."""

from __future__ import annotations

import re
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest
from playwright.sync_api import expect

from tests.browser.conftest import Person
from tests.browser.data import MANY_EVENTS, World
from tests.browser.frames import frames_of_scrolling
from tests.browser.pages import Search
from tests.proxy import Proxy, http_proxy
from tests.systems import System, persist_actors
from tests.waiting import again_and_again

HELD_AFTER_BYTES = 250_000
"""More than the counts over time take, less than the thousand rows of a first answer."""
MAX_DRAWN = 200
"""Rows that exist at a time: a screen of them, and some around it."""


@pytest.fixture(scope="module")
def slow(world: World) -> Iterator[Proxy]:
    """A way to the system on which an answer can be held back half-way."""
    with http_proxy(world.system.port) as proxy:
        yield proxy


@contextmanager
def stalled_actors(system: System) -> Iterator[None]:
    """Stop who holds the rows that are not stored yet, and who replaces them: searches wait, and cannot end."""
    stopped: set[psutil.Process] = set()

    def stop_all() -> None:
        for actor in set(persist_actors(system)) - stopped:
            with suppress(psutil.NoSuchProcess):
                actor.send_signal(signal.SIGSTOP)
                stopped.add(actor)

    stop_all()
    try:
        with again_and_again(stop_all):
            yield
    finally:
        for actor in stopped:
            with suppress(psutil.NoSuchProcess):  # the system does not wait for ever either
                actor.send_signal(signal.SIGCONT)


def test_rows_appear_while_the_search_runs_and_more_are_appended_without_a_jump(
    world: World, slow: Proxy, new_person: Callable[..., Person]
) -> None:
    search = new_person(slow.endpoint).search
    search.open({"q": "kqxzvwjq"})  # everything is loaded, and nothing is found
    slow.hold(HELD_AFTER_BYTES)
    search.type("-service:nasty")
    search.page.keyboard.press("Enter")
    expect(search.page.get_by_text(re.compile(r"^\d+ rows so far …$"))).to_be_visible()
    expect(search.page.get_by_role("progressbar", name="Objects looked at")).to_be_visible()
    expect(search.grid).to_have_attribute("aria-busy", "true")
    before = int(re.sub(r"\D", "", search.page.get_by_text(re.compile("so far …$")).first.inner_text()))
    assert 100 < before < 1_000
    row = search.row(100)
    search.scroll_to(100)
    expect(row).to_be_in_viewport()  # it is drawn before the scrolling is
    seen = (row.get_attribute("data-event"), search.top(row), search.offset())
    slow.release()
    search.wait()
    expect(search.status).to_contain_text("1,000+ rows")
    assert (row.get_attribute("data-event"), search.top(row), search.offset()) == seen


def test_a_hundred_thousand_rows_are_scrolled_and_few_exist(search: Search, world: World) -> None:
    search.open(world.many)
    search.load(MANY_EVENTS)
    deltas_ms = sorted(frames_of_scrolling(search))
    # Told, not judged: machines differ. `tests.browser.measure` tells more.
    print(f"a frame: p50 {deltas_ms[len(deltas_ms) // 2]:.1f} ms, p95 {deltas_ms[len(deltas_ms) * 95 // 100]:.1f} ms")
    assert search.rows.count() < MAX_DRAWN
    search.to_end()
    last = search.row(MANY_EVENTS - 1)
    expect(last).to_be_in_viewport()
    expect(last).to_contain_text("bulk row 000000")
    assert search.rows.count() < MAX_DRAWN
    expect(search.page.get_by_text("That is all in this time range.")).to_be_visible()


def test_a_search_is_stopped(search: Search, world: World) -> None:
    search.open({"q": "kqxzvwjq"})
    with stalled_actors(world.system):
        world.system.push([{"message": "not stored yet", "service": "stalled"}])  # else nobody is waited for
        search.type("level:ERROR")
        search.page.keyboard.press("Enter")
        search.page.get_by_role("button", name="Stop", exact=True).click()
        expect(search.status).to_have_text("0 rows, stopped")
    expect(search.page.get_by_text("This answer is not complete.")).to_be_visible()
    search.page.get_by_role("button", name="Search again").first.click()
    expect(search.status).to_have_text(re.compile(r"^\d+ rows$"))


def test_an_incomplete_answer_says_so_and_why(search: Search, world: World, tmp_path: Path) -> None:
    """The objects of the table are away for a moment."""
    moved = {path: tmp_path / path.name for path in (world.system.data_dir / "events").rglob("*.parquet")}
    for path, elsewhere in moved.items():
        path.rename(elsewhere)
    try:
        search.open({**world.many, "q": "service:bulk -kqxzvwjq"})
        notice = search.page.get_by_role("status").filter(has_text="This answer is not complete.")
        expect(notice.get_by_role("listitem").first).to_have_text(re.compile(r"\w"))
        expect(search.chart.get_by_text(re.compile("^At least"))).to_be_visible()
    finally:
        for path, elsewhere in moved.items():
            elsewhere.rename(path)
    search.page.get_by_role("button", name="Search again").first.click()
    expect(search.status).to_have_text("1,000+ rows")
    expect(notice).to_have_count(0)


def test_nothing_found_leads_on(search: Search) -> None:
    search.open({"q": "kqxzvwjq", "start": "-5m"})
    expect(search.page.get_by_text("Nothing matches in this time range")).to_be_visible()
    search.page.get_by_role("button", name="Last 7 days").click()
    search.wait()
    assert search.view()["start"] == "-7d"


def test_a_server_that_cannot_answer_is_told(person: Person) -> None:
    person.complaints.expect("status of 503")
    person.page.route(
        "**/search/v1/queries",
        lambda route: route.fulfill(status=503, json={"title": "Starting", "detail": "The table is being read."}),
    )
    person.search.open(ended=False)
    expect(person.page.get_by_text("The table is being read.").first).to_be_visible()
    person.page.unroute("**/search/v1/queries")
    person.page.get_by_role("button", name="Search again").click()
    expect(person.search.status).to_contain_text("1,000+ rows")
