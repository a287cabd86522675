"""The stored object: one standard Parquet file. Writing it, reading its tail, pruning and scanning it.

Layout (the design's section 3): rows sorted by time; row groups of ROWS_PER_GROUP rows or MESSAGE_BYTES_PER_GROUP;
one page per column chunk; `message` as DELTA_LENGTH_BYTE_ARRAY, so that a decompressed page is the block's text;
facts about the rows stand in the footer's key-value metadata. The object's key tells the tail's length, so one suffix
read brings the footer (and, once there is one, the skip index before it). May live here: bytes <-> rows. May not:
where bytes lie.
"""

from __future__ import annotations

import io
import json
import re
import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, astuple, dataclass
from hashlib import sha256
from typing import Any, Final, Protocol

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ess_ray.core.errors import CorruptData
from ess_ray.core.event import EVENT_SCHEMA, check_tenant, partition_of
from ess_ray.core.filter import filter_batch
from ess_ray.core.merge import EMPTY, first_copies
from ess_ray.core.query import Query

FORMAT_VERSION: Final = 1
ROWS_PER_GROUP: Final = 16_384
"""Rows in a row group: the unit of pruning; large enough that a column's page compresses well."""
MESSAGE_BYTES_PER_GROUP: Final = 32 * 1024 * 1024
"""Message bytes in a row group: bounds the memory of a scan, which holds one decompressed group."""
COMPRESSION: Final = "zstd"
COMPRESSION_LEVEL: Final = 3
"""zstd(3): a flush is written once and soon; compaction compresses harder."""
_ONE_PAGE: Final = 2**31 - 1
_DICTIONARY: Final = ["level", "severity_number", "service", "host", "log_id", "vnode", "attributes.key_value.key"]
_ENCODING: Final = {
    "timestamp": "DELTA_BINARY_PACKED",
    "observed_timestamp": "DELTA_BINARY_PACKED",
    "message": "DELTA_LENGTH_BYTE_ARRAY",
    "offset": "DELTA_BINARY_PACKED",
    "row": "DELTA_BINARY_PACKED",
}
_MAGIC_BYTES: Final = 8
_KEY = re.compile(
    r"tenant=(?P<tenant>[^/]+)/date=(?P<date>\d{4}-\d\d-\d\d)/hour=(?P<hour>\d\d)/"
    r"(?P<min>-?\d+)-(?P<max>-?\d+)-(?P<uuid>[0-9a-f]{32})-f(?P<footer>\d+)-x(?P<index>\d+)\.parquet"
)


@dataclass(frozen=True, slots=True)
class OffsetRange:
    """Rows of one virtual node of one log: all stored rows have first <= offset < end."""

    log_id: str
    vnode: int
    first: int
    end: int


@dataclass(frozen=True, slots=True)
class StoredRequest:
    """A keyed request's part that this object holds, so that a repeat is known after a restart (section 4.7)."""

    log_id: str
    vnode: int
    offset: int
    key: str
    body_hash: str
    part: int
    parts: int
    observed_us: int


@dataclass(frozen=True, slots=True)
class Facts:
    """What the footer tells of the rows. `ids`: how many rows have an `event_id`."""

    ranges: tuple[OffsetRange, ...]
    content_hash: str
    requests: tuple[StoredRequest, ...] = ()
    ids: int = 0
    index_bytes: int = 0
    format_version: int = FORMAT_VERSION


@dataclass(frozen=True)
class Encoded:
    """A finished object: its bytes and what the catalog needs. `tail_bytes` are footer and index."""

    data: pa.Buffer
    rows: int
    min_us: int
    max_us: int
    footer_bytes: int
    index_bytes: int


def object_key(tenant: str, min_us: int, max_us: int, uuid_hex: str, footer_bytes: int, index_bytes: int) -> str:
    """Name an object; `uuid_hex` is fresh for every attempt to write."""
    date, hour = partition_of(min_us)
    name = f"{min_us}-{max_us}-{uuid_hex}-f{footer_bytes}-x{index_bytes}.parquet"
    return f"tenant={check_tenant(tenant)}/date={date}/hour={hour:02d}/{name}"


def tail_bytes(key: str) -> int:
    """Tell from an object's key how many bytes at its end hold index and footer. Raises CorruptData."""
    match = _KEY.fullmatch(key)
    if match is None:
        raise CorruptData(f"{key} is not the name of an ess_ray object")
    return int(match["footer"]) + int(match["index"])


# ------------------------------------------------------------------------------------------------------- writing
def encode_object(rows: pa.Table, ranges: Sequence[OffsetRange], requests: Sequence[StoredRequest] = ()) -> Encoded:
    """Write sorted rows of EVENT_SCHEMA (one tenant, one hour) as an object."""
    times = rows.column("timestamp").cast(pa.int64())
    facts = Facts(tuple(ranges), content_hash(rows), tuple(requests), len(rows) - rows.column("event_id").null_count)
    sink = pa.BufferOutputStream()
    with pq.ParquetWriter(
        sink,
        EVENT_SCHEMA,
        compression=COMPRESSION,
        compression_level=COMPRESSION_LEVEL,
        use_dictionary=_DICTIONARY,
        column_encoding=_ENCODING,
        write_statistics=["timestamp"],
        data_page_size=_ONE_PAGE,
        max_rows_per_page=_ONE_PAGE,
        store_schema=False,
    ) as writer:
        for start, length in _groups(rows):
            writer.write_table(rows.slice(start, length), row_group_size=length)
        writer.add_key_value_metadata(_to_metadata(facts))
    data = sink.getvalue()
    footer = struct.unpack("<I", data[-_MAGIC_BYTES:-4].to_pybytes())[0] + _MAGIC_BYTES
    return Encoded(data, len(rows), times[0].as_py(), times[-1].as_py(), footer, 0)


def _groups(rows: pa.Table) -> Iterator[tuple[int, int]]:
    """Cut rows into row groups by count and by message bytes; gives (start, length)."""
    start = 0
    while start < len(rows):
        length = min(ROWS_PER_GROUP, len(rows) - start)
        sizes = pc.binary_length(rows.column("message").slice(start, length)).cast(pa.int64())
        if pc.sum(sizes).as_py() > MESSAGE_BYTES_PER_GROUP:
            fits = pc.less_equal(pc.cumulative_sum(sizes), MESSAGE_BYTES_PER_GROUP)
            length = max(1, pc.sum(fits).as_py())
        yield start, length
        start += length


def content_hash(rows: pa.Table) -> str:
    """Hash the rows' values (SHA-256, hex), whatever their chunks, slices and null padding."""
    digest = sha256()
    for name in EVENT_SCHEMA.names:
        digest.update(name.encode() + b"\0")
        _hash_array(rows.column(name).combine_chunks(), digest)
    return digest.hexdigest()


def _hash_array(array: Any, digest: Any) -> None:
    if isinstance(array, pa.ChunkedArray):
        array = array.combine_chunks()
    digest.update(struct.pack("<q", len(array)))
    if array.null_count:
        digest.update(_values(pc.cast(pc.is_null(array), pa.uint8())))
    if pa.types.is_map(array.type):
        flat = pa.concat_arrays([array])
        _hash_array(pc.subtract(flat.offsets[1:], flat.offsets[:-1]), digest)
        start, end = flat.offsets[0].as_py(), flat.offsets[-1].as_py()
        _hash_array(flat.keys.slice(start, end - start), digest)
        _hash_array(flat.items.slice(start, end - start), digest)
    elif pa.types.is_string(array.type):
        filled = pc.fill_null(array, "")
        lengths = pc.binary_length(filled)
        digest.update(_values(lengths))
        text = filled.buffers()[2]
        if text is not None and len(filled):
            ends = memoryview(filled.buffers()[1]).cast("i")
            first, last = ends[filled.offset], ends[filled.offset + len(filled)]
            digest.update(text.slice(first, last - first))
    else:
        digest.update(_values(pc.fill_null(array.cast(pa.int64()), 0)))


def _values(array: Any) -> pa.Buffer:
    """Give the value buffer of a fixed-width array without nulls, cut to the array."""
    width = array.type.bit_width // 8
    buffer = array.buffers()[1]
    return b"" if buffer is None else buffer.slice(array.offset * width, len(array) * width)


def _to_metadata(facts: Facts) -> dict[str, str]:
    return {
        "ess.format": str(facts.format_version),
        "ess.ranges": json.dumps([asdict(part) for part in facts.ranges]),
        "ess.content_hash": facts.content_hash,
        "ess.requests": json.dumps([astuple(request) for request in facts.requests], separators=(",", ":")),
        "ess.ids": str(facts.ids),
        "ess.index": str(facts.index_bytes),
    }


# ------------------------------------------------------------------------------------------------------- reading
Fetch = Callable[[int, int], bytes]
"""(offset, length) -> bytes of the object."""


class Blobs(Protocol):
    """What reading an object needs of a store."""

    def get_range(self, key: str, offset: int, length: int) -> bytes: ...

    def get_suffix(self, key: str, length: int) -> bytes: ...


def open_object(blobs: Blobs, key: str, size: int) -> ObjectReader:
    """Open an object by one suffix read. Raises NotFound, CorruptData."""
    tail = blobs.get_suffix(key, min(size, tail_bytes(key)))
    return ObjectReader(key, size, tail, lambda offset, length: blobs.get_range(key, offset, length))


class ObjectReader:
    """One object opened by its tail. Counts what it fetched; not for several threads at once."""

    def __init__(self, key: str, size: int, tail: bytes, fetch: Fetch) -> None:
        self.key = key
        self.gets = 1
        self.bytes_read = len(tail)
        self._file = _RangeFile(size, tail, self._counted(fetch))
        try:
            # From the tail alone: by itself pyarrow would look for a footer in the last 64 KiB.
            metadata = pq.read_metadata(pa.BufferReader(tail))
            self.parquet = pq.ParquetFile(self._file, metadata=metadata, pre_buffer=True)
            self.facts = _from_metadata(self.parquet.metadata.metadata or {})
        except (pa.ArrowException, KeyError, ValueError, TypeError) as error:
            raise CorruptData(f"{key} cannot be read as an ess_ray object: {error}") from error

    def _counted(self, fetch: Fetch) -> Fetch:
        def counted(offset: int, length: int) -> bytes:
            data = fetch(offset, length)
            self.gets += 1
            self.bytes_read += len(data)
            return data

        return counted

    @property
    def groups(self) -> int:
        """The number of row groups."""
        return int(self.parquet.num_row_groups)

    def group_times(self, group: int) -> tuple[int, int]:
        """Give the first and last timestamp of a row group, from its statistics."""
        statistics = self.parquet.metadata.row_group(group).column(0).statistics
        return statistics.min_raw, statistics.max_raw

    def read_group(self, group: int, columns: Sequence[str] | None = None) -> pa.Table:
        """Read (some columns of) a row group; columns that an older object lacks come as nulls."""
        have = set(self.parquet.schema_arrow.names)
        wanted = EVENT_SCHEMA if columns is None else pa.schema([EVENT_SCHEMA.field(name) for name in columns])
        try:
            table = self.parquet.read_row_group(group, columns=[name for name in wanted.names if name in have])
        except (pa.ArrowException, OSError) as error:
            raise CorruptData(f"{self.key}: row group {group} cannot be read: {error}") from error
        length = self.parquet.metadata.row_group(group).num_rows
        arrays = [table.column(f.name).cast(f.type) if f.name in have else pa.nulls(length, f.type) for f in wanted]
        return pa.Table.from_arrays(arrays, schema=wanted)


class _RangeFile(io.RawIOBase):
    """A seekable file over ranges of an object whose tail is already there."""

    def __init__(self, size: int, tail: bytes, fetch: Fetch) -> None:
        super().__init__()
        self._size, self._tail, self._fetch = size, tail, fetch
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = offset + (0, self._at, self._size)[whence]
        return self._at

    def read(self, size: int = -1) -> bytes:
        size = self._size - self._at if size is None or size < 0 else min(size, self._size - self._at)
        if size <= 0:
            return b""
        into_tail = self._at - (self._size - len(self._tail))
        data = self._tail[into_tail : into_tail + size] if into_tail >= 0 else self._fetch(self._at, size)
        self._at += len(data)
        return data


def _from_metadata(metadata: dict[bytes, bytes]) -> Facts:
    version = int(metadata[b"ess.format"])
    if version > FORMAT_VERSION:
        raise ValueError(f"format version {version} is newer than this ess_ray: upgrade it")
    return Facts(
        tuple(OffsetRange(**part) for part in json.loads(metadata[b"ess.ranges"])),
        metadata[b"ess.content_hash"].decode(),
        tuple(StoredRequest(*request) for request in json.loads(metadata[b"ess.requests"])),
        int(metadata[b"ess.ids"]),
        int(metadata[b"ess.index"]),
        version,
    )


# ------------------------------------------------------------------------------------------------------ scanning
@dataclass(frozen=True)
class ObjectMatches:
    """Matching rows of one object in answer order, at most the query's limit, all distinct by `event_id`."""

    rows: pa.Table
    rows_matched: int
    duplicates_suppressed: int


def scan_object(reader: ObjectReader, query: Query, cancelled: Callable[[], bool] = lambda: False) -> ObjectMatches:
    """Find a query's rows in one object, newest or oldest row group first, until the limit is proven.

    Columns that the query does not test are read only where rows matched. `cancelled` is asked between row groups,
    since nothing can interrupt the native code that matches one.
    """
    newest = query.order == "newest"
    groups = range(reader.groups)
    found: list[pa.Table] = []
    seen: set[str] = set()
    matched = repeats = kept = 0
    for group in reversed(groups) if newest else groups:
        if kept >= query.limit or cancelled():
            break
        if not query.overlaps(*reader.group_times(group)):
            continue
        rows = _matching_rows(reader, group, query)
        matched += len(rows)
        if newest:
            rows = rows.take(pa.array(range(len(rows) - 1, -1, -1), pa.int64()))
        rows, again = first_copies(rows, seen)
        repeats += again
        kept += len(rows)
        found.append(rows)
    rows = pa.concat_tables(found).slice(0, query.limit) if found else EMPTY
    return ObjectMatches(rows, matched, repeats)


def _matching_rows(reader: ObjectReader, group: int, query: Query) -> pa.Table:
    columns = query.columns()
    if not columns:
        return reader.read_group(group)
    tested = reader.read_group(group, [name for name in EVENT_SCHEMA.names if name in columns])
    indices = filter_batch(tested, query)
    if not len(indices):
        return EMPTY
    others = [name for name in EVENT_SCHEMA.names if name not in columns]
    rest = reader.read_group(group, others).take(indices)
    mine = tested.take(indices)
    arrays = [mine.column(name) if name in columns else rest.column(name) for name in EVENT_SCHEMA.names]
    return pa.Table.from_arrays(arrays, schema=EVENT_SCHEMA)
