"""How long the frames of a scrolling list take, as the browser itself counts them."""

from __future__ import annotations

from typing import Final

from tests.browser.pages import Search

STEPS: Final = 240
"""Four seconds at sixty frames a second."""

_SCROLL: Final = """
(list, steps) => new Promise((done) => {
  const deltas = []
  const stride = (list.scrollHeight - list.clientHeight) / steps
  list.scrollTop = 0
  let last = performance.now()
  const step = () => {
    const now = performance.now()
    deltas.push(now - last)
    last = now
    if (deltas.length > steps) return done(deltas.slice(1))
    list.scrollTop += stride
    requestAnimationFrame(step)
  }
  requestAnimationFrame(step)
})
"""


def frames_of_scrolling(search: Search, steps: int = STEPS) -> list[float]:
    """Scroll from the first row to the last in equal steps, one a frame; gives milliseconds between frames."""
    deltas: list[float] = search.list.evaluate(_SCROLL, steps)
    return deltas
