"""The steps of the comparison: make the corpus, load every side, check every answer, then rounds in turn."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.benchmarks.corpus import Corpus
from tests.benchmarks.rivals.shapes import Shape, oracle, shapes
from tests.benchmarks.rivals.side import Found, Remote, Stored, Took

ZSTD: Final = "ess_ray"
LZ4: Final = "ess_ray, lz4"
CLICKHOUSE: Final = "ClickHouse"
INDEXED: Final = "ClickHouse, indexed"
DUCKDB: Final = "DuckDB"
TANTIVY: Final = "tantivy"
RIPGREP: Final = "rg -z"

Say = Callable[[str], None]


@dataclass
class Results:
    """Everything measured, by the side's name and the shape's."""

    corpus: Corpus
    shapes: list[Shape]
    rows: dict[str, int] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    stored: dict[str, Stored] = field(default_factory=dict)
    found: dict[tuple[str, str], Found] = field(default_factory=dict)
    took: dict[tuple[str, str], Took] = field(default_factory=dict)
    parts: dict[str, dict[str, int]] = field(default_factory=dict)
    extra: dict[str, dict[str, float]] = field(default_factory=dict)

    def cpu_s(self, side: str, shape: str) -> float:
        return self.took[side, shape].cpu_s


def _sides(folder: Path, stack: ExitStack) -> Iterator[tuple[str, Remote]]:
    """Start every side in its process. Loading follows this order: DuckDB reads what our side wrote."""
    from tests.benchmarks.rivals.clickhouse import ClickHouse
    from tests.benchmarks.rivals.duckdb import DuckDb
    from tests.benchmarks.rivals.ours import Ours
    from tests.benchmarks.rivals.ripgrep import Ripgrep
    from tests.benchmarks.rivals.tantivy import Tantivy

    yield ZSTD, stack.enter_context(Remote(Ours, folder / "zstd", "zstd"))
    yield LZ4, stack.enter_context(Remote(Ours, folder / "lz4", "lz4"))
    yield CLICKHOUSE, stack.enter_context(Remote(ClickHouse, folder / "clickhouse", False))
    yield INDEXED, stack.enter_context(Remote(ClickHouse, folder / "clickhouse-indexed", True))
    yield DUCKDB, stack.enter_context(Remote(DuckDb, folder / "duckdb", folder / "zstd"))
    yield TANTIVY, stack.enter_context(Remote(Tantivy, folder / "tantivy"))
    yield RIPGREP, stack.enter_context(Remote(Ripgrep, folder / "ripgrep"))


def compare(folder: Path, corpus: Corpus, rounds: int, say: Say) -> Results:
    """Measure all sides. Raises AssertionError when a side gives other rows than the oracle."""
    results = Results(corpus, shapes(corpus))
    with ExitStack() as stack:
        sides = dict(_sides(folder, stack))
        for name, side in sides.items():
            say(f"loading {name}")
            results.versions[name] = side.version()
            results.stored[name] = side.load(corpus)
            results.parts[name] = side.parts()
            results.extra[name] = side.extra()
        for shape in results.shapes:
            say(f"checking {shape.name}: {shape.ours}")
            _check(results, sides, shape)
        samples: dict[tuple[str, str], list[Took]] = defaultdict(list)
        for number in range(rounds):
            say(f"round {number + 1} of {rounds}")
            for shape in results.shapes:
                for name, side in sides.items():
                    if (name, shape.name) in results.found:
                        samples[name, shape.name].append(side.time(shape))
    for where, took in samples.items():
        results.took[where] = Took(
            statistics.median(one.cpu_s for one in took), statistics.median(one.wall_s for one in took)
        )
    return results


def _check(results: Results, sides: Mapping[str, Remote], shape: Shape) -> None:
    """Ask every side once: each that answers must give the oracle's rows in the oracle's order."""
    truth = oracle(results.corpus, shape)
    results.rows[shape.name] = len(truth)
    for name, side in sides.items():
        found = side.check(shape)
        if found is None:
            continue
        if found.times_us != truth:
            wrong = len(set(truth) - set(found.times_us)), len(set(found.times_us) - set(truth))
            raise AssertionError(
                f"{name} gives {len(found.times_us)} rows for {shape.name} ({shape.ours}), the oracle {len(truth)}: "
                f"{wrong[0]} missing, {wrong[1]} too many"
            )
        results.found[name, shape.name] = found
