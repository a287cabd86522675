"""The ObjectStore port, sentence by sentence, over every store.

Another store joins with one more line in `STORES`.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pytest

from ess_ray.adapters.object_store import LocalObjectStore
from ess_ray.adapters.s3_location import S3Location
from ess_ray.core.errors import BadRequest, NotFound
from ess_ray.ports import ObjectStore
from ess_ray.testing import MemoryObjectStore

MINUTE_US = 60_000_000
MAX_COALESCE_BYTES = 16 * 1024 * 1024
"""More than any store needs: readers keep a multiple of it in memory."""
MAX_PIECE_BYTES = 4 * 1024 * 1024
"""Of a stream: readers keep one or two besides what they want."""


def _local(request: pytest.FixtureRequest) -> ObjectStore:
    folder: Path = request.getfixturevalue("tmp_path")
    return LocalObjectStore(folder / "store")


def _memory(_: pytest.FixtureRequest) -> ObjectStore:
    return MemoryObjectStore(clock_us=lambda: time.time_ns() // 1000)


def _s3(request: pytest.FixtureRequest) -> ObjectStore:
    location: S3Location = request.getfixturevalue("s3_location")
    return location.open()


STORES: dict[str, Callable[[pytest.FixtureRequest], ObjectStore]] = {"local": _local, "memory": _memory, "s3": _s3}


@pytest.fixture(params=STORES)
def store(request: pytest.FixtureRequest) -> ObjectStore:
    """One empty store of each kind."""
    return STORES[request.param](request)


def keys(store: ObjectStore, prefix: str) -> list[str]:
    return [info.key for info in store.list(prefix)]


def test_what_was_put_is_read_back(store: ObjectStore) -> None:
    store.put("tenant=a/date=2026-09-21/hour=03/1-2-f.parquet", b"0123456789")
    assert store.get_range("tenant=a/date=2026-09-21/hour=03/1-2-f.parquet", 0, 10) == b"0123456789"


def test_a_buffer_is_taken_as_well_as_bytes(store: ObjectStore) -> None:
    store.put("k", pa.py_buffer(b"abc"))
    assert store.get_range("k", 0, 3) == b"abc"
    assert isinstance(store.get_range("k", 0, 3), bytes)


def test_an_empty_object_is_an_object(store: ObjectStore) -> None:
    store.put("empty", b"")
    found = store.head("empty")
    assert found is not None
    assert found.size == 0
    assert store.get_range("empty", 0, 5) == b""
    assert store.get_suffix("empty", 5) == b""


def test_an_existing_key_is_replaced(store: ObjectStore) -> None:
    store.put("k", b"a longer first value")
    store.put("k", b"second")
    assert store.get_suffix("k", 100) == b"second"
    assert keys(store, "") == ["k"]


@pytest.mark.parametrize(
    ("offset", "length", "expected"),
    [(0, 4, b"0123"), (3, 2, b"34"), (8, 10, b"89"), (10, 5, b""), (50, 5, b""), (2, 0, b"")],
)
def test_ranges(store: ObjectStore, offset: int, length: int, expected: bytes) -> None:
    store.put("k", b"0123456789")
    assert store.get_range("k", offset, length) == expected


@pytest.mark.parametrize(
    ("offset", "length", "expected"),
    [(0, 4, b"0123"), (3, 2, b"34"), (8, 10, b"89"), (10, 5, b""), (50, 5, b""), (2, 0, b"")],
)
def test_streams(store: ObjectStore, offset: int, length: int, expected: bytes) -> None:
    store.put("k", b"0123456789")
    pieces = list(store.stream_range("k", offset, length))
    assert b"".join(pieces) == expected
    assert all(isinstance(piece, bytes) and piece for piece in pieces)


def test_a_large_range_comes_in_pieces(store: ObjectStore) -> None:
    data = os.urandom(5_000_000)
    store.put("k", data)
    pieces = list(store.stream_range("k", 1_000, len(data)))
    assert b"".join(pieces) == data[1_000:]
    assert max(map(len, pieces)) <= MAX_PIECE_BYTES


def test_a_stream_may_be_left_and_others_go_on(store: ObjectStore) -> None:
    data = os.urandom(5_000_000)
    store.put("k", data)
    left, other = store.stream_range("k", 0, len(data)), store.stream_range("k", 0, len(data))
    begin, rest = next(left), [next(other)]
    left.close()
    assert data.startswith(begin)
    assert next(left, None) is None
    assert b"".join([*rest, *other]) == data
    store.stream_range("k", 0, 1).close()


def test_streams_of_many_threads(store: ObjectStore) -> None:
    data = os.urandom(3_000_000)
    store.put("k", data)

    def whole(offset: int) -> bool:
        return b"".join(store.stream_range("k", offset, len(data))) == data[offset:]

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(whole, range(0, 24_000, 1_000)))


@pytest.mark.parametrize(("length", "expected"), [(3, b"789"), (10, b"0123456789"), (11, b"0123456789"), (0, b"")])
def test_suffixes(store: ObjectStore, length: int, expected: bytes) -> None:
    store.put("k", b"0123456789")
    assert store.get_suffix("k", length) == expected


def test_what_is_not_there_is_told(store: ObjectStore) -> None:
    store.put("folder/k", b"x")
    for key in ("nothing", "folder", "folder/other", "folder/k/below"):
        assert store.head(key) is None
        with pytest.raises(NotFound):
            store.get_range(key, 0, 1)
        with pytest.raises(NotFound):
            store.get_suffix(key, 1)
        for length in (0, 1):
            with pytest.raises(NotFound):
                next(store.stream_range(key, 0, length))
        store.delete(key)
    assert keys(store, "") == ["folder/k"]


def test_head_tells_key_size_and_time(store: ObjectStore) -> None:
    before_us = store.now_us()
    store.put("k", b"0123")
    found = store.head("k")
    assert found is not None
    assert (found.key, found.size) == ("k", 4)
    assert before_us - MINUTE_US <= found.modified_us <= store.now_us() + MINUTE_US
    assert list(store.list("k")) == [found]


def test_a_prefix_is_of_the_key_and_not_of_folders(store: ObjectStore) -> None:
    for key in ("tenant=a/x", "tenant=ab/x", "tenant=b/y/z", "_delta_log/0.json", "tenant=a/w/1"):
        store.put(key, b"x")
    assert keys(store, "tenant=a") == ["tenant=a/w/1", "tenant=a/x", "tenant=ab/x"]
    assert keys(store, "tenant=a/") == ["tenant=a/w/1", "tenant=a/x"]
    assert keys(store, "tenant=") == ["tenant=a/w/1", "tenant=a/x", "tenant=ab/x", "tenant=b/y/z"]
    assert keys(store, "tenant=b/y/z") == ["tenant=b/y/z"]
    assert keys(store, "none/") == []


def test_the_list_is_sorted_by_key(store: ObjectStore) -> None:
    names = ["b", "a/b", "a.c", "a-c", "A", "a=1/z", "a/a", "_x"]
    for name in names:
        store.put(name, b"")
    assert keys(store, "") == sorted(names)


def test_a_deleted_object_is_gone_and_may_be_deleted_again(store: ObjectStore) -> None:
    store.put("a/k", b"x")
    store.delete("a/k")
    store.delete("a/k")
    assert store.head("a/k") is None
    assert keys(store, "") == []


@pytest.mark.parametrize(("offset", "length"), [(-1, 5), (0, -1)])
def test_ranges_that_cannot_be_are_refused(store: ObjectStore, offset: int, length: int) -> None:
    store.put("k", b"x")
    with pytest.raises(BadRequest):
        store.get_range("k", offset, length)
    with pytest.raises(BadRequest):
        next(store.stream_range("k", offset, length))


@pytest.mark.parametrize("key", ["../x", "a/../x", "..", "/x", "a b", "a\\b", "a~b", "\u00e9", "a\0b", "a\nb"])
def test_keys_that_are_none_are_refused(store: ObjectStore, key: str) -> None:
    for call in (lambda: store.put(key, b"x"), lambda: store.head(key), lambda: store.get_range(key, 0, 1)):
        with pytest.raises(BadRequest):
            call()
    with pytest.raises(BadRequest):
        store.delete(key)
    with pytest.raises(BadRequest):
        next(store.stream_range(key, 0, 1))


def test_a_reader_never_meets_half_an_object(store: ObjectStore) -> None:
    values = [bytes([letter]) * 300_000 for letter in b"abcd"]
    store.put("k", values[0])
    done = threading.Event()
    seen: list[bytes] = []

    def read() -> None:
        while not done.is_set():
            seen.append(store.get_suffix("k", 400_000))

    readers = [threading.Thread(target=read) for _ in range(2)]
    writers = [threading.Thread(target=store.put, args=("k", value)) for value in values * 3]
    for thread in (*readers, *writers):
        thread.start()
    for thread in writers:
        thread.join()
    done.set()
    for thread in readers:
        thread.join()
    assert set(seen) <= set(values)
    assert keys(store, "") == ["k"]


def test_what_a_request_costs_is_told(store: ObjectStore) -> None:
    assert 0 <= store.coalesce_bytes <= MAX_COALESCE_BYTES


def test_the_clock_goes_on(store: ObjectStore) -> None:
    first_us = store.now_us()
    assert store.now_us() >= first_us
