"""Objects of every format are read by everything; one of a newer format is named, not taken for damaged."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import polars
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ess_ray.core.chunk import OffsetRange, StoredRequest, content_hash, encode_object, layout, open_object, write
from ess_ray.core.chunk.identity import IDENTITY, read_identities
from ess_ray.core.chunk.rows import read_rows
from ess_ray.core.collect import FieldNames, Grouping
from ess_ray.core.event import EVENT_SCHEMA, to_json_rows
from ess_ray.core.query import Contains, Equals, Field, Query
from ess_ray.ports import Advance, ObjectEntry, ScanTask, vnode_advances
from ess_ray.search.scan import run_task
from ess_ray.table.transfer import copy_table
from ess_ray.table.verify import verify
from ess_ray.testing import MemoryCatalog, MemoryObjectStore
from tests.formats import EVENT_SCHEMA_1, encode_object_1

Make = Callable[..., pa.Table]
REQUESTS = [StoredRequest("log", 0, 3, "key", "hash", 0, 1, 1_790_000_000_000_000)]


@pytest.fixture
def store(t0_us: int) -> MemoryObjectStore:
    return MemoryObjectStore(clock_us=lambda: t0_us)


@pytest.fixture(params=[600, 10])
def rows(make_events: Make, t0_us: int, request: pytest.FixtureRequest) -> pa.Table:
    """Rows without what format 2 brought; 600 make a skip index and several row groups, 10 neither."""
    count = request.param
    return make_events(
        [t0_us + i for i in range(count)],
        [f"message {i} ünï" for i in range(count)],
        level=["INFO", "ERROR"] * (count // 2),
        attributes=[[("a", str(i % 7)), ("b", "")] if i % 3 else None for i in range(count)],
        event_id=[f"id-{i}" if i % 2 else None for i in range(count)],
    )


def old_object(store: MemoryObjectStore, rows: pa.Table) -> ObjectEntry:
    entry, data = encode_object_1(rows, [OffsetRange("log", 0, 0, len(rows))], REQUESTS, "default", 100, 200)
    store.put(entry.key, data)
    return entry


def test_an_object_of_format_1_is_read_with_nulls_for_what_came_later(store: MemoryObjectStore, rows: pa.Table) -> None:
    entry = old_object(store, rows)
    reader = open_object(store, entry.key, entry.size)
    assert (reader.facts.format_version, reader.facts.requests) == (1, tuple(REQUESTS))
    assert bool(reader.index) == (len(rows) > 10)
    assert pa.concat_tables([reader.read_group(group) for group in range(reader.groups)]).equals(rows)
    taken = read_rows(reader, 0, EVENT_SCHEMA.names, pa.array([1, 3, 5], pa.int64()))
    assert pa.table(taken, schema=EVENT_SCHEMA).equals(rows.take([1, 3, 5]))
    assert read_identities(reader).equals(rows.select(IDENTITY))
    assert reader.facts.content_hash != content_hash(rows), "of its own columns"


def test_both_formats_give_the_same_answers(store: MemoryObjectStore, rows: pa.Table) -> None:
    new = encode_object(rows, [OffsetRange("log", 0, 0, len(rows))])
    key = new.key("default")
    store.put(key, new.data)
    old = old_object(store, rows)
    same = ObjectEntry(key, new.data.size, old.tenant, old.date, old.hour, old.rows, old.min_us, old.max_us, 0)
    for query in (
        Query(limit=1_000),
        Query(Contains(Field("message"), "7 ü", True)),
        Query(Equals(Field("a", True), "4", False)),
    ):
        found = [run_task(store, ScanTask("default", query, (entry,))) for entry in (old, same)]
        assert not found[0].failed + found[1].failed
        assert found[0].partial.table.equals(found[1].partial.table)
        assert len(found[0].partial.table)
    for counting in (Grouping(1_000, (Field("level"),)), FieldNames()):
        counts = [
            run_task(store, ScanTask("default", Query(), (e,), collector=counting)).partial.table for e in (old, same)
        ]
        assert counts[0] is not None
        assert counts[0].equals(counts[1])


def test_what_format_2_brought_is_in_no_answer(store: MemoryObjectStore, make_events: Make, t0_us: int) -> None:
    given: dict[str, Any] = {"attribute_types": ["n"], "event_hash": [b"0123456789abcdef"], "event_id": ["id"]}
    made = encode_object(make_events([t0_us], attributes=[[("a", "1")]], **given), [])
    key = made.key("default")
    store.put(key, made.data)
    entry = ObjectEntry(key, made.data.size, "default", "2026-09-21", 13, 1, t0_us, t0_us, 0)
    result = run_task(store, ScanTask("default", Query(), (entry,)))
    assert result.partial.table.column("event_hash").to_pylist() == [b"0123456789abcdef"]
    (shown,) = to_json_rows(result.partial.table)
    assert list(shown) == [*(name for name in EVENT_SCHEMA_1.names if name != "event_id"), "id"]
    counts = run_task(store, ScanTask("default", Query(), (entry,), collector=FieldNames())).partial.table
    assert counts is not None
    assert not {"attribute_types", "event_hash"} & set(counts.column("by_0").to_pylist())


def test_verify_and_copy_take_both_formats(store: MemoryObjectStore, rows: pa.Table, t0_us: int) -> None:
    catalog = MemoryCatalog(clock_us=lambda: t0_us)
    entry = old_object(store, rows)
    catalog.writer().commit([entry], [], vnode_advances("log", {0: Advance(0, len(rows))}))
    assert verify(catalog, store, deep=True).problems == []
    target, there = MemoryCatalog(clock_us=lambda: t0_us), MemoryObjectStore(clock_us=lambda: t0_us)
    assert copy_table(catalog, store, target, there, name="source").objects == 1
    assert there.get_range(entry.key, 0, entry.size) == store.get_range(entry.key, 0, entry.size)
    assert verify(target, there, deep=True).problems == []


def test_a_damaged_object_of_format_1_is_found_by_its_content_hash(
    store: MemoryObjectStore, make_events: Make, t0_us: int
) -> None:
    """It has no checksums: a search may not see it, `verify` does."""
    rows = make_events([t0_us, t0_us + 1], ["incompressible: 7f3a9c", "incompressible: 18bd02"])
    entry, data = encode_object_1(rows, [OffsetRange("log", 0, 0, 2)])
    at = data.index(b"7f3a9c")
    store.put(entry.key, data[:at] + b"8" + data[at + 1 :])
    catalog = MemoryCatalog(clock_us=lambda: t0_us)
    catalog.writer().commit([entry], [], vnode_advances("log", {0: Advance(0, 2)}))
    assert verify(catalog, store).problems == []
    (problem,) = verify(catalog, store, deep=True).problems
    assert (problem.check, problem.where) == ("content hash", entry.key)


def test_text_that_is_none_in_an_object_of_format_1_names_it(
    store: MemoryObjectStore, make_events: Make, t0_us: int
) -> None:
    """Else it would only fail where the answer becomes JSON, and take all other objects' rows along."""
    rows = make_events([t0_us, t0_us + 1], ["incompressible: 7f3a9c", "incompressible: 18bd02"])
    entry, data = encode_object_1(rows, [])
    at = data.index(b"7f3a9c")
    store.put(entry.key, data[:at] + b"\xff" + data[at + 1 :])
    result = run_task(store, ScanTask("default", Query(), (entry,)))
    assert [key for key, _ in result.failed] == [entry.key]


def test_an_object_of_a_newer_format_is_named_with_what_to_do(
    store: MemoryObjectStore, rows: pa.Table, monkeypatch: pytest.MonkeyPatch, t0_us: int
) -> None:
    with monkeypatch.context() as later:
        later.setattr(write, "Facts", lambda **facts: layout.Facts(**facts, format_version=3))
        made = encode_object(rows, [OffsetRange("log", 0, 0, len(rows))])
    key = made.key("default")
    store.put(key, made.data)
    entry = ObjectEntry(key, made.data.size, "default", "2026-09-21", 14, made.rows, made.min_us, made.max_us, 0)
    result = run_task(store, ScanTask("default", Query(), (entry,)))
    assert result.failed == ((key, f"{key}: format 3 is newer than this ess_ray: upgrade it"),)
    catalog = MemoryCatalog(clock_us=lambda: t0_us)
    catalog.writer().commit([entry], [], vnode_advances("log", {0: Advance(0, len(rows))}))
    (problem,) = verify(catalog, store).problems
    assert (problem.check, problem.where) == ("format", key)


def test_a_bug_of_ours_in_a_scan_names_the_object_and_is_logged(
    store: MemoryObjectStore, rows: pa.Table, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    entry = old_object(store, rows)

    def broken(*given: Any, **named: Any) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr("ess_ray.search.scan.collect_object", broken)
    result = run_task(store, ScanTask("default", Query(), (entry,)))
    assert result.failed == ((entry.key, f"{entry.key} cannot be read: ZeroDivisionError: a bug"),)
    assert "Traceback" in caplog.text


def test_pyarrow_and_polars_read_todays_objects(make_events: Make, t0_us: int) -> None:
    count = 20_000
    rows = make_events(
        [t0_us + i for i in range(count)],
        attributes=[[("a", str(i % 7))] if i % 3 else None for i in range(count)],
        event_id=[f"id-{i}" for i in range(count)],
        event_hash=[i.to_bytes(16, "big") for i in range(count)],
        attribute_types=["n" if i % 2 else None for i in range(count)],
    )
    made = encode_object(rows, [])
    assert made.index_bytes
    read = pq.read_table(pa.BufferReader(made.data), page_checksum_verification=True)
    assert read.cast(EVENT_SCHEMA).equals(rows)
    frame = polars.read_parquet(made.data.to_pybytes())
    assert frame["message"].to_list() == rows.column("message").to_pylist()
    assert frame["event_hash"].to_list() == rows.column("event_hash").to_pylist()
    late = polars.scan_parquet(made.data.to_pybytes()).filter(polars.col("offset") >= count - 5).collect()
    assert late.height == 5
