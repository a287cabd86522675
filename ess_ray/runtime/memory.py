"""Giving memory back to the machine: the C library keeps what was freed between things that stay.

300 half-sent bodies of one replica left 34 MB with it for good, 15 when trimmed; more where pieces are small.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable
from typing import Final

import psutil
import pyarrow as pa

LOOK_S: Final = 10.0
"""Pause between looks: a burst is followed by another one more often than not, and trimming takes some milliseconds."""
BURST_BYTES: Final = 32 * 1024 * 1024
"""What is worth it."""


def give_back() -> None:
    """Give what this process has freed back to the machine, where the C library can."""
    pa.default_memory_pool().release_unused()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # the GNU library has it
    if trim is not None:
        trim(0)


def give_back_after_bursts(most_held: Callable[[], int]) -> None:
    """From now on, in a thread: `most_held` tells the most bytes that were in use since it was asked before."""

    def run() -> None:
        never = threading.Event()
        after_bursts(most_held, lambda: never.wait(LOOK_S), give_back)

    threading.Thread(target=run, name="give memory back", daemon=True).start()


def give_back_what_grew() -> None:
    """From now on, in a thread, where nobody counts all that is in use: sockets, gRPC."""

    def run() -> None:
        never = threading.Event()
        after_growth(lambda: psutil.Process().memory_info().rss, lambda: never.wait(LOOK_S), give_back)

    threading.Thread(target=run, name="give memory back", daemon=True).start()


def after_growth(resident: Callable[[], int], wait: Callable[[], bool], then: Callable[[], None]) -> None:
    """Do something after each pause in which a process that was smaller once did not grow. `wait` waits one,
    and gives true at the end."""
    least = before = resident()
    while not wait():
        now = resident()
        if now - least >= BURST_BYTES and now <= before:
            then()
            now = resident()
        least, before = min(least, now), now


def after_bursts(most_held: Callable[[], int], wait: Callable[[], bool], then: Callable[[], None]) -> None:
    """Do something once after each burst: when a whole pause was quiet. `wait` waits one, and gives true at the end."""
    burst = False
    while not wait():
        quiet = most_held() < BURST_BYTES
        if burst and quiet:
            then()
        burst = not quiet
