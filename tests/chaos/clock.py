"""A wall clock that jumps, for one system and everything it starts: by libfaketime, which the machine's own does not
notice.

What measures durations (the monotonic clock) and the times of files stay true, as they do when a real clock is set.
libfaketime 0.9.10 refuses the absolute monotonic sleep that Python's `time.sleep` is made of, hence SLEEP.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.servers import or_skip

LIBRARIES: Final = (Path("/usr/lib"), "*/faketime/libfaketime.so.1")
"""Of Debian's package faketime. Not its libfaketimeMT, which takes a lock whenever a thread asks for the time: 2.5 us
instead of 0.3, and Ray's many threads wait for each other."""
CACHE_S: Final = 1
"""How long a process goes on with the clock that it knows: it asks thousands of times a second."""
SLEEP: Final = """
import select, time
time.sleep = lambda seconds: select.select([], [], [], seconds) and None
"""
"""A sitecustomize module: every Python of the system runs it first."""


@dataclass(frozen=True)
class Clock:
    """What a system takes for the time of day. `file` is what libfaketime reads; SLEEP lies beside it."""

    library: Path
    file: Path

    @property
    def environment(self) -> dict[str, str]:
        return {
            "LD_PRELOAD": str(self.library),
            "FAKETIME_TIMESTAMP_FILE": str(self.file),
            "FAKETIME_CACHE_DURATION": str(CACHE_S),
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "PYTHONPATH": os.pathsep.join(filter(None, [str(self.file.parent), os.environ.get("PYTHONPATH")])),
            "FAKETIME_DONT_RESET": "1",
            "NO_FAKE_STAT": "1",
        }

    def set(self, ahead_s: int) -> None:
        """Let it jump to so many seconds ahead of the machine's; every process follows within CACHE_S."""
        fresh = self.file.with_suffix(".new")
        fresh.write_text(f"{ahead_s:+d}\n")
        fresh.replace(self.file)


@contextmanager
def shifted_clock(folder: Path) -> Iterator[Clock]:
    """Give a clock that shows the machine's time until it is set."""
    library = next(LIBRARIES[0].glob(LIBRARIES[1]), None)
    if library is None:
        or_skip("libfaketime is missing: apt-get install faketime")
    (folder / "clock").mkdir()
    (folder / "clock" / "sitecustomize.py").write_text(SLEEP)
    clock = Clock(library, folder / "clock" / "ahead")
    clock.set(0)
    yield clock
