"""`python -m tests.browser.measure`: how fast the page is, told and never judged: machines differ.

Two figures, in Chromium without a screen against a running system: the time of a frame while a hundred thousand rows
are scrolled, and from the server's first row to its being drawn.
"""

from __future__ import annotations

import statistics
import tempfile
from pathlib import Path
from typing import Final

from playwright.sync_api import Browser, expect

from tests.browser.chromium import chromium, context_of
from tests.browser.data import MANY_EVENTS, World, push_many
from tests.browser.frames import frames_of_scrolling
from tests.browser.pages import Search
from tests.systems import System

ROUNDS: Final = 10

# When the first row reached the browser, and the first frame that showed one. The stream is told apart from that of
# the counts by what is in it.
_WATCH: Final = """
(() => {
  const seen = (window.seen = {})
  const real = window.fetch
  window.fetch = async (...given) => {
    const response = await real(...given)
    if (!String(given[0]).endsWith('/stream')) return response
    const [ours, theirs] = response.body.tee()
    void (async () => {
      const reader = ours.pipeThrough(new TextDecoderStream()).getReader()
      for (;;) {
        const { done, value } = await reader.read()
        if (done) return
        if (/^event: event$/m.test(value)) seen.arrived ??= performance.now()
      }
    })()
    return new Response(theirs, response)
  }
  new MutationObserver(() => {
    if (seen.drawn === undefined && document.querySelector('[role="treegrid"] [data-index]') !== null) {
      requestAnimationFrame(() => requestAnimationFrame(() => (seen.drawn ??= performance.now())))
    }
  }).observe(document, { childList: true, subtree: true })
})()
"""


def measure(directory: Path, rounds: int) -> list[tuple[str, str, str]]:
    """Start a system, push rows, and look at them; gives (what, value, note)."""
    system = System(directory / "data")
    system.up()
    try:
        start, end = push_many(system)
        system.ess("flush")
        world = World(system, start, end)
        with chromium() as browser:
            return [_first_rows(browser, world, rounds), _frames(browser, world)]
    finally:
        system.down()
        system.http.close()


def _first_rows(browser: Browser, world: World, rounds: int) -> tuple[str, str, str]:
    spent_ms = []
    for _ in range(1 + rounds):
        with context_of(browser, world.system.url) as context:
            context.add_init_script(_WATCH)
            search = Search(context.new_page()).open(world.many)
            expect(search.row(0)).to_be_visible()
            search.page.wait_for_function("window.seen.drawn !== undefined && window.seen.arrived !== undefined")
            seen = search.page.evaluate("window.seen")
            spent_ms.append(seen["drawn"] - seen["arrived"])
    spent_ms = spent_ms[1:]  # the first one warms
    note = f"worst {max(spent_ms):.0f} ms; of {rounds} loads; 300 ms are to be reached"
    return ("first rows on the screen, from their arrival, p50", f"{statistics.median(spent_ms):.0f} ms", note)


def _frames(browser: Browser, world: World) -> tuple[str, str, str]:
    with context_of(browser, world.system.url) as context:
        search = Search(context.new_page()).open(world.many)
        search.load(MANY_EVENTS)
        deltas_ms = sorted(frames_of_scrolling(search))
    p95_ms, worst_ms = deltas_ms[len(deltas_ms) * 95 // 100], deltas_ms[-1]
    note = f"p95 {p95_ms:.1f} ms, worst {worst_ms:.0f} ms; drawn without a graphics card"
    return (f"a frame while {MANY_EVENTS:,} rows are scrolled, p50", f"{statistics.median(deltas_ms):.1f} ms", note)


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="ess-web-") as folder:
        for what, value, note in measure(Path(folder), ROUNDS):
            print(f"{what}: {value} ({note})")


if __name__ == "__main__":
    main()
