"""Counting against a naive oracle: whatever the query, the buckets and the keys, wherever rows lie, in any order."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ess_ray.adapters.memory_results import MemoryResultStore
from ess_ray.core.attribute import canonical_number
from ess_ray.core.chunk import ObjectLimits, encode_object
from ess_ray.core.collect import (
    FIELD_COLUMNS,
    UTC_CLOCK,
    CellCollector,
    CellsFold,
    Collector,
    FieldNames,
    Grouping,
    LocalClock,
    Partial,
    group_count,
    top_groups,
)
from ess_ray.core.collect import cells as cells_module
from ess_ray.core.query import All, Field, Query
from ess_ray.core.timestamps import parse_timestamp_us
from ess_ray.ingest.buffer import Frozen, collect_frozen
from ess_ray.ingest.seal import Sealed, entry_of
from ess_ray.limits import SearchLimits
from ess_ray.ports import Advance, AnswerState, Record, ScanTask, View, VnodeRange, vnode_advances
from ess_ray.search.intervals import AUTO_BUCKETS, SECOND_US
from ess_ray.search.plan import not_stored
from ess_ray.search.run import Searcher
from ess_ray.search.scan import run_task
from ess_ray.search.shown import Aggregation
from ess_ray.testing import MemoryCatalog, MemoryLog, MemoryObjectStore
from tests.examples import examples
from tests.property.oracle import BOUNDS, FIELDS, ROWS, T0_US, TREES, entries_by_key, table_of, wanted
from tests.property.test_search import Shuffled

MANY = settings(max_examples=examples(200), suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
Row = dict[str, Any]
Cells = Counter[tuple[Any, ...]]

GROUPINGS = st.builds(
    Grouping,
    st.none() | st.integers(1, 4) | st.just(10**9),
    st.lists(FIELDS, max_size=3, unique=True).map(tuple),
    st.sampled_from(
        [UTC_CLOCK, LocalClock((0,), (1,)), LocalClock((0, T0_US), (3, 1)), LocalClock((0, T0_US + 1), (0, 2))]
    ),
)
COUNTINGS: st.SearchStrategy[CellCollector] = GROUPINGS | st.just(FieldNames())
QUERIES = st.builds(Query, TREES | st.just(All()), BOUNDS, BOUNDS, st.just(1))
SMALL = ObjectLimits(rows_per_group=3, index_min_rows=0)


# ---------------------------------------------------------------------------------------------------------- oracle
def text_of(field: Field, row: Row) -> str | None:
    if not field.attribute:
        return None if row[field.name] is None else str(row[field.name])
    value, letter = entries_by_key(row).get(field.name, (None, "s"))
    return value if value is None or letter != "n" else canonical_number(value) or value


def naive(rows: list[Row], query: Query, counting: CellCollector) -> Cells:
    cells: Cells = Counter()
    for row in rows:
        if not wanted(query, row):
            continue
        if isinstance(counting, FieldNames):
            cells.update((None, name, "column") for name in FIELD_COLUMNS if row.get(name) is not None)
            cells.update((None, key, "attribute") for key in dict(row["attributes"] or ()))
        else:
            start = None if counting.interval_us is None else start_of(row["timestamp"], counting)
            cells[start, *(text_of(field, row) for field in counting.by)] += 1
    return cells


def start_of(time_us: int, counting: Grouping) -> int:
    (start,) = counting.starts(np.array([time_us])).tolist()  # where buckets begin has tests of its own: test_buckets
    return int(start)


def cells_of(counts: pa.Table) -> Cells:
    """Read a table of counts; every cell must be there once, and none be told together."""
    assert not any(counts.column("other").to_pylist())
    names = [name for name in counts.column_names if name not in ("other", "count", "vnode", "offset")]
    rows = counts.to_pylist()
    found: Cells = Counter()
    for row in rows:
        assert row["count"] > 0
        found[tuple(row[name] for name in names)] += row["count"]
    return found


def stored(objects: list[list[Row]]) -> tuple[MemoryObjectStore, list[Any]]:
    store, entries = MemoryObjectStore(lambda: 0), []
    for rows in objects:
        table = table_of(sorted(rows, key=lambda row: row["timestamp"]))
        encoded = encode_object(table, [], limits=SMALL)
        entries.append(entry_of(Sealed("default", encoded), 0))
        store.put(entries[-1].key, encoded.data)
    return store, entries


# ----------------------------------------------------------------------------------------------------------- tests
@MANY
@given(
    st.lists(st.lists(ROWS, min_size=1, max_size=9), min_size=1, max_size=4),
    QUERIES,
    COUNTINGS,
    st.randoms(use_true_random=False),
    st.sampled_from([1, 2]),
)
def test_objects_are_counted_as_the_oracle_does(
    objects: list[list[Row]], query: Query, counting: CellCollector, chance: Any, at_once: int
) -> None:
    store, entries = stored(objects)
    chance.shuffle(entries)
    task = ScanTask("default", query, tuple(entries), collector=counting)
    result = run_task(store, task, objects_at_once=at_once)
    rows = [row for rows in objects for row in rows]
    assert not result.failed
    assert cells_of(result.partial.table) == naive(rows, query, counting)
    assert (
        result.partial.rows_matched == counting.rows_of(result.partial.table) == sum(wanted(query, row) for row in rows)
    )


@MANY
@given(
    st.lists(st.tuples(st.integers(0, 2), st.lists(ROWS, min_size=1, max_size=4)), max_size=6),
    QUERIES,
    COUNTINGS,
    st.dictionaries(st.integers(0, 2), st.integers(0, 6)),
)
def test_what_is_in_flight_is_counted_without_what_is_stored(
    records: list[tuple[int, list[Row]]], query: Query, counting: CellCollector, stands: dict[int, int]
) -> None:
    flying: list[Row] = []
    batches = []
    for offset, (vnode, rows) in enumerate(records):
        placed = [{**row, "vnode": vnode, "offset": offset} for row in rows]
        batches += table_of(placed).to_batches()
        flying += placed if offset >= stands.get(vnode, 0) else []
    view = collect_frozen(Frozen({}, tuple(batches)), query, counting)
    fresh = not_stored(view.table, stands)
    assert cells_of(fresh) == naive(flying, query, counting)


@MANY
@given(st.lists(st.lists(ROWS, max_size=6), max_size=4), GROUPINGS, st.integers(1, 5), st.integers(1, 4))
def test_the_top_groups_are_those_with_the_most_rows(
    parts: list[list[Row]], grouping: Grouping, top: int, max_held: int
) -> None:
    """Whatever order parts come in; and however few cells are held, no row is lost or counted for another group."""
    rows = [row for part in parts for row in part]
    exact = naive(rows, Query(), grouping)
    counts = [grouping.from_rows(table_of(part)) for part in parts]
    answers = []
    for order in (counts, counts[::-1]):
        held = CellsFold(grouping)
        for part in order:
            held.add(Partial(part))
        told = top_groups(held.partial().table, grouping, top)
        assert not told.too_long
        assert group_count(held.partial().table, grouping) == len({cell[1:] for cell in exact})
        answers.append(sorted(zip(told.cells.to_pylist(), told.ranks.to_pylist(), strict=True), key=str))
    assert answers[0] == answers[1]
    expect_top(answers[0], exact, grouping, top)

    few = CellsFold(grouping, max_cells=max_held)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cells_module, "_MIN_FRESH", 1)
        for part in counts:
            few.add(Partial(part))
    expect_lower_bounds(few.partial().table.to_pylist(), exact, grouping)


def expect_top(answer: list[tuple[Row, int]], exact: Cells, grouping: Grouping, top: int) -> None:
    totals: Counter[tuple[Any, ...]] = Counter()
    for (_, *values), count in exact.items():
        totals[tuple(values)] += count
    if grouping.by:
        order = sorted(totals, key=lambda group: (-totals[group], [(v is None, v or "") for v in group]))
    else:
        order = [()]
    kept = order[:top]
    expected: Counter[tuple[Any, ...]] = Counter()
    for (start, *values), count in exact.items():
        group = tuple(values)
        alone = group in kept
        rank = order.index(group) if alone else len(kept)
        expected[start, group if alone else (None,) * len(group), not alone, rank] += count
    names = [f"by_{at}" for at in range(len(grouping.by))]
    found = {(r["start_us"], tuple(r[n] for n in names), r["other"], rank): r["count"] for r, rank in answer}
    assert found == dict(expected)


def expect_lower_bounds(cells: list[Row], exact: Cells, grouping: Grouping) -> None:
    per_start: Counter[Any] = Counter()
    for cell in cells:
        per_start[cell["start_us"]] += cell["count"]
        key = (cell["start_us"], *(cell[f"by_{at}"] for at in range(len(grouping.by))))
        assert cell["other"] or cell["count"] <= exact[key]
    expected: Counter[Any] = Counter()
    for (start, *_), count in exact.items():
        expected[start] += count
    assert per_start == expected


@MANY
@given(st.lists(ROWS, max_size=8), FIELDS, st.integers(1, 3), st.integers(1, 4))
def test_finer_buckets_add_up_to_coarser_ones(rows: list[Row], field: Field, interval_us: int, times: int) -> None:
    fine = Grouping(interval_us, (field,)).from_rows(table_of(rows))
    coarse = Grouping(interval_us * times, (field,))
    assert cells_of(coarse.coarser(fine)) == naive(rows, Query(), coarse)


@MANY
@given(st.lists(ROWS, min_size=1, max_size=12), COUNTINGS, st.integers(0, 12), st.integers(0, 12))
def test_slices_are_counted_as_what_they_show(
    rows: list[Row], counting: CellCollector, first: int, length: int
) -> None:
    """Arrow's slices share buffers with what lies around them; counting must not see that."""
    shown = table_of(rows).slice(first, length)
    cells = cells_of(counting.from_rows(shown))
    assert cells == naive(rows[first : first + length], Query(), counting)


# ------------------------------------------------------------------------------------------------ a whole aggregation
class Owner:
    """InFlight whose one owner holds some records of virtual node 0, the first of which the table holds too."""

    def __init__(self, batches: list[pa.RecordBatch]) -> None:
        self._batches = batches

    async def views(
        self,
        tenant: str,
        query: Query,
        min_ends: Mapping[int, int],
        timeout_s: float,
        *,
        collector: Collector,
    ) -> list[View]:
        assert isinstance(collector, CellCollector)
        ranges = {vnode: VnodeRange(0, end) for vnode, end in min_ends.items()}
        return [collect_frozen(Frozen(ranges, tuple(self._batches)), query, collector)]


def aggregated(
    objects: list[list[Row]], flying: list[list[Row]], query: Query, aggregation: Aggregation, pick: Any, width: int
) -> AnswerState:
    """Run an aggregation over objects and records in flight, tasks ending as `pick` says."""

    async def run() -> AnswerState:
        catalog, results = MemoryCatalog(), MemoryResultStore(lambda: 0)
        store, entries = stored(objects)
        catalog.writer().commit(entries, [], {})
        log = MemoryLog(1)
        await log.append([Record(0, b"")] * (1 + len(flying)))
        catalog.writer().commit([], [], vnode_advances(await log.log_id(), {0: Advance(0, 1)}))
        repeated = [{**row, "vnode": 0, "offset": 0} for row in objects[0]] if objects else []
        batches = [batch for record in [repeated, *flying] if record for batch in table_of(record).to_batches()]
        executor = Shuffled(store, width, pick)
        limits = SearchLimits(in_place_bytes=0, task_bytes=1)
        searcher = Searcher(log, catalog, store, Owner(batches), executor=executor, results=results, limits=limits)
        query_id = await searcher.start_count("default", query, aggregation)
        await searcher.wait("default", query_id, 60)
        return await results.state("default", query_id)

    return asyncio.run(run())


@settings(MANY, max_examples=examples(100))
@given(
    st.lists(st.lists(ROWS, min_size=1, max_size=6), max_size=4),
    st.lists(st.lists(ROWS, min_size=1, max_size=3), max_size=3),
    QUERIES,
    st.lists(FIELDS, max_size=2, unique=True).map(tuple),
    st.sampled_from([None, 1, 60]),
    st.booleans(),
    st.randoms(use_true_random=False),
    st.integers(1, 4),
)
def test_an_aggregation_counts_what_is_stored_and_in_flight_once(
    objects: list[list[Row]],
    flying: list[list[Row]],
    query: Query,
    by: tuple[Field, ...],
    interval_s: int | None,
    auto: bool,
    chance: Any,
    width: int,
) -> None:
    spread = [[{**row, "timestamp": T0_US + (row["timestamp"] - T0_US) * 400_000} for row in r] for r in objects]
    # Each record in flight has its offset, after that of the one which is stored already.
    flying = [[{**row, "vnode": 0, "offset": 1 + n} for row in record] for n, record in enumerate(flying)]
    names = tuple(f"n{at}" for at in range(len(by)))
    grouping = Grouping(None if auto or interval_s is None else interval_s * SECOND_US, by)
    asked = Aggregation(grouping, names, top=1_000, auto=auto)
    state = aggregated(spread, flying, query, asked, chance.randrange, width)
    assert (state.state, state.complete, state.incomplete) == ("done", True, ())
    assert state.buckets is not None
    if auto:
        assert state.interval_s is not None
        grouping = replace(grouping, interval_us=state.interval_s * SECOND_US)
        assert len({bucket["start"] for bucket in state.buckets}) <= AUTO_BUCKETS
    rows = [row for part in (*spread, *flying) for row in part]
    expected = naive(rows, query, grouping)
    found = Counter[tuple[Any, ...]]()
    for bucket in state.buckets:
        start = None if bucket["start"] is None else parse_timestamp_us(bucket["start"])
        found[start, *(bucket["by"][name] for name in names)] += bucket["count"]
    assert len(found) == len(state.buckets)
    assert found == expected
    starts = [bucket["start"] or "" for bucket in state.buckets]
    assert starts == sorted(starts)
    assert state.progress["rows_matched"] == sum(expected.values())
