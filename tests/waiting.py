"""Waiting on an event loop for what others do, with a deadline, and doing something again and again meanwhile.

Waiting without a loop: `tests.systems.wait_until`.
"""

from __future__ import annotations

import asyncio
import inspect
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any

DEADLINE_S = 30.0


def at_once(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine that waits for nothing, as those of adapters in memory, without a loop; gives its value."""
    try:
        coroutine.send(None)
    except StopIteration as done:
        return done.value
    raise AssertionError("it waits for something")


async def until(condition: Callable[[], Any], what: str, deadline_s: float = DEADLINE_S) -> Any:
    """Ask over and over until the condition, a coroutine function or a plain one, holds; gives what it gave.

    Fails the test with `what` after `deadline_s`. The loop runs between two askings.
    """
    deadline = time.monotonic() + deadline_s
    while True:
        found = condition()
        if inspect.isawaitable(found):
            found = await found
        if found:
            return found
        assert time.monotonic() < deadline, what
        await asyncio.sleep(0.01)


@contextmanager
def again_and_again(act: Callable[[], object], interval_s: float = 0.1) -> Iterator[None]:
    """Call `act` every `interval_s` from a thread of its own, until the context ends."""
    over = threading.Event()

    def go_on() -> None:
        while not over.wait(interval_s):
            act()

    thread = threading.Thread(target=go_on, name="again and again")
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
