"""`make screenshots`: pictures of the page for the README, of made-up events, in deployments/web/screenshots."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from playwright.sync_api import Browser, expect

from tests.browser.chromium import PHONE, chromium, context_of
from tests.browser.data import push_shop
from tests.browser.pages import Search
from tests.systems import System

FOLDER: Final = Path(__file__).parents[2] / "deployments" / "web" / "screenshots"
MAX_BYTES: Final = 150_000
"""A picture in the repository stays small, since it is kept for ever."""
SIZE: Final = {"width": 1000, "height": 560}

TAIL_EVENTS: Final = 15


def _search(search: Search, _: System) -> None:
    search.open({"q": "-level:INFO (cache OR failed OR retries)", "tz": "utc"})
    expect(search.fields.get_by_role("list", name="Fields").get_by_role("listitem").first).to_be_visible()


def _row(search: Search, _: System) -> None:
    search.open({"q": "GET service:nginx", "tz": "utc"})
    search.fields.get_by_role("button", name=re.compile("^host")).click()
    expect(search.fields.get_by_role("list", name="Values of host").get_by_role("listitem").first).to_be_visible()
    search.expand(2)


def _tail(search: Search, system: System) -> None:
    search.page.goto("/tail?tz=utc")
    expect(search.page.get_by_text("Live", exact=True)).to_be_visible()
    system.ess("generate", "--events", str(TAIL_EVENTS), "--rate", "10", "--seed", "11")
    expect(search.page.get_by_text(re.compile(f" {TAIL_EVENTS} matched · {TAIL_EVENTS} here$"))).to_be_visible()


def _status(search: Search, _: System) -> None:
    search.page.goto("/status")
    expect(search.page.get_by_role("region", name="Persist actors")).to_be_visible()


def _phone(search: Search, _: System) -> None:
    search.open({"q": "timeout", "tz": "utc", "wrap": "1"})


PICTURES: Final[dict[str, tuple[Callable[[Search, System], None], dict[str, Any]]]] = {
    "search-light": (_search, {}),
    "search-dark": (_search, {"color_scheme": "dark"}),
    "row": (_row, {}),
    "tail": (_tail, {}),
    "status": (_status, {}),
    "phone": (_phone, {"viewport": PHONE, "is_mobile": True, "has_touch": True}),
}


def _take(browser: Browser, system: System, name: str) -> None:
    reach, options = PICTURES[name]
    with context_of(browser, system.url, **{"viewport": SIZE, **options}) as context:
        page = context.new_page()
        reach(Search(page), system)
        page.mouse.move(0, 0)
        path = FOLDER / f"{name}.png"
        page.screenshot(path=path)
    size = path.stat().st_size
    print(f"{path.relative_to(FOLDER.parents[1])}: {size:,} bytes")
    if size > MAX_BYTES:
        raise SystemExit(f"{path.name} is larger than {MAX_BYTES:,} bytes: show less in it")


def main() -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="ess-pictures-") as folder, chromium() as browser:
        system = System(Path(folder) / "data")
        system.up()
        try:
            push_shop(system)
            system.ess("flush")
            for name in PICTURES:
                _take(browser, system, name)
        finally:
            system.down()
            system.http.close()


if __name__ == "__main__":
    main()
