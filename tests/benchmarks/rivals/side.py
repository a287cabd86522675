"""A side of the comparison: what it must do, and the process of its own in which it does it.

Each side has its own process, so that its CPU time is all that its threads and its children use, and nobody else's.
"""

from __future__ import annotations

import multiprocessing
import resource
import statistics
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.benchmarks.corpus import Corpus
from tests.benchmarks.rivals.shapes import Shape

MIN_SAMPLE_S: Final = 0.05
"""A query that takes less is repeated until so much has passed, since clocks and schedulers are no finer."""
MAX_REPEATS: Final = 20


@dataclass(frozen=True)
class Stored:
    """What a side made of the corpus: bytes on disk when at rest, CPU and wall seconds of building them.

    `peak_bytes`: the most memory that the process had resident until then.
    """

    bytes: int
    cpu_s: float
    wall_s: float
    peak_bytes: int
    note: str = ""


@dataclass(frozen=True)
class Found:
    """An answer: the timestamps of its rows in answer order (they are unique), and what it read, where that is known.

    The rows themselves, with all their fields, were read too: a side that shows only timestamps does less than it must.
    """

    times_us: list[int]
    bytes_read: int = 0
    requests: int = 0


@dataclass(frozen=True)
class Took:
    """CPU seconds (all threads, children too) and wall seconds of one query."""

    cpu_s: float
    wall_s: float


class Side(ABC):
    """One engine over one folder. Made in its own process, where all its methods run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @abstractmethod
    def version(self) -> str:
        """Name engine and version."""

    @abstractmethod
    def load(self, corpus: Corpus) -> tuple[int, str]:
        """Store the corpus and bring it to rest (merged, compacted); gives (bytes, note)."""

    @abstractmethod
    def query(self, shape: Shape) -> Found | None:
        """Answer; None when the engine has no way to answer it as it was asked."""

    def check(self, shape: Shape) -> Found | None:
        """Answer once, for what is found and, where the side can tell, what a process that remembers nothing reads."""
        return self.query(shape)

    def close(self) -> None:  # noqa: B027 (most sides end with their process)
        """Let go of what the side holds."""

    def parts(self) -> dict[str, int]:
        """Give stored bytes by column, where the engine can tell."""
        return {}

    def extra(self) -> dict[str, float]:
        """Give further figures of this side, by name."""
        return {}


class Remote:
    """A side in a process of its own. A context manager: the process ends with it."""

    def __init__(self, side: type[Side], folder: Path, *arguments: Any) -> None:
        folder.mkdir(parents=True)
        self._process = ProcessPoolExecutor(
            1, multiprocessing.get_context("spawn"), initializer=_begin, initargs=(side, folder, arguments)
        )

    def __enter__(self) -> Remote:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.shutdown()

    def version(self) -> str:
        return str(self._process.submit(_version).result())

    def load(self, corpus: Corpus) -> Stored:
        return self._process.submit(_load, corpus).result()

    def check(self, shape: Shape) -> Found | None:
        """Answer once: see `Side.check`."""
        return self._process.submit(_check, shape).result()

    def time(self, shape: Shape) -> Took:
        """Answer as often as a sample needs; gives the time of one. Raises AssertionError for another than `check`."""
        return self._process.submit(_time, shape).result()

    def parts(self) -> dict[str, int]:
        return self._process.submit(_parts).result()

    def extra(self) -> dict[str, float]:
        return self._process.submit(_extra).result()


# ----------------------------------------------------------------------------------------------- in the side's process
_side: Side
_checked: dict[str, Found | None] = {}


def _begin(side: type[Side], folder: Path, arguments: tuple[Any, ...]) -> None:
    global _side  # noqa: PLW0603 (this process exists for this side)
    _side = side(folder, *arguments)


def _version() -> str:
    return _side.version()


def _load(corpus: Corpus) -> Stored:
    (size, note), took = timed(lambda: _side.load(corpus))
    return Stored(size, took.cpu_s, took.wall_s, _peak_bytes(), note)


def _check(shape: Shape) -> Found | None:
    _checked[shape.name] = _side.check(shape)
    return _checked[shape.name]


def _time(shape: Shape) -> Took:
    samples: list[Took] = []
    expected = _checked[shape.name]
    while len(samples) < MAX_REPEATS and sum(sample.wall_s for sample in samples) < MIN_SAMPLE_S:
        found, took = timed(lambda: _side.query(shape))
        if expected is None or found.times_us != expected.times_us:
            raise AssertionError(f"{_side.version()} gives another answer for {shape.name} than it gave first")
        samples.append(took)
    return Took(statistics.median(s.cpu_s for s in samples), statistics.median(s.wall_s for s in samples))


def _parts() -> dict[str, int]:
    return _side.parts()


def _extra() -> dict[str, float]:
    return _side.extra()


def timed(work: Callable[[], Any]) -> tuple[Any, Took]:
    """Do `work`; gives what it gives, and what it took."""
    cpu_s, wall_s = _cpu_s(), time.perf_counter()
    done = work()
    return done, Took(_cpu_s() - cpu_s, time.perf_counter() - wall_s)


def _cpu_s() -> float:
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def _peak_bytes() -> int:
    # Not `ru_maxrss`, which a new program inherits from the one that started it.
    status = Path("/proc/self/status").read_text()
    return 1024 * next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))


def folder_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
