"""The pages as a person uses them: opening, asking, reading rows."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import parse_qs, urlencode, urlsplit

from playwright.sync_api import Locator, Page, expect

_OVER: Final = re.compile(r"^[\d,]+\+? rows?(, |$)|^No answer$")
"""What is read out when a search has ended."""


class Search:
    """The search page in one tab."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.editor = page.get_by_role("textbox", name="Query")
        self.grid = page.get_by_role("treegrid", name="Events")
        self.list = self.grid.locator("xpath=..")
        self.rows = self.grid.locator("[data-index]")
        self.status = page.get_by_role("status").filter(has_text=re.compile("rows?|Searching|No answer"))
        self.fields = page.get_by_role("complementary", name="Fields")
        self.chart = page.get_by_role("region", name="Events over time")

    def open(self, view: Mapping[str, str] | None = None, *, ended: bool = True) -> Search:
        """Load the page with a view; `ended`: until its search has."""
        self.page.goto(f"/?{urlencode(view or {})}")
        if ended:
            self.wait()
        return self

    def wait(self) -> None:
        """Until the search has ended."""
        expect(self.status).to_have_text(_OVER)

    def type(self, query: str) -> None:
        """Write a query over the one that is there, key by key."""
        self.editor.click()
        self.page.keyboard.press("ControlOrMeta+a")
        self.page.keyboard.press("Delete")
        self.page.keyboard.type(query)

    def run(self, query: str) -> None:
        """Ask, and wait until its search has ended."""
        self.type(query)
        self.page.keyboard.press("Enter")
        self.page.wait_for_url(lambda url: parse_qs(urlsplit(url).query).get("q", [""]) == [query])
        self.wait()

    def row(self, index: int) -> Locator:
        return self.grid.locator(f'[data-index="{index}"]')

    def expand(self, index: int) -> Locator:
        """Open a row; gives it."""
        row = self.row(index)
        row.get_by_role("gridcell").last.click()
        expect(row).to_have_attribute("aria-expanded", "true")
        return row

    def view(self) -> dict[str, str]:
        """What the address says."""
        return {name: values[0] for name, values in parse_qs(urlsplit(self.page.url).query).items()}

    def count(self) -> int:
        """How many rows there are, as is read out when a search has ended."""
        self.wait()
        return int(self.status.inner_text().partition(" ")[0].replace(",", "").rstrip("+"))

    def offset(self) -> float:
        """How far the rows are scrolled, in pixels."""
        return float(self.list.evaluate("(list) => list.scrollTop"))

    def top(self, row: Locator) -> float:
        """Where a row stands on the screen, in pixels."""
        return float(row.evaluate("(row) => row.getBoundingClientRect().top"))

    def scroll_to(self, index: int) -> None:
        """Scroll by about so many rows."""
        self.list.evaluate("(list, index) => { list.scrollTop = index * 22 }", index)

    def to_end(self) -> None:
        """Go to the last row that is there."""
        self.grid.focus()
        self.page.keyboard.press("End")

    def load(self, rows: int) -> None:
        """Scroll to the end until so many rows are there."""
        while (before := self.count()) < rows:
            self.to_end()
            expect(self.status).not_to_have_text(re.compile(rf"^{before:,}\b|Searching"))
