"""The golden cases: objects, queries over them, and the answer that an executor gives."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Final

import pyarrow as pa

from ess_ray.core.aggregate import Counting, Counts, FieldNames, Grouping
from ess_ray.core.merge import OrderedMerge
from ess_ray.core.query import Field, Query
from ess_ray.ports import ObjectEntry, ScanExecutor, ScanTask
from tests.lambda_rigs import Rig, results

OBJECTS, ROWS = 8, 300
QUERIES = ("", "row", '"Row 7"', r"/row \d*5\b/i", "level:ERROR -row", "user:u3 OR row*9", "duration:[10 TO 20]")

COUNTINGS: Final[tuple[Counting, ...]] = (
    Grouping(),
    Grouping(1_000, (Field("level"),)),
    Grouping(None, (Field("user", True), Field("message"))),
    FieldNames(),
)


def store_objects(rig: Rig, make_events: Callable[..., pa.Table], t0_us: int) -> list[ObjectEntry]:
    """Store objects whose times overlap and whose ids repeat."""
    chance = random.Random(7)
    made = []
    for number in range(OBJECTS):
        times = sorted(t0_us + chance.randrange(10_000) for _ in range(ROWS))
        messages = [chance.choice([f"row {row}", f"Row {row % 9}", f"straße {row}", ""]) for row in range(ROWS)]
        attributes = [[("user", f"u{row % 5}"), ("duration", str(row % 40))] for row in range(ROWS)]
        ids = [f"id-{row}" if row % 50 == 0 else None for row in range(ROWS)]  # the same in every object: repeats
        levels = [chance.choice(["INFO", "ERROR"]) for _ in range(ROWS)]
        rows = make_events(times, messages, 0, number * ROWS, attributes=attributes, event_id=ids, level=levels)
        made.append(rig.put(rows, t0_us))
    return made


async def answer(executor: ScanExecutor, query: Query, entries: list[ObjectEntry]) -> pa.Table:
    """Run a task for every object, in two sizes, and merge the results as a search does."""
    tasks = [ScanTask("default", query, tuple(entries[:3])), *(ScanTask("default", query, (e,)) for e in entries[3:])]
    merge = OrderedMerge(query.order, query.limit)
    for _, result in sorted((await results(executor, tasks)).items()):
        assert not result.failed
        merge.add(result.rows)
    return merge.release(None)


async def counts(executor: ScanExecutor, query: Query, counting: Counting, entries: list[ObjectEntry]) -> pa.Table:
    """Run tasks as `answer` does, for counts, and add them up; in an order that does not tell who ended first."""
    tasks = [ScanTask("default", query, (entry,), grouping=counting) for entry in entries]
    added = Counts(counting)
    for result in (await results(executor, tasks)).values():
        assert not result.failed
        assert result.counts is not None
        added.add(result.counts)
    table = added.table()
    return table.sort_by([(name, "ascending") for name in table.column_names])
