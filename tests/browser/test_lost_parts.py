"""Parts of the page that are lost on their way, and a page that is older than its system. Needs no running system."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, Route, expect
from starlette.types import Receive, Scope, Send

from deployments.ui import DIST, create_ui_app
from tests.browser.conftest import Person
from tests.http_server import serving

PART = re.compile(r"/assets/TailPage-.*\.js$")


class Builds:
    """The page as a system serves it, of one build and then another."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._app = folder, create_ui_app(DIST)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._app(scope, receive, send)

    def renew(self) -> None:
        """Be started again with another version: every script and style has another name."""
        shutil.copytree(DIST, self._folder)
        for file in sorted((self._folder / "assets").iterdir()):
            if file.suffix in (".br", ".gz"):
                file.unlink()
            else:
                file.rename(file.with_name(_new(file.name)))
        for file in [self._folder / "index.html", *(self._folder / "assets").glob("*.js")]:
            file.write_text(re.sub(r"[\w-]+-[\w-]{8}\.(?:js|css)", lambda found: _new(found[0]), file.read_text()))
        self._app = create_ui_app(self._folder)


def _new(name: str) -> str:
    return re.sub(r"-[\w-]{8}\.", "-newbuild.", name)


@pytest.fixture
def builds(tmp_path: Path) -> Builds:
    return Builds(tmp_path / "newer")


@pytest.fixture
def page(builds: Builds, new_person: Callable[..., Person]) -> Iterator[Page]:
    with serving(builds) as url:
        person = new_person(url)
        for expected in ("Failed to load resource", "503", "404", "ERR_FAILED", "PartLost"):
            person.complaints.expect(expected)
        yield person.page


def test_a_part_that_is_lost_once_is_there_all_the_same(page: Page) -> None:
    lost = []

    def lose(route: Route) -> None:
        lost.append(route.request.url)
        if len(lost) <= 2:
            route.abort()
        else:
            route.continue_()

    page.route(PART, lose)
    page.goto("/")
    page.evaluate("window.same = true")
    page.get_by_role("link", name="Live tail").click()
    expect(page.get_by_role("heading", name="Live tail")).to_be_attached()
    assert len(lost) == 3
    assert page.evaluate("window.same")


def test_a_new_version_is_loaded_once(page: Page, builds: Builds) -> None:
    page.goto("/?q=timeout")
    page.evaluate("window.same = true")
    builds.renew()
    page.get_by_role("link", name="Live tail").click()
    expect(page.get_by_role("heading", name="Live tail")).to_be_attached()
    assert page.url.endswith("/tail?q=timeout")
    assert page.evaluate("window.same") is None


def test_a_new_version_whose_parts_are_lost_too_says_so(page: Page, builds: Builds) -> None:
    page.route(PART, lambda route: route.abort())
    page.goto("/")
    builds.renew()
    loads = []
    page.on("domcontentloaded", lambda: loads.append(page.url))
    page.get_by_role("link", name="Live tail").click()
    button = page.get_by_role("button", name="Load the page again")
    expect(button).to_be_visible()
    assert len(loads) == 1
    page.unroute(PART)
    button.click()
    expect(page.get_by_role("heading", name="Live tail")).to_be_attached()


def test_a_script_that_does_not_come_leaves_words(page: Page) -> None:
    page.route(re.compile(r"/assets/index-.*\.js$"), lambda route: route.abort())
    page.goto("/")
    expect(page.get_by_role("link", name="load the page again")).to_be_visible()
