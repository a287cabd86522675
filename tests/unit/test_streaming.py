"""One object's rows as they are found: all of them, once, whatever happens while they are read."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

import pyarrow as pa
import pytest

from ess_ray.core.chunk import ObjectLimits, encode_object
from ess_ray.core.errors import Unavailable
from ess_ray.core.event import EVENT_SCHEMA
from ess_ray.core.query import Query
from ess_ray.ingest.seal import Sealed, entry_of
from ess_ray.language import parse
from ess_ray.ports import ObjectEntry
from ess_ray.search.streaming import ATTEMPTS, stream_object
from ess_ray.testing import MemoryObjectStore

Tables = Callable[..., pa.Table]
ROWS, GROUP = 1_000, 100
NAMES = EVENT_SCHEMA.names


class Flaky:
    """A store whose requests fail at these numbers."""

    def __init__(self, store: MemoryObjectStore, *failing: int) -> None:
        self._store, self._failing, self.requests = store, failing, 0

    def _counted(self) -> None:
        self.requests += 1
        if self.requests in self._failing:
            raise Unavailable("the store is away")

    def get_range(self, *given: Any) -> Any:
        self._counted()
        return self._store.get_range(*given)

    def get_suffix(self, *given: Any) -> Any:
        self._counted()
        return self._store.get_suffix(*given)

    def stream_range(self, key: str, offset: int, length: int) -> Generator[bytes, None, None]:
        self._counted()
        data = bytes(self._store.get_range(key, offset, length))
        for at in range(0, len(data), 4_096):
            self._counted()
            yield data[at : at + 4_096]


@pytest.fixture
def stored(make_events: Tables, t0_us: int) -> tuple[MemoryObjectStore, ObjectEntry, pa.Table]:
    store = MemoryObjectStore(lambda: 0)
    ids = [None if n % 3 else f"id {n % 30}" for n in range(ROWS)]
    rows = make_events(
        [t0_us + n for n in range(ROWS)], [f"message {n} {n * 7919:x}" for n in range(ROWS)], event_id=ids
    )
    encoded = encode_object(rows, [], limits=ObjectLimits(rows_per_group=GROUP))
    entry = entry_of(Sealed("default", encoded), 0)
    store.put(entry.key, encoded.data)
    return store, entry, rows


@pytest.mark.parametrize("text", ["", "message", '"message 7"', "nowhere", "/ 1[0-9]+ /"])
def test_rows_come_by_row_group_and_repeats_are_kept(stored: Any, text: str) -> None:
    store, entry, rows = stored
    parts = list(stream_object(store, entry, Query(parse(text), limit=1), NAMES))
    found = pa.concat_tables([EVENT_SCHEMA.empty_table(), *parts])
    wanted = [row for row in rows.to_pylist() if text in ("", "message") or _matches(text, row["message"])]
    assert found.to_pylist() == wanted
    assert all(len(part) <= GROUP for part in parts)


def _matches(text: str, message: str) -> bool:
    if text.startswith("/"):
        return message.split()[1].startswith("1") and len(message.split()[1]) > 1
    return text.strip('"') in message


def test_only_what_is_wanted_is_read(stored: Any) -> None:
    store, entry, _ = stored
    (first, *_) = stream_object(store, entry, Query(), ["offset", "message"])
    assert sorted(first.schema.names) == ["message", "offset"]


@pytest.mark.parametrize("failing", [1, 2, 3, 5, 9])
def test_reading_goes_on_where_it_stopped(stored: Any, failing: int) -> None:
    store, entry, rows = stored
    flaky = Flaky(store, failing)
    found = pa.concat_tables(list(stream_object(flaky, entry, Query(), NAMES)))  # type: ignore[arg-type]
    assert found.column("offset").to_pylist() == rows.column("offset").to_pylist()


def test_what_cannot_be_read_is_named(stored: Any) -> None:
    store, entry, _ = stored
    store.delete(entry.key)
    with pytest.raises(Unavailable, match=entry.key):
        list(stream_object(store, entry, Query(), NAMES))
    assert ATTEMPTS == 3


def test_a_reader_may_go_at_any_time(stored: Any) -> None:
    store, entry, _ = stored
    rows = stream_object(store, entry, Query(), NAMES)
    next(rows)
    rows.close()  # type: ignore[attr-defined]
