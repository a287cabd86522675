"""Scans on a real S3 server: what they cost in requests, and that what is read is scanned as it comes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from random import Random

import pyarrow as pa
import pytest

from ess_ray.adapters.s3_store import S3ObjectStore
from ess_ray.core import chunk
from ess_ray.core.chunk.read import STREAM_GAPS
from ess_ray.core.collect import Rows
from ess_ray.core.query import Contains, Equals, Field, Order, Query
from ess_ray.ports import ObjectEntry, ScanTask
from ess_ray.search.scan import run_task
from tests.proxy import Proxy
from tests.systems import wait_until

Make = Callable[..., pa.Table]
ROWS = 60_000


@pytest.fixture
def stored(store: S3ObjectStore, make_events: Make, t0_us: int, s3_proxy: Proxy) -> ObjectEntry:
    """An object of four row groups, put; the count of requests begins after it."""
    messages = [f"request {i:x} of a user took long" for i in range(ROWS)]
    levels = ["ERROR" if i % 1_000 == 0 else "INFO" for i in range(ROWS)]
    attributes = [[("user", sha256(b"%d" % i).hexdigest()[:24])] for i in range(ROWS)]
    rows = make_events([t0_us + i for i in range(ROWS)], messages, level=levels, attributes=attributes)
    made = chunk.encode_object(rows, (), ())
    key = made.key("default")
    store.put(key, made.data)
    s3_proxy.forget()
    return ObjectEntry(key, made.data.size, "default", "2026-09-21", 13, ROWS, made.min_us, made.max_us, 0)


MESSAGE = Field("message")
SCANS = {
    "ruled out by the index": (Query(Contains(MESSAGE, "needle in a haystack", ignore_case=True)), 0, 1),
    "a rare word": (Query(Contains(MESSAGE, "request 9c3f of", ignore_case=True)), 1, 3),
    "a word of every row": (Query(Contains(MESSAGE, "took long", ignore_case=True), limit=10), ROWS, 3),
    "a small column": (Query(Equals(Field("level"), "ERROR", ignore_case=True), limit=200), 60, 3),
    "the newest": (Query(limit=5), ROWS, 3),
}


@pytest.mark.parametrize("name", SCANS)
def test_a_scan_costs_the_promised_requests(
    store: S3ObjectStore, stored: ObjectEntry, s3_proxy: Proxy, name: str
) -> None:
    query, hits, most = SCANS[name]
    reader = chunk.open_object(store, stored.key, stored.size)
    found = chunk.collect_object(reader, query, Rows())
    assert len(found.table) == min(hits, query.limit)
    seen = s3_proxy.requests()
    assert {each.method for each in seen} == {"GET"}
    assert seen[0].range.startswith("bytes=-")
    assert len(seen) == reader.gets
    assert len(seen) <= most
    assert found.rows_matched == hits or len(found.table) == query.limit


def test_a_task_counts_what_it_asked_for(store: S3ObjectStore, stored: ObjectEntry, s3_proxy: Proxy) -> None:
    query = SCANS["a rare word"][0]
    first = run_task(store, ScanTask("default", query, (stored,)))
    assert (first.partial.rows_matched, first.failed) == (1, ())
    assert len(s3_proxy.requests()) == first.cost.gets <= 3
    s3_proxy.forget()
    again = run_task(store, ScanTask("default", query, (stored,)))
    assert len(s3_proxy.requests()) == again.cost.gets == first.cost.gets - 1  # the process knows the footer


@pytest.fixture
def large(store: S3ObjectStore, make_events: Make, t0_us: int, s3_proxy: Proxy) -> ObjectEntry:
    """An object of ten row groups, over 8 MiB: more than is read without a stream."""
    random = Random(7)
    messages = [random.randbytes(200).hex() for _ in range(ROWS)]
    rows = make_events([t0_us + i for i in range(ROWS)], messages)
    made = chunk.encode_object(rows, (), limits=chunk.ObjectLimits(rows_per_group=6_000))
    key = made.key("default")
    store.put(key, made.data)
    s3_proxy.forget()
    assert made.data.size > (STREAM_GAPS + 2) * store.coalesce_bytes
    return ObjectEntry(key, made.data.size, "default", "2026-09-21", 13, ROWS, made.min_us, made.max_us, 0)


@pytest.mark.parametrize("order", ["newest", "oldest"])
def test_a_large_scanned_object_takes_three_requests(
    store: S3ObjectStore, large: ObjectEntry, s3_proxy: Proxy, order: Order
) -> None:
    query = Query(Contains(MESSAGE, "zq~", ignore_case=True), order=order)
    result = run_task(store, ScanTask("default", query, (large,)))
    assert result.failed == ()
    assert len(s3_proxy.requests()) == result.cost.gets == 3
    assert result.cost.bytes_read == large.size - len(b"PAR1")


def test_row_groups_are_scanned_while_others_are_still_to_come(
    store: S3ObjectStore, large: ObjectEntry, s3_proxy: Proxy
) -> None:
    asked = 0

    def cancelled() -> bool:
        # It is asked before each row group: at the sixth, the bytes of the last ones have not left the server.
        nonlocal asked
        asked += 1
        if asked == 6:
            s3_proxy.release()
        return False

    s3_proxy.hold(after_bytes=large.size * 3 // 4)
    query = Query(Contains(MESSAGE, "zq~", ignore_case=True))
    result = run_task(store, ScanTask("default", query, (large,)), cancelled)
    assert (result.failed, result.cost.gets, s3_proxy.left()) == ((), 3, 0)


def test_a_cancelled_scan_ends_its_request(store: S3ObjectStore, large: ObjectEntry, s3_proxy: Proxy) -> None:
    asked = 0

    def cancelled() -> bool:
        nonlocal asked
        asked += 1
        return asked > 4

    s3_proxy.hold(after_bytes=large.size // 2)
    query = Query(Contains(MESSAGE, "zq~", ignore_case=True))
    run_task(store, ScanTask("default", query, (large,)), cancelled)
    s3_proxy.release()
    wait_until(lambda: s3_proxy.left() == 1, "the answer is left")


def test_a_missing_object_is_named_by_the_task(store: S3ObjectStore, stored: ObjectEntry) -> None:
    store.delete(stored.key)
    gone = replace(stored, key=stored.key.replace("0" * 32, "1" * 32))
    found = run_task(store, ScanTask("default", SCANS["a rare word"][0], (gone,)))
    assert [key for key, _ in found.failed] == [gone.key]
