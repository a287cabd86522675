"""Debian's Chromium without a screen, driven by Playwright, and what it must not have complained about."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Error, Page, expect, sync_playwright

from deployments.ui import DIST, INDEX
from tests.servers import ServerMissing

WAIT_MS: Final = 30_000
"""For what a test waits for: a machine that does other things too needs seconds for a search."""
WIDE: Final = {"width": 1280, "height": 800}
PHONE: Final = {"width": 390, "height": 844}
ZONE: Final = "Asia/Kolkata"
"""Half an hour off every whole one, and without summer time: nobody takes it for UTC."""
BACKGROUNDS: Final = {"light": "rgb(251, 251, 250)", "dark": "rgb(20, 23, 26)"}
"""`--surface` in tokens.css."""

_REPORT_VIOLATIONS: Final = """
addEventListener('securitypolicyviolation', (event) => {
  console.error(`policy violated: ${event.violatedDirective} by ${event.blockedURI || event.sourceFile}`)
})
"""


@contextmanager
def chromium() -> Iterator[Browser]:
    """Run a browser until the context ends. Raises ServerMissing where there is none, or no page to look at."""
    program = shutil.which("chromium")
    if program is None:
        raise ServerMissing("there is no Chromium: make chromium installs Debian's, as root")
    if not (DIST / INDEX).exists():
        raise ServerMissing("the web page is not built: make web")
    expect.set_options(timeout=WAIT_MS)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program)
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def context_of(browser: Browser, url: str, **options: Any) -> Iterator[BrowserContext]:
    """Give a person's browser: a context with storage, zone and screen of its own, in which `/` is at `url`."""
    options = {"viewport": WIDE, "locale": "en-GB", "timezone_id": ZONE, "color_scheme": "light", **options}
    context = browser.new_context(base_url=url, reduced_motion="reduce", **options)
    context.set_default_timeout(WAIT_MS)
    context.add_init_script(_REPORT_VIOLATIONS)
    try:
        yield context
    finally:
        context.close()


def turn(page: Page, theme: str) -> None:
    """Let the machine prefer light or dark, and wait until the page is so."""
    page.emulate_media(color_scheme=theme)  # type: ignore[arg-type]
    expect(page.locator("body")).to_have_css("background-color", BACKGROUNDS[theme])


class Complaints:
    """What the pages of a context reported as wrong: errors on the console, exceptions, violations of the policy."""

    def __init__(self, context: BrowserContext) -> None:
        self._found: list[str] = []
        self._expected: list[str] = []
        context.on("console", self._on_console)
        context.on("weberror", lambda error: self._found.append(f"exception: {error.error}"))

    def expect(self, part: str) -> None:
        """Take reports that contain `part` for what the test is about."""
        self._expected.append(part)

    def found(self) -> list[str]:
        return list(self._found)

    def unexpected(self) -> list[str]:
        return [one for one in self._found if not any(part in one for part in self._expected)]

    def _on_console(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self._found.append(f"{message.type}: {message.text}")


def save_failed(page: Page, folder: Path) -> None:
    """Keep what the page looked like, for whoever reads the failure."""
    folder.mkdir(parents=True, exist_ok=True)
    try:
        page.screenshot(path=folder / "failed.png")
    except Error as error:  # a page that has crashed has no picture; why it did is in the test's own failure
        (folder / "no-picture.txt").write_text(str(error))
