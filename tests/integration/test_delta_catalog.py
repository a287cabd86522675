"""The Delta catalog as a real table: other readers, checkpoints and clean-ups, many objects."""

from __future__ import annotations

import json
import os
import random
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import polars
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable

from ess_ray.adapters.delta_catalog import CHECKPOINT_EVERY, DeltaCatalog
from ess_ray.adapters.delta_files import LogFiles
from ess_ray.adapters.delta_making import TABLE_SCHEMA
from ess_ray.adapters.delta_snapshot import MAX_RECENT
from ess_ray.adapters.object_store import LocalObjectStore
from ess_ray.core.chunk import encode_object
from ess_ray.core.errors import BadRequest, Fenced, UnknownOutcome
from ess_ray.core.timestamps import partition_of
from ess_ray.ports import Advance, ObjectEntry, vnode_advances
from ess_ray.table.replacing import count_up
from tests.delta_tables import DAYS_S, HOUR_US, entry, grow_old, log_folder
from tests.formats import encode_object_1

Make = Callable[..., pa.Table]


# ------------------------------------------------------------------------------------------------------ other readers
def put_events(store: LocalObjectStore, events: pa.Table, tenant: str) -> ObjectEntry:
    times = events.column("timestamp").cast(pa.int64()).to_pylist()
    sink = pa.BufferOutputStream()
    pq.write_table(events, sink)
    made = entry(times[0], times[-1], tenant, len(events), sink.tell())
    store.put(made.key, sink.getvalue())
    return made


@pytest.mark.parametrize("checkpointed", [False, True])
def test_polars_and_deltalake_read_what_we_committed(
    tmp_path: Path, make_events: Make, t0_us: int, checkpointed: bool
) -> None:
    catalog, store = DeltaCatalog(tmp_path), LocalObjectStore(tmp_path)
    writer, entries = catalog.writer(), []
    for number in range(6):
        start_us = t0_us + number * HOUR_US
        events = make_events([start_us + i for i in range(10)], attributes=[[("k", "v")]] * 10, first=number * 10)
        entries.append(put_events(store, events, "ab" if number % 2 else "default"))
        writer.commit([entries[-1]], [], vnode_advances("log", {0: Advance(number * 10, number * 10 + 10)}))
    view = writer.view()
    writer.commit([], entries[:1], count_up(view, 9))
    with catalog.exclusive():
        pass  # leaves the lock file, which no reader may mind
    if checkpointed:
        assert catalog.checkpoint(every=1) is not None
    frame = polars.scan_delta(str(tmp_path))
    assert frame.collect().height == 50
    assert frame.filter(polars.col("tenant") == "ab").collect().height == 30
    late = polars.lit(t0_us + 4 * HOUR_US).cast(polars.Datetime("us", "UTC"))
    assert frame.filter(polars.col("timestamp") >= late).collect().height == 20
    date, hour = partition_of(t0_us + 2 * HOUR_US)
    there = (polars.col("hour") == hour) & (polars.col("date").cast(polars.String) == date)
    assert frame.filter(there).collect().height == 10
    rows = pa.table(DeltaTable(tmp_path).scan(columns=["offset", "tenant"], predicate="tenant = 'ab'").read_all())
    assert sorted(rows.column("offset").to_pylist()) == [*range(10, 20), *range(30, 40), *range(50, 60)]


def test_the_table_is_what_the_design_says(tmp_path: Path) -> None:
    DeltaCatalog(tmp_path)
    table = DeltaTable(tmp_path)
    assert table.metadata().partition_columns == ["tenant", "date", "hour"]
    assert [field.name for field in table.schema().fields] == TABLE_SCHEMA.names
    configuration = table.metadata().configuration
    assert configuration["delta.logRetentionDuration"] == "interval 1 days"
    assert "delta.setTransactionRetentionDuration" not in configuration


def test_a_table_of_format_1_gets_the_columns_that_came_since(
    tmp_path: Path, make_events: Make, t0_us: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Polars refuses a file with a column that the table does not know."""
    store = LocalObjectStore(tmp_path)
    with monkeypatch.context() as then:
        schema = pa.schema([field for field in TABLE_SCHEMA if field.name not in ("attribute_types", "event_hash")])
        then.setattr("ess_ray.adapters.delta_making.TABLE_SCHEMA", schema)
        before = {"delta.logRetentionDuration": "interval 1 days", "delta.dataSkippingStatsColumns": "timestamp"}
        then.setattr("ess_ray.adapters.delta_making._CONFIGURATION", before)
        old = DeltaCatalog(tmp_path)
        earlier, reader = old.writer(), old.snapshot()
        made, data = encode_object_1(make_events([t0_us]), [])
        store.put(made.key, data)
        assert earlier.next_offsets("log", [0]) == {0: None}
        earlier.commit([made], [], vnode_advances("log", {0: Advance(0, 1)}))
    catalog = DeltaCatalog(tmp_path)
    writer = catalog.writer()
    assert writer.next_offsets("log", [0]) == {0: 1}
    rows = make_events([t0_us + 1], first=1, event_hash=[b"0123456789abcdef"], attribute_types=["n"])
    encoded = encode_object(rows, [])
    new = replace(made, key=encoded.key("default"), size=encoded.data.size)
    new = replace(new, first_arrival_us=encoded.first_arrival_us, last_arrival_us=encoded.last_arrival_us)
    store.put(new.key, encoded.data)
    writer.commit([new], [], vnode_advances("log", {0: Advance(1, 2)}))
    assert new.last_arrival_us is not None
    told = {entry.key: entry.last_arrival_us for entry in DeltaCatalog(tmp_path).snapshot().objects(None, None, None)}
    assert told == {made.key: None, new.key: new.last_arrival_us}, "what was not kept then stays unknown"
    assert {field.name for field in DeltaTable(tmp_path).schema().fields} == set(TABLE_SCHEMA.names)
    frame = polars.read_delta(str(tmp_path)).sort("offset")
    assert frame["event_hash"].to_list() == [None, b"0123456789abcdef"]
    assert frame["attribute_types"].to_list() == [None, "n"]
    assert {entry.key for entry in catalog.snapshot().objects(None, None, None)} == {made.key, new.key}
    assert (reader.version, old.snapshot().version) == (0, catalog.snapshot().version)
    assert earlier.next_offsets("log", [0]) == {0: 2}, "who was there before goes on"
    version = DeltaTable(tmp_path).version()
    assert catalog.writer().next_offsets("log", [0]) == {0: 2}
    assert DeltaTable(tmp_path).version() == version, "once is enough"


@pytest.mark.parametrize("cleaned_up", [False, True], ids=["the first commit", "a checkpoint alone"])
def test_another_table_is_not_taken_for_ours(tmp_path: Path, cleaned_up: bool) -> None:
    """Told from the log's files, since opening a table costs a quarter of a second at 100,000 objects."""
    schema = pa.schema([("day", pa.string()), ("n", pa.int64())])
    other = DeltaTable.create(tmp_path / "other", schema, partition_by=["day"])
    DeltaCatalog(tmp_path / "ours").checkpoint(0)
    if cleaned_up:
        other.create_checkpoint()
        for folder in ("other", "ours"):
            (log_folder(tmp_path / folder) / f"{0:020d}.json").unlink()
    with pytest.raises(BadRequest, match=r"another Delta table, partitioned by \['day'\]"):
        DeltaCatalog(tmp_path / "other")
    assert DeltaCatalog(tmp_path / "ours").snapshot().version == 0
    assert LogFiles(tmp_path / "ours").partition_columns() == DeltaTable(tmp_path / "ours").metadata().partition_columns


def test_transactions_carry_no_date_by_which_they_could_expire(tmp_path: Path) -> None:
    writer = DeltaCatalog(tmp_path).writer()
    version = writer.commit([], [], vnode_advances("log", {0: Advance(0, 0)}))
    lines = (log_folder(tmp_path) / f"{version:020d}.json").read_text().splitlines()
    found = [json.loads(line)["txn"] for line in lines if '"txn"' in line]
    assert found == [{"appId": "log/log/vnode/0", "version": 0}]


def test_many_threads_make_one_table(tmp_path: Path) -> None:
    for turn in range(5):
        root, barrier = tmp_path / str(turn), threading.Barrier(8)

        def make(_: int, root: Path = root, barrier: threading.Barrier = barrier) -> None:
            barrier.wait(30)
            DeltaCatalog(root)

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(make, range(8)))
        assert LogFiles(root).versions() == [0]


def test_a_writer_whose_files_were_all_cleaned_up_reopens(tmp_path: Path) -> None:
    catalog = DeltaCatalog(tmp_path)
    writer, idle = catalog.writer(), catalog.writer()
    writer.commit([], [], vnode_advances("log", {0: Advance(0, 1)}))
    idle.next_offsets("log", [0])
    for step in range(1, 4):
        writer.commit([], [], vnode_advances("log", {0: Advance(step, step + 1)}))
    grow_old(tmp_path)
    catalog.checkpoint(every=1)
    (log_folder(tmp_path) / "_last_checkpoint").unlink()  # only a hint: its loss must not matter either
    assert idle.commit([], [], vnode_advances("log", {0: Advance(4, 5)})) == 5


# ------------------------------------------------------------------------------------------------ checkpoints, clean-up
def test_no_checkpoint_and_no_clean_up_but_by_maintenance(tmp_path: Path) -> None:
    catalog = DeltaCatalog(tmp_path)
    writer = catalog.writer()
    for step in range(CHECKPOINT_EVERY + 5):
        writer.commit([], [], vnode_advances("log", {0: Advance(step, step + 1)}))
    names = {file.suffix for file in log_folder(tmp_path).iterdir()}
    assert names == {".json"}
    assert catalog.checkpoint() == CHECKPOINT_EVERY + 5
    assert catalog.checkpoint() is None
    assert LogFiles(tmp_path).versions() == list(range(CHECKPOINT_EVERY + 6))


def test_a_table_reopens_after_checkpoint_and_clean_up(tmp_path: Path, t0_us: int) -> None:
    catalog = DeltaCatalog(tmp_path)
    writer, asleep, zombie = catalog.writer(), catalog.writer(), catalog.writer()
    idle = DeltaCatalog(tmp_path)
    idle.snapshot()
    seed = entry(t0_us, t0_us)
    writer.commit([seed], [], {})
    view = asleep.view()
    entries = [entry(t0_us + i, t0_us + i + 123_456) for i in range(30)]
    for step, made in enumerate(entries):
        writer.commit([made], [], vnode_advances("log", {step % 4: Advance(step // 4, step // 4 + 1)}))
    zombie.commit([], [], vnode_advances("log", {9: Advance(0, 0)}))
    sleepy = catalog.writer()
    sleepy.next_offsets("log", [9])
    grow_old(tmp_path)
    assert catalog.checkpoint(every=1) == 32
    assert LogFiles(tmp_path).versions() == [32]
    expected = sorted([seed, *entries], key=lambda made: made.key)
    for again in (catalog, idle, DeltaCatalog(tmp_path)):
        snapshot = again.snapshot()
        assert sorted(snapshot.objects(None, None, None), key=lambda made: made.key) == expected
        assert snapshot.next_offsets("log", [0, 1, 2, 3, 4, 9]) == {0: 8, 1: 8, 2: 7, 3: 7, 4: None, 9: 0}
    # Table objects from before the clean-up: a pinned one is refused (`Invalid table version`), the others go on.
    assert view.version == 1
    with pytest.raises(UnknownOutcome):
        asleep.commit([entry(t0_us, t0_us)], [seed], count_up(view, 3))
    assert sleepy.commit([], [], vnode_advances("log", {9: Advance(0, 2)})) == 33
    assert zombie.commit([], [], vnode_advances("log", {9: Advance(2, 5)})) == 34
    with pytest.raises(Fenced):
        asleep.commit([], [], vnode_advances("log", {0: Advance(0, 9)}))
    assert asleep.next_offsets("log", [0, 9]) == {0: 8, 9: 5}
    assert idle.snapshot().next_offset("log", 9) == 5


def test_transactions_are_those_of_deltalake(tmp_path: Path) -> None:
    catalog = DeltaCatalog(tmp_path)
    writer = catalog.writer()
    for step in range(12):
        writer.commit([], [], vnode_advances("log", {step % 5: Advance(step // 5, step // 5 + 1)}))
        if step == 6:
            pinned = writer.view()
            assert catalog.checkpoint(every=1) is not None
    view = writer.view()
    writer.commit([], [], count_up(view, 1))
    table, snapshot = DeltaTable(tmp_path), DeltaCatalog(tmp_path).snapshot()
    names = [*(f"log/log/vnode/{vnode}" for vnode in range(6)), "maint-1"]
    assert {name: snapshot.transactions.get(name) for name in names} == {
        name: table.transaction_version(name) for name in names
    }
    assert pinned.next_offsets("log", [0, 1, 2, 4]) == {0: 2, 1: 2, 2: 1, 4: 1}
    assert LogFiles(tmp_path).transactions(3) == {f"log/log/vnode/{vnode}": 1 for vnode in range(3)}


def test_removals_are_remembered_for_a_day(tmp_path: Path, t0_us: int) -> None:
    catalog = DeltaCatalog(tmp_path)
    writer, gone, later = catalog.writer(), entry(t0_us, t0_us), entry(t0_us, t0_us)
    writer.commit([gone, later], [], vnode_advances("log", {0: Advance(0, 2)}))
    view = writer.view()
    version = writer.commit([], [gone], count_up(view, 1))
    (named,) = writer.removed()
    assert abs(named.removed_us - time.time_ns() // 1000) < 60_000_000
    file = log_folder(tmp_path) / f"{version:020d}.json"
    almost = time.time() - DAYS_S + 600
    os.utime(file, (almost, almost))
    catalog.checkpoint(every=1)
    assert [found.key for found in DeltaCatalog(tmp_path).writer().removed()] == [gone.key]
    view = writer.view()
    writer.commit([], [later], count_up(view, 1))
    # A clean-up keeps the commit of the checkpoint itself.
    writer.commit([], [], vnode_advances("log", {0: Advance(2, 2)}))
    grow_old(tmp_path)
    catalog.checkpoint(every=1)
    assert writer.removed() == []


# --------------------------------------------------------------------------------------------------------- many objects
def test_plans_over_many_objects_are_those_of_a_plain_filter(tmp_path: Path, t0_us: int) -> None:
    chance = random.Random(11)
    catalog = DeltaCatalog(tmp_path)
    catalog.snapshot()  # so that what follows arrives commit by commit, through folds of the block
    writer, there = catalog.writer(), dict[str, ObjectEntry]()
    for step in range(10):
        made = []
        for _ in range(MAX_RECENT // 2):
            start_us = t0_us + chance.randrange(500) * HOUR_US // 7
            made.append(entry(start_us, start_us + chance.randrange(HOUR_US), chance.choice("abc")))
        writer.commit(made, [], vnode_advances("log", {0: Advance(step, step + 1)}))
        there.update((one.key, one) for one in made)
        gone = chance.sample(sorted(there), 40)
        view = writer.view()
        writer.commit([], [there.pop(key) for key in gone], count_up(view, step))
        again = there[chance.choice(sorted(there))]
        writer.commit([again], [], {})
        catalog.snapshot()
    assert len(there) == 10 * MAX_RECENT // 2 - 400
    for snapshot in (catalog.snapshot(), DeltaCatalog(tmp_path).snapshot()):
        for _ in range(30):
            tenant = chance.choice(["a", "b", "c", "d", None])
            start_us, end_us = (chance.choice([None, t0_us + chance.randrange(500) * HOUR_US // 7]) for _ in range(2))
            expected = [
                one.key
                for one in there.values()
                if (tenant is None or one.tenant == tenant)
                and (start_us is None or one.max_us >= start_us)
                and (end_us is None or one.min_us < end_us)
                and (start_us is None or end_us is None or start_us < end_us)
            ]
            found = snapshot.objects(tenant, start_us, end_us)
            assert sorted(one.key for one in found) == sorted(expected)
            assert all(there[one.key] == one for one in found)
            chosen = snapshot.select(tenant, start_us, end_us)
            assert len(chosen) == len(found)
            some = [chance.randrange(len(found)) for _ in range(20)] if found else []
            assert chosen.entries(some) == [found[at] for at in some], "in the order asked for, repeats too"
            columns = zip(chosen.sizes.tolist(), chosen.min_us.tolist(), chosen.max_us.tolist(), strict=True)
            assert list(columns) == [(one.size, one.min_us, one.max_us) for one in found]
            assert snapshot.count(tenant) == len(snapshot.objects(tenant, None, None))
