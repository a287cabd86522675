"""Bytes to rows: an object opened by its tail, the ranges fetched of it, a row group's columns.

A request to a store costs as much as many bytes do, so ranges that lie close are fetched as one, and what was fetched
beside what was wanted is kept until it is forgotten.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from ess_ray.core.chunk.footer import Footer, FooterCache, check_index, parse_footer
from ess_ray.core.chunk.layout import key_parts
from ess_ray.core.chunk.page import NotInPlace, TextBlock, text_blocks
from ess_ray.core.chunk.ranges import WIDE_GAPS, Arriving, Fetch, Ranges, Stream, coalesced, in_few
from ess_ray.core.chunk.sums import PARQUET_MAGIC
from ess_ray.core.errors import CorruptData, EssError
from ess_ray.core.event import EVENT_SCHEMA

GAP_BYTES: Final = 1024 * 1024
"""What a request costs, in bytes, where the store does not say: one to S3 takes 20 to 50 ms, in which 1 to 4 MiB arrive
anyway. Ranges no further apart are fetched as one."""
WINDOW_GAPS: Final = 64
"""What is not streamed is read ahead at most this many times what a request costs: requests then add little, and 64 MiB
of S3 bound memory. (Twice as much was measured to take a task beyond 256 MiB.)"""
MIN_STREAM_GAP_BYTES: Final = 256 * 1024
"""Where a request costs less than so many bytes, only the columns that are wanted are read, in windows."""
STREAM_GAPS: Final = 8
"""Row groups of more bytes than this many times what a request costs are streamed: scanned while the next arrive. Of
fewer, all are there by the time that scanning them takes, and then it can begin with the newest."""
WHOLE_BYTES: Final = 128 * 1024
"""An object of no more is fetched whole by the first request: less than what a request costs."""

_DICTIONARIES: Final = frozenset({"level", "service", "host", "log_id", "attribute_types"}) | {
    *("attributes.key_value.key", "attributes.key_value.value")
}
"""Leaves of texts that repeat so much that they can stay dictionaries while they are tested, or rows taken of them."""


Ints = npt.NDArray[np.int64]


class Blobs(Protocol):
    """What reading an object needs of a store."""

    def get_range(self, key: str, offset: int, length: int) -> bytes: ...

    def get_suffix(self, key: str, length: int) -> bytes: ...

    def stream_range(self, key: str, offset: int, length: int) -> Generator[bytes, None, None]: ...


@dataclass(frozen=True)
class Stretch:
    """Row groups that one request streams, in the object's order, and the bytes from the first to the last of them."""

    groups: tuple[int, ...]
    start: int
    end: int


def open_object(
    blobs: Blobs,
    key: str,
    size: int,
    *,
    footers: FooterCache | None = None,
    gap_bytes: int = GAP_BYTES,
    with_index: bool = True,
) -> ObjectReader:
    """Open an object by one suffix read, or by none when `footers` knows it. Raises NotFound, CorruptData.

    Without `with_index`, an index larger than `gap_bytes` is left for a second read, if it is asked for.
    """

    def fetch(offset: int, length: int) -> bytes:
        return blobs.get_range(key, offset, length)

    def stream(offset: int, length: int) -> Generator[bytes, None, None]:
        return blobs.stream_range(key, offset, length)

    footer = footers.get(key, size) if footers is not None else None
    tail = None
    if footer is None:
        name = key_parts(key)
        wanted = name.footer_bytes
        if with_index or name.index_bytes <= gap_bytes:
            wanted += name.index_bytes
        tail = blobs.get_suffix(key, min(size, max(wanted, WHOLE_BYTES if size <= WHOLE_BYTES else 0)))
    reader = ObjectReader(key, size, tail, fetch, footer=footer, gap_bytes=gap_bytes, footers=footers, stream=stream)
    if footers is not None:
        footers.put(key, size, reader.footer)
    return reader


def expected_gets(sizes: Ints, left: Ints, gap_bytes: int, parts: int) -> Ints:
    """Estimate the requests for objects of these sizes with so many bytes left to read: the tail, the first row groups,
    and then one stream, or windows, each in so many parts: the columns that are tested, and the others where rows
    matched.

    It is within twice what reading everything takes; what a footer in memory or a skip index spares is not foreseen.
    """
    rest = -(-left // max(1, gap_bytes * WINDOW_GAPS)) * parts
    if gap_bytes >= MIN_STREAM_GAP_BYTES:
        rest = np.where(left > gap_bytes * STREAM_GAPS, 1, rest)
    return np.where(sizes <= WHOLE_BYTES, 1, 2 + rest)


class ObjectReader:
    """One object opened by its tail (or its known footer). Counts what it fetched; not for several threads at once.

    `gap_bytes`: what a request costs, in bytes that could be read instead. Without `stream`, nothing is streamed.
    """

    def __init__(
        self,
        key: str,
        size: int,
        tail: bytes | None,
        fetch: Fetch,
        *,
        footer: Footer | None = None,
        gap_bytes: int = GAP_BYTES,
        footers: FooterCache | None = None,
        stream: Stream | None = None,
    ) -> None:
        self.key = key
        self.size = size
        self.gets = 0 if tail is None else 1
        self.bytes_read = len(tail or b"")
        self.footer = footer if footer is not None else parse_footer(key, tail or b"")
        self.metadata = self.footer.metadata
        self.facts = self.footer.facts
        self._bytes = Ranges(size, tail or b"", self._counted(fetch))
        self._stream = stream
        self.gap_bytes = gap_bytes
        self.sharers = 1
        """Readers in work at the same time, which share what one may read ahead."""
        self._footers = footers
        self._spans: dict[int, tuple[int, int]] = {}
        self._files: dict[bool, pq.ParquetFile] = {}

    def _counted(self, fetch: Fetch) -> Fetch:
        def counted(offset: int, length: int) -> bytes:
            data = fetch(offset, length)
            self.gets += 1
            self.bytes_read += len(data)
            self._check_length(len(data), length, offset)
            return data

        return counted

    def _check_length(self, length: int, wanted: int, offset: int) -> None:
        if length != wanted:
            raise CorruptData(f"{self.key} ends early: {length} of {wanted} bytes at {offset}")

    @property
    def knows_index(self) -> bool:
        """Whether asking for `index` costs no request."""
        return self.footer.index is not None

    @property
    def has_types(self) -> bool:
        """Whether its attributes have JSON types."""
        return "attribute_types" in self.footer.leaves

    @property
    def index(self) -> bytes:
        """The skip index as stored; empty when there is none. Read when it is first asked for."""
        if self.footer.index is None:
            end = self.size - key_parts(self.key).footer_bytes
            start = end - self.facts.index_bytes
            if start < 0:
                raise CorruptData(f"{self.key} is smaller than the index that it tells of")
            index = self._bytes.read_range(start, end)
            check_index(self.key, self.facts, index)
            self.footer = replace(self.footer, index=index)
            if self._footers is not None:
                self._footers.put(self.key, self.size, self.footer)
        return self.footer.index or b""

    @property
    def window_bytes(self) -> int:
        """How much a scan reads ahead of what it does not stream."""
        return self.gap_bytes * WINDOW_GAPS // self.sharers

    @property
    def groups(self) -> int:
        """The number of row groups."""
        return int(self.metadata.num_row_groups)

    def begins_with(self) -> bytes:
        """Give the file's first bytes, which no page covers: PARQUET_MAGIC, or it was damaged."""
        return bytes(self._bytes.view(0, len(PARQUET_MAGIC)))

    def group_rows(self, group: int) -> int:
        """Give the number of rows of a row group."""
        return int(self.metadata.row_group(group).num_rows)

    def group_times(self, group: int) -> tuple[int, int]:
        """Give the first and last timestamp of a row group."""
        return self.footer.times[group]

    def group_span(self, group: int) -> tuple[int, int]:
        """Give where a row group's bytes stand: [start, end)."""
        if group not in self._spans:
            ranges = self._chunk_ranges(group, self.footer.leaves)
            self._spans[group] = ranges[0][0], ranges[-1][1]
        return self._spans[group]

    def _chunk_ranges(self, group: int, columns: Iterable[str]) -> list[tuple[int, int]]:
        return sorted(span for _, span in self.footer.chunks(group, columns))

    def _verify(self, group: int, columns: Iterable[str]) -> None:
        """Compare the pages of some columns with their checksums, once while they are held. Raises CorruptData."""
        pages = self.footer.pages
        if pages is None:
            return  # format 1 has none
        verified = self._bytes.verified
        for name, span in self.footer.chunks(group, columns):
            if span in verified:
                continue
            if not pages.matches(span[0], self._bytes.view(*span)):
                raise self._mismatch(group, name)
            verified.add(span)

    def _mismatch(self, group: int, column: str) -> CorruptData:
        return CorruptData(f"{self.key}: a page of column {column} in row group {group} does not match its checksum")

    def fetch(self, groups: Sequence[int], columns: Iterable[str]) -> None:
        """Get the bytes of some columns of some row groups into memory, in few requests, as far as they are not there.

        When what lies around them is small, the row groups are fetched whole: then their other columns cost no request
        later.
        """
        for start, end in self._requests(groups, columns):
            self._bytes.fetch(start, end)

    def _requests(self, groups: Sequence[int], columns: Iterable[str]) -> list[tuple[int, int]]:
        names = list(columns)
        chunks = (span for group in groups for span in self._chunk_ranges(group, names))
        wanted = [span for span in chunks if not self._bytes.holds(*span)]
        spans = [self.group_span(group) for group in groups]
        requests = []
        for start, end in in_few(coalesced(wanted, self.gap_bytes), self.gap_bytes * WIDE_GAPS):
            first = min(span[0] for span in spans if span[1] > start)
            last = max(span[1] for span in spans if span[0] < end)
            whole = start - first <= self.gap_bytes and last - end <= self.gap_bytes
            requests.append((first, last) if whole else (start, end))
        return requests

    @property
    def streams(self) -> bool:
        """Whether requests are so dear that a scan of many row groups is one."""
        return self._stream is not None and self.gap_bytes >= MIN_STREAM_GAP_BYTES

    def stretches(self, groups: Sequence[int], columns: Iterable[str]) -> list[Stretch]:
        """Cut row groups into what a request each should stream, in the object's order.

        Into none if they are few, or if the columns are so much less that row groups should not be read whole.
        """
        size = sum(end - start for start, end in map(self.group_span, groups))
        if not self.streams or size <= self.gap_bytes * STREAM_GAPS:
            return []
        spans = [(group, *self.group_span(group)) for group in sorted(groups)]
        stretches = []
        for start, end in self._requests(groups, columns):
            inside = tuple(group for group, first, last in spans if start <= first and last <= end)
            stretches.append(Stretch(inside, start, end))
        return stretches if sum(len(stretch.groups) for stretch in stretches) == len(groups) else []

    def stream(self, stretch: Stretch) -> Generator[int, None, None]:
        """Give a stretch's row groups as their bytes arrive, each held until the next is asked for; one request.

        To be closed, which ends the request. No thread reads ahead: what arrives while a row group is scanned waits in
        the connection's buffers.
        """
        assert self._stream is not None
        self.gets += 1
        with closing(self._stream(stretch.start, stretch.end - stretch.start)) as pieces:
            arriving = Arriving(self._counted_pieces(pieces), stretch.start)
            try:
                for group in stretch.groups:
                    start, end = self.group_span(group)
                    data = arriving.take(start, end)
                    self._check_length(len(data), end - start, start)
                    self._bytes.hold(start, data)
                    del data  # else it would be there until all of the next row group is
                    yield group
                    self._bytes.forget()
            finally:
                self._bytes.forget()

    def _counted_pieces(self, pieces: Iterable[bytes]) -> Iterator[bytes]:
        for piece in pieces:
            self.bytes_read += len(piece)
            yield piece

    def forget(self) -> None:
        """Let go of all fetched bytes but the tail."""
        self._bytes.forget()

    def read_group(self, group: int, columns: Sequence[str] | None = None) -> pa.Table:
        """Read (some columns of) a row group; columns that an older object lacks come as nulls."""
        wanted = EVENT_SCHEMA if columns is None else pa.schema([EVENT_SCHEMA.field(name) for name in columns])
        have = [name for name in wanted.names if name in self.footer.leaves]
        self.fetch([group], have)
        table = self.decode(group, have, as_dictionaries=False)
        length = self.group_rows(group)
        arrays = [_typed(table.column(f.name), f.type) if f.name in have else pa.nulls(length, f.type) for f in wanted]
        return pa.Table.from_arrays(arrays, schema=wanted)

    def decode(self, group: int, columns: list[str], as_dictionaries: bool) -> pa.Table:
        """Decode fetched columns that the object has; with `as_dictionaries` those texts that are stored as such stay
        so."""
        self._verify(group, columns)
        try:
            if as_dictionaries not in self._files:
                texts = [leaf.path for leaf in self.metadata.schema if leaf.path in _DICTIONARIES]
                self._files[as_dictionaries] = pq.ParquetFile(
                    self._bytes,
                    metadata=self.metadata,
                    pre_buffer=False,
                    read_dictionary=texts if as_dictionaries else None,
                )
            return self._files[as_dictionaries].read_row_group(group, columns=columns, use_threads=False)
        except EssError:
            raise
        except Exception as error:  # damaged bytes make Arrow raise nearly anything
            raise CorruptData(f"{self.key}: row group {group} cannot be read: {error}") from error

    def message_blocks(self, group: int) -> list[TextBlock]:
        """Give a row group's messages as they stand in their decompressed pages, or as Arrow's reader decodes them."""
        self.fetch([group], ["message"])
        self._verify(group, ["message"])
        try:
            blocks = self.message_in_place(group)
        except NotInPlace:
            blocks = self._message_decoded(group)
        known = self.facts.ascii_groups
        for block in blocks:
            block.ascii = group < len(known) and known[group]
        return blocks

    def message_in_place(self, group: int) -> list[TextBlock]:
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


def _typed(column: pa.ChunkedArray, wanted: pa.DataType) -> pa.ChunkedArray:
    return column if column.type.equals(wanted) else column.cast(wanted)
