"""Statistics are the same wherever rows lie: in objects, in flight, and over the wire."""

from __future__ import annotations

import json
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from ess_ray.core.chunk import ObjectLimits, encode_object
from ess_ray.core.collect import PLACES, Grouping, LocalClock, Partial, Statistics, cells, top_groups
from ess_ray.core.query import Field, Query
from ess_ray.core.statistics import Statistic, accumulators_of
from ess_ray.ingest.buffer import Frozen, collect_frozen
from ess_ray.ingest.seal import Sealed, entry_of
from ess_ray.ports import ScanTask
from ess_ray.search import wire
from ess_ray.search.plan import not_stored
from ess_ray.search.scan import run_task
from ess_ray.testing import MemoryObjectStore

Make = Callable[..., pa.Table]
MS = Field("ms", attribute=True)
SEVERITY = Field("severity_number")
ASKED = (
    Statistic("sum(ms)", "sum", MS),
    Statistic("p50(ms)", "quantile", MS, "ms", Fraction(1, 2)),
    Statistic("max(severity_number)", "max", SEVERITY),
    Statistic("count_distinct(ms)", "count_distinct", MS),
)
COLLECTOR = Statistics(Grouping(None, (Field("level"),)), accumulators_of(ASKED))
QUERY = Query()


@pytest.fixture
def rows(make_events: Make, t0_us: int) -> pa.Table:
    attributes = [[("ms", str(at / 10))] if at % 4 else [("ms", "late")] for at in range(20)]
    levels = ["INFO" if at % 3 else "WARN" for at in range(20)]
    times = [t0_us + at for at in range(20)]
    return make_events(times, attributes=attributes, level=levels, severity_number=[at % 7 for at in range(20)])


def results(*partials: Partial) -> dict[str, list[Any]]:
    fold = COLLECTOR.fold(QUERY)
    for partial in partials:
        fold.add(partial)
    table = fold.partial().table.sort_by("by_0")
    told = COLLECTOR.told(table, [None] * len(table))
    assert table.column("by_0").to_pylist() == ["INFO", "WARN"]
    return {"count": told.rows, **{one.text: list(one.results(told)) for one in ASKED}}


def test_stored_in_flight_and_far_away_they_are_the_same(rows: pa.Table) -> None:
    store = MemoryObjectStore(lambda: 0)
    entries = []
    for part in (rows.slice(0, 6), rows.slice(6, 7)):
        encoded = encode_object(part, [], limits=ObjectLimits(rows_per_group=4))
        entries.append(entry_of(Sealed("default", encoded), 0))
        store.put(entries[-1].key, encoded.data)
    task = ScanTask("default", QUERY, tuple(entries), COLLECTOR)
    near = run_task(store, task).partial
    received = wire.decode_task(json.loads(json.dumps(wire.encode_task(task))))
    answer = json.loads(json.dumps(wire.encode_result(run_task(store, received, objects_at_once=2), store)))
    far = wire.decode_result(answer, store, task.collector).partial
    assert results(far) == results(near)

    view = collect_frozen(Frozen({}, tuple(rows.to_batches())), QUERY, COLLECTOR)
    assert view.table.schema == COLLECTOR.schema(PLACES)
    fresh = not_stored(view.table, {0: 13}).select(COLLECTOR.schema().names)
    whole = results(Partial(COLLECTOR.from_rows(rows)))
    assert results(far, Partial(fresh)) == results(Partial(fresh), near) == whole
    assert whole["sum(ms)"] == [9.9, 5.1]
    assert whole["count"] == [13, 7]
    assert whole["max(severity_number)"] == [6.0, 6.0]


def test_groups_are_ranked_by_what_is_asked_and_the_rest_is_told_together(rows: pa.Table) -> None:
    collector = Statistics(Grouping(None, (MS,)), COLLECTOR.kept)
    table = collector.from_rows(rows)

    def worth(groups: pa.Table) -> list[float | None]:
        return list(ASKED[0].results(collector.told(groups, [None] * len(groups))))

    top = top_groups(table, collector, 2, worth)
    ordered = top.cells.take(pc.sort_indices(top.ranks))
    assert ordered.column("by_0").to_pylist() == ["1.9", "1.8", None]
    (_, _, rest) = ASKED[0].results(collector.told(ordered, [None] * 3))
    assert rest == pytest.approx(15 - 1.9 - 1.8)


def test_seconds_made_coarser_are_the_buckets_themselves(rows: pa.Table) -> None:
    clock = LocalClock((0,), (3,))
    fine = Statistics(Grouping(1, (), clock), COLLECTOR.kept)
    coarse = fine.widened(7)
    made = coarse.coarser(fine.from_rows(rows)).sort_by("start_us")
    assert made.equals(coarse.from_rows(rows).sort_by("start_us"))


def test_cells_that_are_too_large_together_end_the_count(rows: pa.Table, monkeypatch: pytest.MonkeyPatch) -> None:
    collector = Statistics(Grouping(1), COLLECTOR.kept)
    for limit, done in ((10**6, False), (100, True)):
        monkeypatch.setattr(cells, "MAX_SLOT_BYTES", limit)
        fold = collector.fold(QUERY)
        fold.add(Partial(collector.from_rows(rows)))
        fold.partial()
        assert fold.bound.done == done
