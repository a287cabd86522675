"""The golden cases: objects, queries over them, and the answer that an executor gives."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Final

import pyarrow as pa

from ess_ray.core.collect import CellCollector, FieldNames, Grouping, Patterns, Statistics, Volumes
from ess_ray.core.merge import OrderedMerge
from ess_ray.core.query import Field, Query
from ess_ray.core.statistics import FAMILIES, Statistic, accumulators_of
from ess_ray.ports import ObjectEntry, ScanExecutor, ScanTask
from tests.lambda_rigs import Rig, results

OBJECTS, ROWS = 8, 300
QUERIES = ("", "row", '"Row 7"', r"/row \d*5\b/i", "level:ERROR -row", "user:u3 OR row*9", "duration:[10 TO 20]")
QUERIES += (
    "duration:10.0 tags:prod -tags:eu",
    "duration:>9007199254740992 OR tags:3",
    'user:u9 "user#2":u9 -_ess.row:<5',
)

FUNCTIONS: Final = tuple(
    Statistic(family, family, Field(name, True)) for family in FAMILIES for name in ("duration", "user")
)
COUNTINGS: Final[tuple[CellCollector, ...]] = (
    Grouping(),
    Grouping(1_000, (Field("level"),)),
    Grouping(None, (Field("user", True), Field("message"))),
    Grouping(None, (Field("duration", True), Field("tags", True))),
    FieldNames(),
    Volumes(1_000, (Field("level"),)),
    Volumes(),
    Statistics(Grouping(1_000, (Field("level"),)), accumulators_of(FUNCTIONS)),
    Patterns(0, 1_000),
)


def store_objects(rig: Rig, make_events: Callable[..., pa.Table], t0_us: int) -> list[ObjectEntry]:
    """Store objects whose times overlap and whose ids repeat."""
    chance = random.Random(7)
    made = []
    for number in range(OBJECTS):
        times = sorted(t0_us + chance.randrange(10_000) for _ in range(ROWS))
        messages = [chance.choice([f"row {row}", f"Row {row % 9}", f"straße {row}", ""]) for row in range(ROWS)]
        attributes = [_attributes(row) for row in range(ROWS)]
        types = ["snjs" if row % 3 else None for row in range(ROWS)]
        ids = [f"id-{row}" if row % 50 == 0 else None for row in range(ROWS)]  # the same in every object: repeats
        levels = [chance.choice(["INFO", "ERROR"]) for _ in range(ROWS)]
        rows = make_events(
            times, messages, 0, number * ROWS, attributes=attributes, attribute_types=types, event_id=ids, level=levels
        )
        made.append(rig.put(rows, t0_us))
    return made


def _attributes(row: int) -> list[tuple[str, str]]:
    duration = ["10", "10.0", "1e1", "9007199254740993", "9007199254740992", str(row % 40)][row % 6]
    tags = ['["prod","eu"]', '["prod",[3.0]]', "prod"][row % 3]
    return [("user", f"u{row % 5}"), ("duration", duration), ("tags", tags), ("user#2", f"u{row % 11}")]


async def answer(executor: ScanExecutor, query: Query, entries: list[ObjectEntry]) -> pa.Table:
    """Run a task for every object, in two sizes, and merge the results as a search does."""
    tasks = [ScanTask("default", query, tuple(entries[:3])), *(ScanTask("default", query, (e,)) for e in entries[3:])]
    merge = OrderedMerge(query.order, query.limit)
    for _, result in sorted((await results(executor, tasks)).items()):
        assert not result.failed
        merge.add(result.partial.table)
    return merge.release(None)


async def counts(executor: ScanExecutor, query: Query, counting: CellCollector, entries: list[ObjectEntry]) -> pa.Table:
    """Run tasks as `answer` does, for counts, and add them up; in an order that does not tell who ended first."""
    tasks = [ScanTask("default", query, (entry,), collector=counting) for entry in entries]
    added = counting.fold(query)
    for result in (await results(executor, tasks)).values():
        assert not result.failed
        added.add(result.partial)
    table = added.partial().table
    return table.sort_by([(name, "ascending") for name in table.column_names if name not in counting.accumulators])
