"""The catalog in a real bucket: made once, read by others, and whole whatever breaks on the way to the server."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import polars as pl
import pyarrow as pa
import pytest
from deltalake import DeltaTable

from ess_ray.adapters.delta_catalog import DeltaCatalog
from ess_ray.adapters.delta_log import checkpoint_name
from ess_ray.adapters.delta_s3 import S3Log
from ess_ray.adapters.s3_location import S3Location
from ess_ray.core import chunk
from ess_ray.core.errors import BadRequest, CorruptData, Fenced, Unavailable, UnknownOutcome
from ess_ray.core.timestamps import partition_of
from ess_ray.ports import Advance, ObjectEntry, vnode_advances
from ess_ray.table.replacing import count_up
from tests.damages import flipped
from tests.proxy import Fault, Proxy
from tests.servers import READER

Make = Callable[..., pa.Table]
DEADLINE_S = 60.0


def entry(at_us: int, number: int, tenant: str = "default", size: int = 1, rows: int = 1) -> ObjectEntry:
    date, hour = partition_of(at_us)
    key = f"tenant={tenant}/date={date}/hour={hour:02d}/{at_us}-{at_us}-{number:032x}-f1-x0.parquet"
    return ObjectEntry(key, size, tenant, date, hour, rows, at_us, at_us, at_us // 1000 * 1000)


@pytest.fixture
def proxied(s3_location: S3Location, s3_proxy: Proxy) -> S3Location:
    return replace(s3_location, endpoint=s3_proxy.endpoint)


def commits(proxy: Proxy) -> list[str]:
    """The PUTs of commit files."""
    return [seen.path for seen in proxy.requests("PUT", containing="_delta_log/")]


def test_many_threads_make_one_table(s3_location: S3Location) -> None:
    with ThreadPoolExecutor(8) as pool:
        catalogs = list(pool.map(lambda _: DeltaCatalog(s3_location), range(8), timeout=DEADLINE_S))
    assert {catalog.snapshot().version for catalog in catalogs} == {0}
    assert S3Log(s3_location).versions() == [0]


def test_an_old_table_without_its_first_commit_is_not_made_anew(s3_location: S3Location, t0_us: int) -> None:
    catalog = DeltaCatalog(s3_location)
    catalog.writer().commit([entry(t0_us, 1)], [], vnode_advances("log", {0: Advance(0, 1)}))
    assert catalog.checkpoint(every=1) == 1
    s3_location.open().delete("_delta_log/00000000000000000000.json")
    again = DeltaCatalog(s3_location)
    assert S3Log(s3_location).versions() == [1]
    assert again.snapshot().next_offset("log", 0) == 1


def test_another_table_is_not_taken_for_ours(s3_location: S3Location) -> None:
    DeltaTable.create(
        s3_location.url, pa.schema([pa.field("a", pa.int64())]), storage_options=s3_location.storage_options()
    )
    with pytest.raises(BadRequest, match="another Delta table"):
        DeltaCatalog(s3_location)


def test_others_read_what_we_committed(s3_location: S3Location, make_events: Make, t0_us: int) -> None:
    store, catalog = s3_location.open(), DeltaCatalog(s3_location)
    made = chunk.encode_object(make_events([t0_us, t0_us + 1], ["one", "two"]), (), ())
    date, hour = partition_of(t0_us)
    key = made.key("default")
    store.put(key, made.data)
    stored = ObjectEntry(key, made.data.size, "default", date, hour, 2, made.min_us, made.max_us, store.now_us())
    catalog.writer().commit([stored], [], vnode_advances("log", {0: Advance(0, 2)}))
    options = s3_location.storage_options()
    assert sorted(pl.read_delta(s3_location.url, storage_options=options)["message"]) == ["one", "two"]


def test_checkpoints_and_what_came_since_tell_the_same(s3_location: S3Location, t0_us: int) -> None:
    catalog = DeltaCatalog(s3_location)
    writer = catalog.writer()
    for step in range(12):
        writer.commit([entry(t0_us, step)], [], vnode_advances("log", {step % 3: Advance(step // 3, step // 3 + 1)}))
        if step == 6:
            assert catalog.checkpoint(every=5) == 7
            assert catalog.checkpoint(every=5) is None
    for snapshot in (catalog.snapshot(), DeltaCatalog(s3_location).snapshot()):
        assert len(snapshot.objects(None, None, None)) == 12
        assert snapshot.next_offsets("log", [0, 1, 2]) == {0: 4, 1: 4, 2: 4}
    assert S3Log(s3_location).checkpoint_version() == 7


def test_a_flipped_bit_of_a_checkpoint_is_healed_by_its_commits(s3_location: S3Location, t0_us: int) -> None:
    catalog, store = DeltaCatalog(s3_location), s3_location.open()
    writer = catalog.writer()
    for step in range(6):
        writer.commit([entry(t0_us, step)], [], vnode_advances("log", {0: Advance(step, step + 1)}))
        if step == 3:
            assert catalog.checkpoint(every=1) == 4
    right = catalog.snapshot().objects(None, None, None)
    key = f"_delta_log/{checkpoint_name(4)}"
    store.put(key, flipped(store.get(key)[0], 4_000))
    with pytest.raises(CorruptData, match=checkpoint_name(4)):
        DeltaCatalog(s3_location, mends=False)
    found = DeltaCatalog(s3_location).snapshot()
    assert sorted(map(repr, found.objects(None, None, None))) == sorted(map(repr, right))
    assert found.next_offsets("log", [0]) == {0: 6}
    (aside,) = store.list("_damaged/")
    assert checkpoint_name(4) in aside.key
    assert store.head(key) is None


def test_a_snapshot_of_an_unchanged_table_is_two_requests(proxied: S3Location, s3_proxy: Proxy, t0_us: int) -> None:
    catalog = DeltaCatalog(proxied)
    catalog.writer().commit([entry(t0_us, 1)], [], vnode_advances("log", {0: Advance(0, 1)}))
    catalog.snapshot()
    s3_proxy.forget()
    catalog.snapshot()
    assert [seen.method for seen in s3_proxy.requests()] == ["GET", "GET"]
    DeltaCatalog(proxied).writer().commit([entry(t0_us, 2)], [], vnode_advances("log", {0: Advance(1, 2)}))
    assert catalog.snapshot().next_offset("log", 0) == 2


def test_a_commit_is_one_conditional_put(proxied: S3Location, s3_proxy: Proxy, t0_us: int) -> None:
    writer = DeltaCatalog(proxied).writer()
    writer.commit([entry(t0_us, 1)], [], vnode_advances("log", {0: Advance(0, 1)}))
    s3_proxy.forget()
    writer.commit([entry(t0_us, 2)], [], vnode_advances("log", {0: Advance(1, 2)}))
    assert [path.rpartition("/")[2] for path in commits(s3_proxy)] == ["00000000000000000002.json"]
    assert len(s3_proxy.requests("PUT")) == 1


def test_a_commit_costs_the_same_with_many_virtual_nodes_and_commits(
    proxied: S3Location, s3_proxy: Proxy, t0_us: int
) -> None:
    """deltalake reads every commit since the checkpoint for each transaction that it is asked for."""
    writer = DeltaCatalog(proxied).writer()
    writer.commit([], [], vnode_advances("log", {vnode: Advance(0, 0) for vnode in range(64)}))
    costs: list[int] = []
    for step in range(10):
        s3_proxy.forget()
        writer.commit(
            [entry(t0_us, step)], [], vnode_advances("log", {vnode: Advance(step, step + 1) for vnode in range(64)})
        )
        costs.append(len(s3_proxy.requests()))
    assert max(costs) <= 16
    assert costs[-1] <= costs[0]


@pytest.mark.parametrize("fault", ["503", "reset"])
def test_a_commit_that_breaks_once_on_its_way_is_made(
    proxied: S3Location, s3_proxy: Proxy, t0_us: int, fault: Fault
) -> None:
    """Refused or broken before it reached the server: tried again inside, or unknown and then made anew."""
    writer, mine = DeltaCatalog(proxied).writer(), entry(t0_us, 1)
    writer.commit([], [], vnode_advances("log", {0: Advance(0, 0)}))
    s3_proxy.order(fault, method="PUT", containing="_delta_log/")
    try:
        writer.commit([mine], [], vnode_advances("log", {0: Advance(0, 5)}))
    except UnknownOutcome:
        if writer.next_offsets("log", [0]) == {0: 0}:
            writer.commit([mine], [], vnode_advances("log", {0: Advance(0, 5)}))
    assert writer.next_offsets("log", [0]) == {0: 5}
    assert [found.key for found in writer.snapshot().objects(None, None, None)] == [mine.key]


def test_a_lost_answer_of_a_commit_never_commits_twice(proxied: S3Location, s3_proxy: Proxy, t0_us: int) -> None:
    writer, mine = DeltaCatalog(proxied).writer(), entry(t0_us, 1)
    writer.commit([], [], vnode_advances("log", {0: Advance(0, 0)}))
    s3_proxy.order("drop", method="PUT", containing="_delta_log/")
    with pytest.raises(UnknownOutcome):
        writer.commit([mine], [], vnode_advances("log", {0: Advance(0, 5)}))
    assert writer.next_offsets("log", [0]) == {0: 5}
    assert [found.key for found in writer.snapshot().objects(None, None, None)] == [mine.key]
    with pytest.raises(Fenced):
        writer.commit([mine], [], vnode_advances("log", {0: Advance(0, 5)}))
    assert writer.snapshot().version == 2


def test_a_zombie_behind_a_slow_network_is_fenced(proxied: S3Location, s3_proxy: Proxy, t0_us: int) -> None:
    s3_proxy.delay(15, 40)
    entered: list[int] = []

    def overtake(moment: str) -> None:
        if moment == "before" and not entered:
            entered.append(1)
            DeltaCatalog(proxied).writer().commit([entry(t0_us, 2)], [], vnode_advances("log", {0: Advance(0, 8)}))

    catalog = DeltaCatalog(proxied)
    catalog.writer().commit([], [], vnode_advances("log", {0: Advance(0, 0)}))
    with pytest.raises(UnknownOutcome):
        DeltaCatalog(proxied, overtake).writer().commit(
            [entry(t0_us, 1)], [], vnode_advances("log", {0: Advance(0, 5)})
        )
    assert [found.key for found in catalog.snapshot().objects(None, None, None)] == [entry(t0_us, 2).key]


def test_removals_are_dated_by_the_store(s3_location: S3Location, t0_us: int) -> None:
    store, writer, old = s3_location.open(), DeltaCatalog(s3_location).writer(), entry(t0_us, 1)
    writer.commit([old], [], vnode_advances("log", {0: Advance(0, 1)}))
    before_us = store.now_us()
    view = writer.view()
    writer.commit([], [old], count_up(view, 3))
    (gone,) = DeltaCatalog(s3_location).writer().removed()
    assert gone.key == old.key
    assert before_us - 2_000_000 <= gone.removed_us <= store.now_us() + 2_000_000


def test_a_table_without_rights_is_unavailable(s3_location: S3Location, t0_us: int) -> None:
    DeltaCatalog(s3_location)
    reader = DeltaCatalog(replace(s3_location, access_key=READER.access_key, secret_key=READER.secret_key))
    assert reader.snapshot().version == 0
    with pytest.raises(UnknownOutcome):
        reader.writer().commit([entry(t0_us, 1)], [], vnode_advances("log", {0: Advance(0, 1)}))
    assert reader.snapshot().version == 0
    wrong: Any = replace(s3_location, secret_key="not-the-secret")
    with pytest.raises(Unavailable) as told:
        DeltaCatalog(wrong)
    assert "not-the-secret" not in str(told.value)
