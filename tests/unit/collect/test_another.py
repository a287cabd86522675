"""A collector that nobody knows of yet works in flight, in tasks and over the wire: it is one file, and a name."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import pyarrow as pa
import pytest

from ess_ray.core.chunk import ObjectLimits, encode_object
from ess_ray.core.collect import COLLECTORS, PLACES, Block, CellCollector, Grouping, Partial, Value
from ess_ray.core.query import Compare, Field, Query
from ess_ray.ingest.buffer import Frozen, collect_frozen
from ess_ray.ingest.seal import Sealed, entry_of
from ess_ray.ports import ScanTask
from ess_ray.search import wire
from ess_ray.search.plan import not_stored
from ess_ray.search.scan import run_task
from ess_ray.testing import MemoryObjectStore

Make = Callable[..., pa.Table]
SEVERITY = "severity_number"


@dataclass(frozen=True, slots=True)
class Severities(CellCollector):
    """The sum, the least and the most of the severity in each group."""

    name: ClassVar[str] = "severities"
    values: ClassVar[Mapping[str, Value]] = {
        "count": Value(pa.int64(), "sum"),
        "total": Value(pa.int64(), "sum"),
        "least": Value(pa.int64(), "min"),
        "most": Value(pa.int64(), "max"),
    }

    grouping: Grouping

    @property
    def keys(self) -> int:
        return self.grouping.keys

    def columns(self, block: Block | None = None) -> frozenset[str]:
        return self.grouping.columns(block) | {SEVERITY}

    def from_rows(self, rows: pa.Table, block: Block | None = None, where: Sequence[str] = ()) -> pa.Table:
        made = [self.schema(where).empty_table()]
        for batch in rows.combine_chunks().to_batches():
            keys, start_us = self.grouping.key_columns(batch, block)
            columns = {**{name: batch.column(name) for name in where}, **keys}
            table = pa.table({**columns, SEVERITY: batch.column(SEVERITY).cast(pa.int64())})
            functions = [(SEVERITY, name) for name in ("sum", "min", "max")]
            grouped = table.group_by(list(columns), use_threads=False).aggregate([([], "count_all"), *functions])
            found = {name: grouped.column(name) for name in columns}
            told = zip(("total", "least", "most"), ("sum", "min", "max"), strict=True)
            values = {name: grouped.column(f"{SEVERITY}_{function}") for name, function in told}
            made.append(self.cells({**found, "count": grouped.column("count_all"), **values}, start_us, where))
        return pa.concat_tables(made)

    def to_json(self) -> list[Any]:
        return self.grouping.to_json()

    @classmethod
    def from_json(cls, values: Sequence[Any]) -> Self:
        return cls(Grouping.from_json(values))


COLLECTOR = Severities(Grouping(None, (Field("level"),)))
QUERY = Query(Compare(Field(SEVERITY), "<", 90))


@pytest.fixture(autouse=True)
def _registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(COLLECTORS, Severities.name, Severities)


@pytest.fixture
def rows(make_events: Make, t0_us: int) -> pa.Table:
    severities = [*range(1, 13), 99, None]
    levels = ["INFO" if at % 3 else "WARN" for at in range(14)]
    return make_events([t0_us + at for at in range(14)], level=levels, severity_number=severities)


def expected(rows: pa.Table) -> dict[str, tuple[int, int, int, int]]:
    found: dict[str, list[int]] = {}
    for row in rows.to_pylist():
        if row[SEVERITY] is not None and row[SEVERITY] < 90:
            found.setdefault(row["level"], []).append(row[SEVERITY])
    return {level: (len(each), sum(each), min(each), max(each)) for level, each in found.items()}


def folded(*partials: Partial) -> dict[str, tuple[int, int, int, int]]:
    fold = COLLECTOR.fold(QUERY)
    for partial in partials:
        fold.add(partial)
    cells = fold.partial().table.to_pylist()
    return {cell["by_0"]: (cell["count"], cell["total"], cell["least"], cell["most"]) for cell in cells}


def over_the_wire(task: ScanTask, store: MemoryObjectStore) -> Partial:
    """Run a task as a Lambda invocation does: it has what a scan needs of its objects."""
    answers = MemoryObjectStore(lambda: 0)
    received = wire.decode_task(json.loads(json.dumps(wire.encode_task(task))))
    assert [entry.key for entry in received.entries] == [entry.key for entry in task.entries]
    assert replace(received, entries=task.entries) == task
    answer = json.loads(json.dumps(wire.encode_result(run_task(store, received, objects_at_once=2), answers)))
    result = wire.decode_result(answer, answers, task.collector)
    assert not result.failed
    return result.partial


def test_stored_in_flight_and_far_away_it_is_the_same(rows: pa.Table) -> None:
    store = MemoryObjectStore(lambda: 0)
    entries = []
    for part in (rows.slice(0, 5), rows.slice(5, 5)):
        encoded = encode_object(part, [], limits=ObjectLimits(rows_per_group=4))
        entries.append(entry_of(Sealed("default", encoded), 0))
        store.put(entries[-1].key, encoded.data)
    far = over_the_wire(ScanTask("default", QUERY, tuple(entries), COLLECTOR), store)
    near = run_task(store, ScanTask("default", QUERY, tuple(entries), COLLECTOR)).partial
    assert folded(far) == folded(near) == expected(rows.slice(0, 10))

    view = collect_frozen(Frozen({}, tuple(rows.to_batches())), QUERY, COLLECTOR)
    assert view.table.schema == COLLECTOR.schema(PLACES)
    fresh = not_stored(view.table, {0: 10}).select(COLLECTOR.schema().names)  # the table holds the first ten
    assert folded(far, Partial(fresh, COLLECTOR.rows_of(fresh))) == expected(rows)


def test_what_is_not_asked_for_so_is_refused() -> None:
    with pytest.raises(ValueError, match="nothing to count by"):
        Severities.from_json(["groups"])
