"""Patterns of stored events, in this process, CPU time of one core: from the bytes of objects to the table.

Objects are made one after another, and each is forgotten when it was looked at: what making them takes is not measured.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa

from ess_ray.core.chunk import collect_object, encode_object, open_object
from ess_ray.core.collect import Patterns
from ess_ray.core.query import Query
from ess_ray.generate import DEFAULT_SPAN_US
from ess_ray.search.patterns import PatternsAsked, show_patterns
from tests.benchmarks.report import Row
from tests.benchmarks.scan import END_US, LOCAL_GAP_BYTES, Files, tables

_NUMBERED: Final = 200_000
"""Events of the other kinds: each is a row of its own, given for a million."""
_SEED: Final = 11


@dataclass(frozen=True)
class _Took:
    events: int
    cpu_s: float
    templates: int
    patterns: int

    def row(self, what: str, count: int) -> Row:
        """Give it for so many events."""
        cpu_s = self.cpu_s * count / self.events
        note = f"{self.templates:,} templates, {self.patterns:,} patterns; read, counted, shown; one core"
        return Row(f"{what}, {count:,} events", f"{cpu_s:.1f} CPU-s", note)


def measure(folder: Path, count: int) -> list[Row]:
    """Measure patterns of `ess generate`'s events, and of messages that are made of little else than what varies."""
    folder.mkdir(parents=True, exist_ok=True)
    numbered = min(count, _NUMBERED)
    return [
        _took(folder, tables(count)).row("`ess generate`", count),
        _took(folder, _with_messages(numbered, _numbers)).row("forty numbers a message", 1_000_000),
        _took(folder, _with_messages(numbered, _words)).row("a template for each message", 1_000_000),
    ]


def _took(folder: Path, objects: Iterator[pa.Table]) -> _Took:
    files = Files(folder)
    collector = Patterns(END_US - DEFAULT_SPAN_US, DEFAULT_SPAN_US // 20)
    fold = collector.fold(Query())
    events, cpu_s = 0, 0.0
    for table in objects:
        encoded = encode_object(table, (), (), "lz4")
        key, size = encoded.key("default"), len(encoded.data)
        files.path(key).parent.mkdir(parents=True, exist_ok=True)
        files.path(key).write_bytes(encoded.data)
        began = time.process_time()
        fold.add(collect_object(open_object(files, key, size, gap_bytes=LOCAL_GAP_BYTES), Query(), collector))
        cpu_s += time.process_time() - began
        files.path(key).unlink()
        events += len(table)
    began = time.process_time()
    shown = show_patterns(fold, Query(), asked=PatternsAsked(""), collector=collector)
    cpu_s += time.process_time() - began
    assert shown.table is not None
    return _Took(events, cpu_s, len(fold.partial().table), shown.table["patterns_total"])


def _with_messages(count: int, make: Callable[[np.random.Generator, int], list[str]]) -> Iterator[pa.Table]:
    for table in tables(count):
        at = table.schema.get_field_index("message")
        messages = pa.array(make(np.random.default_rng(_SEED), len(table)), pa.string())
        yield table.set_column(at, table.schema.field(at), messages)


def _numbers(random: np.random.Generator, rows: int) -> list[str]:
    values = random.integers(0, 1 << 40, (rows, 40)) >> random.integers(0, 40, (rows, 40))
    return [" ".join(f"v{chr(97 + at % 26)}={value}" for at, value in enumerate(row)) for row in values.tolist()]


def _words(random: np.random.Generator, rows: int) -> list[str]:
    letters = np.frombuffer(b"abcdefghijklmnopqrstuvwxyz", "S1")
    words = random.choice(letters, (rows, 12, 6)).view("S6").reshape(rows, 12)
    return [b" ".join(row).decode() for row in words.tolist()]
