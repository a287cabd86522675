"""The rows of one object as they are found, a row group at a time, for who keeps none of them."""

from __future__ import annotations

import queue
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

import pyarrow as pa

from ess_ray.core.chunk import collect_object, index_first
from ess_ray.core.collect import Partial
from ess_ray.core.collect.collector import Block, Gather
from ess_ray.core.collect.rows import Rows
from ess_ray.core.errors import EssError, Unavailable
from ess_ray.core.merge import EMPTY
from ess_ray.core.query import Query
from ess_ray.ports import ObjectEntry, ObjectStore
from ess_ray.search.scan import check_unsummed, opened

AHEAD: Final = 2
"""Row groups that may wait for whoever takes them: one is being read meanwhile."""
ATTEMPTS: Final = 3
"""How often an object is read before it counts as unreadable."""
_POLL_S: Final = 0.1
"""How soon reading notices that nobody takes rows any more."""
Put = Callable[[pa.Table], None]


class _Gone(Exception):
    """Nobody takes rows any more."""


@dataclass(frozen=True, slots=True)
class _Handed(Rows):
    """The query's rows, some columns of them, handed over as they are found."""

    put: Put
    names: frozenset[str]

    def columns(self, block: Block | None = None) -> frozenset[str]:
        """See the protocol."""
        return self.names

    def gather(self, query: Query) -> Gather:
        """See the protocol."""
        return _Handing(self.put)


class _Handing(Gather):
    """Hands rows over instead of gathering them."""

    def __init__(self, put: Put) -> None:
        self._put = put

    @property
    def missing(self) -> int:
        return sys.maxsize

    def add(self, rows: pa.Table, block: Block) -> None:
        self._put(rows)

    def partial(self) -> Partial:
        return Partial(EMPTY)


def stream_object(store: ObjectStore, entry: ObjectEntry, query: Query, names: Sequence[str]) -> Iterator[pa.Table]:
    """Give a query's rows in one object, oldest first, whatever its limit and order; of the columns `names`, which are
    some of EVENT_SCHEMA. Memory stays that of some row groups.

    Repeats by `id` are not merged. An object that cannot be read is tried again where it stopped. Raises Unavailable,
    naming it.
    """
    query = Query(query.root, query.start_us, query.end_us, limit=sys.maxsize, order="oldest")
    given = 0
    for attempt in range(ATTEMPTS):
        seen = 0
        try:
            for rows in _once(store, entry, query, frozenset(names)):
                fresh = rows.slice(min(len(rows), max(0, given - seen)))  # each reading gives the same rows
                seen += len(rows)
                if len(fresh):
                    given += len(fresh)
                    yield fresh
            return
        except (EssError, OSError) as error:
            if attempt + 1 == ATTEMPTS:
                raise Unavailable(f"object {entry.key} cannot be read: {error}") from error


def _once(store: ObjectStore, entry: ObjectEntry, query: Query, names: frozenset[str]) -> Iterator[pa.Table]:
    waiting: queue.Queue[pa.Table | None] = queue.Queue(AHEAD)
    gone = threading.Event()

    def put(rows: pa.Table | None) -> None:
        while not gone.is_set():
            try:
                waiting.put(rows, timeout=_POLL_S)
                return
            except queue.Full:
                continue
        raise _Gone

    def read() -> None:
        try:
            with opened(store, entry, index_first(query, False)) as reader:

                def hand(rows: pa.Table) -> None:
                    check_unsummed(reader, rows)
                    put(rows)

                collect_object(reader, query, _Handed(hand, names), gone.is_set)
        except _Gone:
            return
        finally:
            if not gone.is_set():
                put(None)

    with ThreadPoolExecutor(1, thread_name_prefix="object") as thread:
        reading = thread.submit(read)
        try:
            while (rows := waiting.get()) is not None:
                yield rows
            reading.result()
        finally:
            gone.set()
