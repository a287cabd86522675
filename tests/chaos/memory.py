"""The memory of each process of a system over time: sampled, told as a table, drawn as a picture.

What is kept is bounded however long it runs: when there is too much of it, every other sample goes, and sampling slows
down by half.
"""

from __future__ import annotations

import threading
import time
from array import array
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import psutil

from tests.benchmarks.report import grid
from tests.chaos.clients import Threads
from tests.chaos.victims import kind_of
from tests.systems import System

INTERVAL_S: Final = 2.0
MAX_SAMPLES: Final = 100_000
"""Of all processes together: 1.6 MB, and as many points as a picture can show."""
MAX_PROCESSES: Final = 300
"""Beyond, those that lived shortest are forgotten: Ray's spare workers come and go."""
_MIB: Final = 1024 * 1024
HEADER: Final = ("process", "number", "from minute", "to minute", "first MiB", "last MiB", "maximum MiB")


@dataclass
class Series:
    """One process: minutes since the beginning, and its proportional set size (PSS) in MiB at each."""

    role: str
    pid: int
    minutes: array[float] = field(default_factory=lambda: array("d"))
    mib: array[float] = field(default_factory=lambda: array("d"))
    most_mib: float = 0.0
    """Also of samples that were let go."""

    def add(self, minute: float, mib: float) -> None:
        self.minutes.append(minute)
        self.mib.append(mib)
        self.most_mib = max(self.most_mib, mib)

    def thin(self) -> None:
        """Let every other sample go; first and last stay."""
        for values in (self.minutes, self.mib):
            values[1:-1] = values[2:-1:2]


class MemoryBook:
    """Samples a system's processes in a thread of its own until the context ends."""

    def __init__(self, system: System, interval_s: float = INTERVAL_S, max_samples: int = MAX_SAMPLES) -> None:
        self._system, self.interval_s, self._max_samples = system, interval_s, max_samples
        self._begun_s = time.monotonic()
        self._series: dict[tuple[int, float], Series] = {}
        self._lock = threading.Lock()
        self._threads = Threads(self._run)

    def __enter__(self) -> MemoryBook:
        self._threads.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._threads.stop()

    def series(self) -> list[Series]:
        """Give all processes, the largest first."""
        with self._lock:
            return sorted(self._series.values(), key=lambda one: -one.most_mib)

    def sample(self) -> None:
        """Look at every process once."""
        minute = (time.monotonic() - self._begun_s) / 60
        with self._lock:
            for process in self._processes():
                try:
                    at, mib = (process.pid, process.create_time()), pss_bytes(process.pid) / _MIB
                    if at not in self._series:
                        self._series[at] = Series(kind_of(process) or "passing", process.pid)
                except (psutil.NoSuchProcess, FileNotFoundError, ProcessLookupError):
                    continue
                self._series[at].add(minute, mib)
            self._bound()

    def _processes(self) -> list[psutil.Process]:
        try:
            return self._system.processes()
        except FileNotFoundError:  # between two starts nothing runs
            return []

    def _bound(self) -> None:
        if sum(len(one.mib) for one in self._series.values()) > self._max_samples:
            self.interval_s *= 2
            for one in self._series.values():
                one.thin()
        if len(self._series) > MAX_PROCESSES:
            short = min(self._series, key=lambda at: self._series[at].minutes[-1] - self._series[at].minutes[0])
            del self._series[short]

    def _run(self) -> None:
        while not self._threads.stopping.is_set():
            self.sample()
            self._threads.stopping.wait(self.interval_s)


def pss_bytes(pid: int) -> int:
    """Give a process's memory, with its share of what it has in common with others."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    return 0


def table(series: list[Series]) -> str:
    """Write first, last and maximum of each process as a Markdown table."""
    rows = [
        (
            one.role,
            str(one.pid),
            f"{one.minutes[0]:.1f}",
            f"{one.minutes[-1]:.1f}",
            *(f"{mib:.0f}" for mib in (one.mib[0], one.mib[-1], one.most_mib)),
        )
        for one in series
        if one.mib
    ]
    return grid("Memory", HEADER, rows)


def draw(series: list[Series], path: Path) -> None:
    """Draw a line a process, a colour a role."""
    from matplotlib import colormaps
    from matplotlib.figure import Figure

    figure = Figure(figsize=(14, 8), layout="constrained")
    axes = figure.add_subplot(xlabel="minutes", ylabel="MiB (PSS)", title="Memory of each process")
    names = list(dict.fromkeys(one.role for one in series))
    for one in series:
        number = names.index(one.role)
        colour, style = colormaps["tab10"](number % 10), ("-", "--", ":")[number // 10 % 3]
        first = one is next(other for other in series if other.role == one.role)
        axes.plot(one.minutes, one.mib, style, color=colour, linewidth=1, label=one.role if first else None)
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize="small")
    figure.savefig(path)
