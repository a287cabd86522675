"""An object's tail, parsed, and the process's cache of tails: footer metadata, facts, skip index."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from ess_ray.core.checksum import crc32
from ess_ray.core.chunk.layout import FIRST_WITH_CHECKSUMS, Facts, KeyParts, facts_from_metadata, key_parts
from ess_ray.core.chunk.sums import PageTable
from ess_ray.core.errors import CorruptData, NewerFormat

FOOTER_CACHE_BYTES: Final = 64 * 1024 * 1024
"""Of parsed footers and indexes a process: some thousand objects, which is what one worker meets of a busy day."""
_PARSED_FOOTER_FACTOR: Final = 5
"""A parsed footer's bytes in memory, per byte of it stored (estimate; Thrift structs against varints)."""

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Footer:
    """An object's parsed tail: metadata, facts, the skip index's bytes, and which Parquet leaves hold a column.

    `index` is None while it was not read, and empty where there is none. `pages` is None in format 1.
    """

    metadata: pq.FileMetaData
    facts: Facts
    index: bytes | None
    leaves: dict[str, tuple[int, ...]]
    pages: PageTable | None
    _spans: dict[int, Ints] = field(default_factory=dict, compare=False, repr=False)

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

    def chunks(self, group: int, columns: Iterable[str]) -> Iterator[tuple[str, tuple[int, int]]]:
        """Give the chunks of those of the columns that there are in a row group: (column, where it stands)."""
        spans = self.spans(group).tolist()
        for name in columns:
            for leaf in self.leaves.get(name, ()):
                start, end = spans[leaf]
                yield name, (start, end)

    def spans(self, group: int) -> Ints:
        """Give where each leaf's chunk stands in a row group: [start, end). Raises IndexError."""
        known = self._spans.get(group)
        if known is None:
            row_group = self.metadata.row_group(group)
            spans = [_span_of(row_group.column(leaf)) for leaf in range(self.metadata.num_columns)]
            known = self._spans[group] = np.array(spans, np.int64)
        return known

    @property
    def cost_bytes(self) -> int:
        """About what it takes in memory."""
        parsed = int(self.metadata.serialized_size) * _PARSED_FOOTER_FACTOR
        return parsed + len(self.index or b"") + (self.pages.nbytes if self.pages is not None else 0)


def _span_of(column: pq.ColumnChunkMetaData) -> tuple[int, int]:
    start = column.data_page_offset
    if column.has_dictionary_page:
        start = min(start, column.dictionary_page_offset)
    return start, start + column.total_compressed_size


def parse_footer(key: str, tail: bytes) -> Footer:
    """Parse an object's last bytes: the footer, and the index before it if they reach back to it.

    They are compared with the checksum in the object's name, where it has one. Raises CorruptData, NewerFormat.
    """
    name = key_parts(key)
    footer = memoryview(tail)[max(0, len(tail) - name.footer_bytes) :]
    try:
        metadata = pq.read_metadata(pa.BufferReader(tail))
        facts = facts_from_metadata(metadata.metadata or {})
        leaves: dict[str, tuple[int, ...]] = {}
        for leaf in range(metadata.num_columns):
            column = metadata.schema.column(leaf).path.split(".", 1)[0]
            leaves[column] = (*leaves.get(column, ()), leaf)
        pages = PageTable(footer, facts.pages) if facts.format_version >= FIRST_WITH_CHECKSUMS else None
    except NewerFormat as error:
        raise NewerFormat(f"{key}: {error.message}", **error.details) from error
    except Exception as error:  # damaged bytes make Arrow raise nearly anything
        raise CorruptData(f"{key} cannot be read as an ess_ray object: {str(error).strip()}") from error
    start = len(tail) - name.footer_bytes - facts.index_bytes
    index = tail[start : start + facts.index_bytes] if start >= 0 else None
    if pages is not None:
        _check(key, name, footer, facts, index)
    return Footer(metadata, facts, index, leaves, pages)


def _check(key: str, name: KeyParts, footer: memoryview, facts: Facts, index: bytes | None) -> None:
    """Compare a tail with its checksums. The name has that of index and footer together, of which the footer has the
    index's: so the footer can be checked without the index."""
    if name.checksum is None:
        raise CorruptData(f"{key} is not the name under which it was written: it has no checksum")
    if crc32(footer, facts.index_checksum) != name.checksum:
        raise CorruptData(f"{key}: its footer does not match the checksum in its name")
    if index is not None:
        check_index(key, facts, index)


def check_index(key: str, facts: Facts, index: bytes) -> None:
    """Compare a skip index with its checksum in the footer. Raises CorruptData."""
    if facts.format_version >= FIRST_WITH_CHECKSUMS and crc32(index) != facts.index_checksum:
        raise CorruptData(f"{key}: its skip index does not match its checksum")


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
