"""An object's tail, parsed, and the process's cache of tails: footer metadata, facts, skip index.

May live here: parsing and keeping tails. May not: fetching them, reading rows.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq

from ess_ray.core.chunk.layout import Facts, facts_from_metadata
from ess_ray.core.errors import CorruptData

FOOTER_CACHE_BYTES: Final = 64 * 1024 * 1024
"""Of parsed footers and indexes a process: some thousand objects, which is what one worker meets of a busy day."""
_PARSED_FOOTER_FACTOR: Final = 5
"""A parsed footer's bytes in memory, per byte of it stored (estimate; Thrift structs against varints)."""
MAGIC_BYTES: Final = 8
"""At a Parquet file's end: the footer's length and "PAR1"."""


@dataclass(frozen=True)
class Footer:
    """An object's parsed tail: metadata, facts, the skip index's bytes, and which Parquet leaves hold a column.

    `index` is None while it was not read, and empty where there is none.
    """

    metadata: pq.FileMetaData
    facts: Facts
    index: bytes | None
    leaves: dict[str, tuple[int, ...]]

    @cached_property
    def times(self) -> list[tuple[int, int]]:
        """The first and last timestamp of each row group, from its statistics. Raises CorruptData without them."""
        try:
            leaf = self.leaves["timestamp"][0]
            groups = range(self.metadata.num_row_groups)
            columns = [self.metadata.row_group(group).column(leaf) for group in groups]
            if any(column.physical_type != "INT64" for column in columns):
                # Arrow's statistics of a type that the schema does not say end the whole process (pyarrow 26).
                raise CorruptData("the footer tells another type of some row group's times than its schema does")
            times = [(column.statistics.min_raw, column.statistics.max_raw) for column in columns]
        except (pa.ArrowException, OSError, KeyError, AttributeError) as error:
            raise CorruptData(f"the footer's statistics cannot be read: {error}") from error
        if not all(isinstance(first, int) and isinstance(last, int) for first, last in times):
            raise CorruptData("the footer tells no times of some row group")
        return times

    @property
    def cost_bytes(self) -> int:
        """About what it takes in memory."""
        return int(self.metadata.serialized_size) * _PARSED_FOOTER_FACTOR + len(self.index or b"")


def parse_footer(key: str, tail: bytes) -> Footer:
    """Parse an object's last bytes (footer, and the index before it). Raises CorruptData."""
    try:
        metadata = pq.read_metadata(pa.BufferReader(tail))
        facts = facts_from_metadata(metadata.metadata or {})
        leaves: dict[str, tuple[int, ...]] = {}
        for leaf in range(metadata.num_columns):
            name = metadata.schema.column(leaf).path.split(".", 1)[0]
            leaves[name] = (*leaves.get(name, ()), leaf)
    except (pa.ArrowException, OSError, KeyError, ValueError, TypeError) as error:
        raise CorruptData(f"{key} cannot be read as an ess_ray object: {error}") from error
    end = len(tail) - MAGIC_BYTES - int(metadata.serialized_size)
    start = end - facts.index_bytes
    index = tail[start:end] if start >= 0 else None  # None: the tail was not asked to reach back to it
    return Footer(metadata, facts, index, leaves)


class FooterCache:
    """Parsed footers by object key, the least recently used dropped beyond `max_bytes`. For many threads.

    A key names one object for ever (it has a fresh UUID), so nothing here goes stale. One cache serves one store.
    """

    def __init__(self, max_bytes: int = FOOTER_CACHE_BYTES) -> None:
        self._max_bytes = max_bytes
        self._bytes = 0
        self._footers: OrderedDict[tuple[str, int], Footer] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: str, size: int) -> Footer | None:
        with self._lock:
            footer = self._footers.get((key, size))
            if footer is not None:
                self._footers.move_to_end((key, size))
            return footer

    def put(self, key: str, size: int, footer: Footer) -> None:
        with self._lock:
            known = self._footers.get((key, size))
            if known is not None:
                if known.index is not None or footer.index is None:
                    return
                self._bytes -= known.cost_bytes
            self._footers[key, size] = footer
            self._bytes += footer.cost_bytes
            while self._bytes > self._max_bytes:
                self._bytes -= self._footers.popitem(last=False)[1].cost_bytes


FOOTERS: Final = FooterCache()
"""The process's cache, for what scans a store again and again."""
