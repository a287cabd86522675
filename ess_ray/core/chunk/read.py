"""Bytes to rows: an object opened by its tail, the ranges fetched of it, a row group's columns.

A request to a store costs as much as many bytes do, so ranges that lie close are fetched as one, and what was fetched
beside what was wanted is kept until it is forgotten. May live here: which bytes to ask for, and Arrow's reader over
them. May not: where bytes lie, queries, matching.
"""

from __future__ import annotations

import io
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from ess_ray.core.chunk.layout import Facts, facts_from_metadata, tail_bytes
from ess_ray.core.chunk.page import NotInPlace, TextBlock, text_blocks
from ess_ray.core.errors import CorruptData
from ess_ray.core.event import EVENT_SCHEMA

GAP_BYTES: Final = 1024 * 1024
"""Between two ranges: a request to S3 takes 20 to 50 ms, in which 1 to 4 MiB arrive anyway."""
WHOLE_BYTES: Final = 128 * 1024
"""An object of no more is fetched whole by the first request: less than what a request costs."""
MAX_SPARSE_SHARE: Final = 0.25
"""Of a row group's rows: for more, texts are decoded once for all instead of for each row taken."""
_DICTIONARIES: Final = ["level", "service", "host", "log_id", "attributes.key_value.key", "attributes.key_value.value"]
FOOTER_CACHE_BYTES: Final = 64 * 1024 * 1024
"""Of parsed footers and indexes a process: some thousand objects, which is what one worker meets of a busy day."""
_PARSED_FOOTER_FACTOR: Final = 5
"""A parsed footer's bytes in memory, per byte of it stored (estimate; Thrift structs against varints)."""

Fetch = Callable[[int, int], bytes]
"""(offset, length) -> bytes of the object."""


class Blobs(Protocol):
    """What reading an object needs of a store."""

    def get_range(self, key: str, offset: int, length: int) -> bytes: ...

    def get_suffix(self, key: str, length: int) -> bytes: ...


# ------------------------------------------------------------------------------------------------------- footers
@dataclass(frozen=True)
class Footer:
    """An object's parsed tail: metadata, facts, the skip index's bytes, and which Parquet leaves hold a column."""

    metadata: pq.FileMetaData
    facts: Facts
    index: bytes
    leaves: dict[str, tuple[int, ...]]

    @property
    def cost_bytes(self) -> int:
        """About what it takes in memory."""
        return int(self.metadata.serialized_size) * _PARSED_FOOTER_FACTOR + len(self.index)


def _parse_footer(key: str, tail: bytes) -> Footer:
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
    end = len(tail) - 8 - int(metadata.serialized_size)
    start = end - facts.index_bytes
    # A tail that does not reach back to the index is one that was not asked for it: then nothing is ruled out.
    return Footer(metadata, facts, tail[start:end] if start >= 0 else b"", leaves)


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
            if (key, size) in self._footers:
                return
            self._footers[key, size] = footer
            self._bytes += footer.cost_bytes
            while self._bytes > self._max_bytes:
                self._bytes -= self._footers.popitem(last=False)[1].cost_bytes


FOOTERS: Final = FooterCache()
"""The process's cache, for what scans a store again and again."""


def open_object(
    blobs: Blobs, key: str, size: int, footers: FooterCache | None = None, gap_bytes: int = GAP_BYTES
) -> ObjectReader:
    """Open an object by one suffix read, or by none when `footers` knows it. Raises NotFound, CorruptData."""

    def fetch(offset: int, length: int) -> bytes:
        return blobs.get_range(key, offset, length)

    footer = footers.get(key, size) if footers is not None else None
    if footer is not None:
        return ObjectReader(key, size, None, fetch, footer, gap_bytes)
    tail = blobs.get_suffix(key, min(size, max(tail_bytes(key), WHOLE_BYTES if size <= WHOLE_BYTES else 0)))
    reader = ObjectReader(key, size, tail, fetch, None, gap_bytes)
    if footers is not None:
        footers.put(key, size, reader.footer)
    return reader


class ObjectReader:
    """One object opened by its tail (or its known footer). Counts what it fetched; not for several threads at once."""

    def __init__(
        self,
        key: str,
        size: int,
        tail: bytes | None,
        fetch: Fetch,
        footer: Footer | None = None,
        gap_bytes: int = GAP_BYTES,
    ) -> None:
        self.key = key
        self.gets = 0 if tail is None else 1
        self.bytes_read = len(tail or b"")
        self.footer = footer if footer is not None else _parse_footer(key, tail or b"")
        self.metadata = self.footer.metadata
        self.facts = self.footer.facts
        self._bytes = _Ranges(size, tail or b"", self._counted(fetch))
        self._gap_bytes = gap_bytes
        self._files: dict[bool, pq.ParquetFile] = {}

    def _counted(self, fetch: Fetch) -> Fetch:
        def counted(offset: int, length: int) -> bytes:
            data = fetch(offset, length)
            self.gets += 1
            self.bytes_read += len(data)
            if len(data) != length:
                raise CorruptData(f"{self.key} ends early: {len(data)} of {length} bytes at {offset}")
            return data

        return counted

    @property
    def index(self) -> bytes:
        """The skip index as stored; empty when there is none."""
        return self.footer.index

    @property
    def groups(self) -> int:
        """The number of row groups."""
        return int(self.metadata.num_row_groups)

    def group_rows(self, group: int) -> int:
        """Give the number of rows of a row group."""
        return int(self.metadata.row_group(group).num_rows)

    def group_times(self, group: int) -> tuple[int, int]:
        """Give the first and last timestamp of a row group, from its statistics."""
        statistics = self.metadata.row_group(group).column(self.footer.leaves["timestamp"][0]).statistics
        return statistics.min_raw, statistics.max_raw

    def group_span(self, group: int) -> tuple[int, int]:
        """Give where a row group's bytes stand: [start, end)."""
        ranges = self._chunk_ranges(group, self.footer.leaves)
        return ranges[0][0], ranges[-1][1]

    def _chunk_ranges(self, group: int, columns: Iterable[str]) -> list[tuple[int, int]]:
        row_group = self.metadata.row_group(group)
        ranges = []
        for name in columns:
            for leaf in self.footer.leaves.get(name, ()):
                column = row_group.column(leaf)
                start = column.data_page_offset
                if column.has_dictionary_page:
                    start = min(start, column.dictionary_page_offset)
                ranges.append((start, start + column.total_compressed_size))
        return sorted(ranges)

    def fetch(self, groups: Sequence[int], columns: Iterable[str]) -> None:
        """Get the bytes of some columns of some row groups into memory, in few requests, as far as they are not there.

        When what lies between and around them is small, the row groups are fetched whole: then their other columns
        cost no request later.
        """
        names = list(columns)
        wanted = [span for group in groups for span in self._chunk_ranges(group, names) if not self._bytes.holds(*span)]
        if not wanted:
            return
        ranges = _coalesced(wanted, self._gap_bytes)
        if len(ranges) == 1:
            spans = [self.group_span(group) for group in groups]
            start, end = min(span[0] for span in spans), max(span[1] for span in spans)
            if ranges[0][0] - start <= self._gap_bytes and end - ranges[0][1] <= self._gap_bytes:
                ranges = [(start, end)]
        for start, end in ranges:
            self._bytes.hold(start, end)

    def forget(self) -> None:
        """Let go of all fetched bytes but the tail."""
        self._bytes.forget()

    def read_group(self, group: int, columns: Sequence[str] | None = None) -> pa.Table:
        """Read (some columns of) a row group; columns that an older object lacks come as nulls."""
        wanted = EVENT_SCHEMA if columns is None else pa.schema([EVENT_SCHEMA.field(name) for name in columns])
        have = [name for name in wanted.names if name in self.footer.leaves]
        self.fetch([group], have)
        table = self._read(group, have, as_dictionaries=False)
        length = self.group_rows(group)
        arrays = [_typed(table.column(f.name), f.type) if f.name in have else pa.nulls(length, f.type) for f in wanted]
        return pa.Table.from_arrays(arrays, schema=wanted)

    def read_rows(self, group: int, columns: Sequence[str], rows: pa.Int64Array) -> dict[str, pa.ChunkedArray]:
        """Read some rows of a row group's columns, in the order of `rows`: as `read_group(...).take(rows)`, but faster.

        Repeated texts stay dictionaries until the rows are taken, which halves the cost of decoding a row group.
        """
        if len(rows) > self.group_rows(group) * MAX_SPARSE_SHARE:
            table = self.read_group(group, columns).take(rows)
            return dict(zip(columns, table.columns, strict=True))
        have = [name for name in columns if name in self.footer.leaves]
        self.fetch([group], have)
        table = self._read(group, have, as_dictionaries=True).take(rows)
        fields = [EVENT_SCHEMA.field(name) for name in columns]
        return {
            f.name: _plain(table.column(f.name), f.type) if f.name in have else _nulls(len(rows), f) for f in fields
        }

    def _read(self, group: int, columns: list[str], as_dictionaries: bool) -> pa.Table:
        try:
            if as_dictionaries not in self._files:
                leaves = _DICTIONARIES if as_dictionaries else None
                self._files[as_dictionaries] = pq.ParquetFile(
                    self._bytes, metadata=self.metadata, pre_buffer=False, read_dictionary=leaves
                )
            return self._files[as_dictionaries].read_row_group(group, columns=columns, use_threads=False)
        except (pa.ArrowException, OSError) as error:
            raise CorruptData(f"{self.key}: row group {group} cannot be read: {error}") from error

    def message_blocks(self, group: int) -> list[TextBlock]:
        """Give a row group's messages as they stand in their decompressed pages, or as Arrow's reader decodes them."""
        self.fetch([group], ["message"])
        try:
            blocks = self._message_in_place(group)
        except NotInPlace:
            blocks = self._message_decoded(group)
        known = self.facts.ascii_groups
        for block in blocks:
            block.ascii = group < len(known) and known[group]
        return blocks

    def _message_in_place(self, group: int) -> list[TextBlock]:
        leaf = self.footer.leaves["message"][0]
        column, described = self.metadata.row_group(group).column(leaf), self.metadata.schema.column(leaf)
        if column.has_dictionary_page or described.max_definition_level or column.physical_type != "BYTE_ARRAY":
            raise NotInPlace("nulls or a dictionary")
        start = column.data_page_offset
        chunk = self._bytes.view(start, start + column.total_compressed_size)
        return text_blocks(chunk, column.compression, self.group_rows(group))

    def _message_decoded(self, group: int) -> list[TextBlock]:
        return [TextBlock.of(chunk) for chunk in self.read_group(group, ["message"]).column("message").chunks]

    def messages(self, group: int, blocks: Sequence[TextBlock]) -> pa.ChunkedArray:
        """Give the texts of `message_blocks` as a column; read by Arrow if their lengths turn out to be damaged."""
        try:
            return pa.chunked_array([block.array() for block in blocks], pa.string())
        except NotInPlace:
            return self.read_group(group, ["message"]).column("message")


def _nulls(length: int, field: pa.Field) -> pa.ChunkedArray:
    return pa.chunked_array([pa.nulls(length, field.type)])


def _plain(column: pa.ChunkedArray, wanted: pa.DataType) -> pa.ChunkedArray:
    """Turn dictionaries into the texts they stand for."""
    if column.type.equals(wanted):
        return column
    if pa.types.is_map(wanted):
        return pa.chunked_array([_plain_map(chunk) for chunk in column.chunks], wanted)
    return column.cast(wanted)


def _plain_map(array: pa.MapArray) -> pa.MapArray:
    flat = pa.concat_arrays([array])  # from offset 0, so that offsets, nulls and items belong together
    nulls = flat.is_null() if flat.null_count else None
    keys, items = flat.keys.cast(pa.string()), flat.items.cast(pa.string())
    return pa.MapArray.from_arrays(flat.offsets, keys, items, mask=nulls)


def _typed(column: pa.ChunkedArray, wanted: pa.DataType) -> pa.ChunkedArray:
    return column if column.type.equals(wanted) else column.cast(wanted)


def _coalesced(ranges: Iterable[tuple[int, int]], gap_bytes: int) -> list[tuple[int, int]]:
    """Join ranges [start, end) that lie no more than `gap_bytes` apart."""
    joined: list[tuple[int, int]] = []
    for start, end in sorted(ranges):
        if joined and start - joined[-1][1] <= gap_bytes:
            joined[-1] = (joined[-1][0], max(joined[-1][1], end))
        else:
            joined.append((start, end))
    return joined


class _Ranges(io.RawIOBase):
    """A seekable file over ranges of an object: the tail, what is held, and, for anything else, a request."""

    def __init__(self, size: int, tail: bytes, fetch: Fetch) -> None:
        super().__init__()
        self._size, self._fetch = size, fetch
        self._at = 0
        self._tail = (size - len(tail), pa.py_buffer(tail))
        self.forget()

    def forget(self) -> None:
        self._held: list[tuple[int, pa.Buffer]] = [self._tail]

    def hold(self, start: int, end: int) -> None:
        self._held.append((start, pa.py_buffer(self._fetch(start, end - start))))

    def _find(self, start: int, end: int) -> tuple[int, pa.Buffer] | None:
        for at, data in reversed(self._held):
            if at <= start and end <= at + len(data):
                return start - at, data
        return None

    def holds(self, start: int, end: int) -> bool:
        return self._find(start, end) is not None

    def view(self, start: int, end: int) -> pa.Buffer:
        """Give [start, end) without a copy if it is held in one piece."""
        found = self._find(start, end)
        return found[1].slice(found[0], end - start) if found else pa.py_buffer(self._fetch(start, end - start))

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = offset + (0, self._at, self._size)[whence]
        return self._at

    def read(self, size: int = -1) -> Any:
        size = self._size - self._at if size is None or size < 0 else min(size, self._size - self._at)
        if size <= 0:
            return b""
        data = self.view(self._at, self._at + size)
        self._at += size
        return data
