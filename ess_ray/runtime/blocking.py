"""Ray's calls that block, away from event loops: a control store that stands still holds some for ever."""

from __future__ import annotations

import asyncio
import contextvars
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future
from functools import partial
from typing import Any, Final, TypeVar

from ess_ray.core.errors import Unavailable

CALL_TIMEOUT_S: Final = 10.0
"""How long a call may take before it counts as unavailable: a restart of an actor takes two or three seconds."""
MAX_THREADS: Final = 16
"""Calls at a time in one process: each takes a millisecond as a rule, and a thread for as long as Ray stands still."""

T = TypeVar("T")


class DaemonThreads(Executor):
    """At most `most` threads, which are not waited for at the end of the process: some may be stuck.

    What does not get a thread waits for one; what was cancelled by then is never called.
    """

    def __init__(self, most: int) -> None:
        self._most, self._started = most, 0
        self._lock = threading.Lock()
        self._waiting: queue.SimpleQueue[tuple[Future[Any], Callable[[], Any]]] = queue.SimpleQueue()

    def submit(self, function: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        """See `Executor`."""
        future: Future[T] = Future()
        self._waiting.put((future, partial(function, *args, **kwargs)))
        with self._lock:
            if self._started < self._most:
                self._started += 1
                threading.Thread(target=self._run, name=f"blocking-{self._started}", daemon=True).start()
        return future

    def _run(self) -> None:
        while True:
            future, function = self._waiting.get()
            if not future.set_running_or_notify_cancel():
                continue
            try:
                future.set_result(function())
            except BaseException as error:  # noqa: BLE001 (raised where the result is waited for)
                future.set_exception(error)


_threads: Final = DaemonThreads(MAX_THREADS)


async def off_loop(
    function: Callable[..., T],
    *args: Any,
    what: str = "Ray",
    timeout_s: float = CALL_TIMEOUT_S,
    threads: Executor = _threads,
    **kwargs: Any,
) -> T:
    """Call something that may block for ever, and wait at most so long. Raises Unavailable, and what it raises."""
    loop = asyncio.get_running_loop()
    work = partial(contextvars.copy_context().run, function, *args, **kwargs)
    try:
        async with asyncio.timeout(timeout_s) as limit:
            return await loop.run_in_executor(threads, work)
    except TimeoutError as error:
        if not limit.expired():
            raise
        raise Unavailable(f"{what} did not answer within {timeout_s:g} s; try again in a few seconds") from error
