"""One browser and one running system for the tests of this folder, and a fresh person's browser for each test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page

from tests.browser.chromium import Complaints, chromium, context_of, save_failed
from tests.browser.data import World, push_many, push_nasty, push_shop
from tests.browser.pages import Search
from tests.servers import ServerMissing, or_skip
from tests.systems import System

PATIENCE_S = "60"
"""How long a search waits for rows that are not stored yet: a test stops who holds them, and looks at the page."""


# Of the package, not of the session: while Playwright runs, no other test of this process may run an event loop.
@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    try:
        with chromium() as browser:
            yield browser
    except ServerMissing as missing:
        or_skip(str(missing))


@pytest.fixture(scope="package")
def world(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """One system with events of all kinds, all stored. After `browser`: without one nothing needs to start."""
    system = System(tmp_path_factory.mktemp("ess") / "data", ESS_SEARCH__FRESHNESS_TIMEOUT_S=PATIENCE_S)
    system.up()
    try:
        push_shop(system)
        push_nasty(system)
        many_start, many_end = push_many(system)
        system.ess("flush")
        yield World(system, many_start, many_end)
    finally:
        system.down()
        system.http.close()


class Person:
    """Somebody's browser: one context, and what its pages complained about."""

    def __init__(self, context: BrowserContext) -> None:
        self.complaints = Complaints(context)
        self.page = context.new_page()
        self.search = Search(self.page)


@pytest.fixture
def new_person(browser: Browser, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Callable[..., Person]]:
    """Give a maker of persons at a system's address. What their pages complained about fails the test."""
    persons: list[Person] = []
    with ExitStack() as stack:

        def make(url: str, **options: object) -> Person:
            persons.append(Person(stack.enter_context(context_of(browser, url, **options))))
            return persons[-1]

        yield make
        for number, person in enumerate(persons):
            save_failed(person.page, tmp_path / f"browser-{number}")
        complaints = [one for person in persons for one in person.complaints.unexpected()]
    assert complaints == []


@pytest.fixture
def person(world: World, new_person: Callable[..., Person]) -> Person:
    return new_person(world.system.url)


@pytest.fixture
def page(person: Person) -> Page:
    return person.page


@pytest.fixture
def search(person: Person) -> Search:
    return person.search
