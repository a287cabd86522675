"""What is fuzzed: for each reader its valid inputs to begin with, and what must hold of any input at all.

Only the documented error comes out, memory stays bounded (the fuzzing process checks it), and where a slow path says
what is right, the fast one says the same.
"""

from __future__ import annotations

import io
import json
import random
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ess_ray.adapters.sqlite_file import decode_headers, encode_headers
from ess_ray.core.chunk import OffsetRange, encode_object
from ess_ray.core.chunk.footer import parse_footer
from ess_ray.core.chunk.page import NotInPlace, text_blocks
from ess_ray.core.collect import ROWS, FieldNames, Grouping
from ess_ray.core.errors import BadRequest, CorruptData, NewerFormat, NotFound, QueryError
from ess_ray.core.event import EVENT_SCHEMA, RECORD_SCHEMA
from ess_ray.core.index import Index, build
from ess_ray.core.literals import needs
from ess_ray.core.query import Compare, Field, Query
from ess_ray.language import parse
from ess_ray.ports import ObjectEntry, ScanTask, StoredRecord
from ess_ray.record import RequestKey, decode_record, encode_records
from ess_ray.search.scan import run_task
from ess_ray.search.wire import decode_task, encode_task
from ess_ray.testing import MemoryObjectStore
from tests.fuzz.ways_in import WAYS_IN

T0_US = 1_790_000_000_000_000
TEXTS = ("GET /a 200", "", "naïve ß", "x" * 300, "GET /b 404 timeout", "\0\n")


@dataclass(frozen=True)
class Target:
    """A reader: `seeds` gives valid inputs, `run` fails for an input that it should not have taken so."""

    seeds: Callable[[], Iterator[bytes]]
    run: Callable[[bytes], None]
    mutate: Callable[[bytes, int], bytes] | None = None
    """(input, random number) -> another input: where flipped bytes would mostly be no document at all."""


def _events(count: int, schema: pa.Schema = EVENT_SCHEMA) -> pa.RecordBatch:
    given: dict[str, Any] = {
        "timestamp": [T0_US + i for i in range(count)],
        "observed_timestamp": [T0_US] * count,
        "message": [TEXTS[i % len(TEXTS)] for i in range(count)],
        "level": ["ERROR" if i % 3 else None for i in range(count)],
        "event_id": [f"id-{i}" for i in range(count)],
        "trace_id": [f"{i:032x}" for i in range(count)],
        "attributes": [[("user", f"u{i}")] if i % 2 else None for i in range(count)],
        "log_id": ["log"] * count,
        "vnode": [0] * count,
        "offset": range(count),
        "row": [0] * count,
    }
    arrays = [pa.array(given[f.name], f.type) if f.name in given else pa.nulls(count, f.type) for f in schema]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


# ------------------------------------------------------------------------------------------------------- log records
def _record_seeds() -> Iterator[bytes]:
    request = RequestKey("default", "key", "hash", 0, 1)
    for count, codec, key in ((1, "lz4", None), (6, "zstd", request), (40, None, None)):
        for record in encode_records(_events(count, RECORD_SCHEMA), 0, "default", key, codec):  # type: ignore[arg-type]
            headers = encode_headers(record.headers)
            yield struct.pack("<H", len(headers)) + headers + record.value


def _run_record(data: bytes) -> None:
    size = int.from_bytes(data[:2], "little")
    try:
        headers = decode_headers(data[2 : 2 + size])
        decoded = decode_record(StoredRecord(7, data[2 + size :], headers), "log", 3)
    except (CorruptData, NewerFormat):
        return
    decoded.batch.validate(full=True)
    rows = decoded.batch.select(RECORD_SCHEMA.names)
    if not len(rows):
        return
    try:
        records = encode_records(rows, 3, decoded.tenant, decoded.request)
    except BadRequest:
        return  # an event beyond what a record of ours holds
    again = [decode_record(StoredRecord(7, each.value, each.headers), "log", 3).batch for each in records]
    assert pa.concat_batches([one.select(RECORD_SCHEMA.names) for one in again]).equals(rows)


# ------------------------------------------------------------------------------------------------------------- pages
CODECS = ("UNCOMPRESSED", "ZSTD", "LZ4", "SNAPPY")
ARROWS = {"UNCOMPRESSED": "none", "ZSTD": "zstd", "LZ4": "lz4", "SNAPPY": "snappy"}
MAX_PAGE_ROWS = 300


@cache
def _file_of(codec: str, rows: int, version: str) -> tuple[bytes, int, int]:
    """Give a file of one message column, and where its column chunk begins and ends in it."""
    schema = pa.schema([pa.field("message", pa.string(), nullable=False)])
    table = pa.table({"message": [TEXTS[i % len(TEXTS)] + str(i) for i in range(rows)]}, schema=schema)
    sink = io.BytesIO()
    pq.write_table(
        table,
        sink,
        compression=ARROWS[codec],
        use_dictionary=False,
        column_encoding={"message": "DELTA_LENGTH_BYTE_ARRAY"},
        data_page_version=version,
        max_rows_per_page=max(1, rows // 2),
        write_statistics=False,
    )
    column = pq.read_metadata(io.BytesIO(sink.getvalue())).row_group(0).column(0)
    start = column.data_page_offset
    return sink.getvalue(), start, start + column.total_compressed_size


VERSIONS = ("1.0", "2.0")


def _page_seeds() -> Iterator[bytes]:
    for codec in range(len(CODECS)):
        for version in range(len(VERSIONS)):
            for rows in (1, 33, 290):
                file, start, end = _file_of(CODECS[codec], rows, VERSIONS[version])
                yield bytes([codec, version]) + struct.pack("<H", rows) + file[start:end]


def _run_page(data: bytes) -> None:
    if len(data) < 4:
        return
    codec, version = CODECS[data[0] % len(CODECS)], VERSIONS[data[1] % len(VERSIONS)]
    rows, chunk = int.from_bytes(data[2:4], "little") % MAX_PAGE_ROWS + 1, data[4:]
    try:
        blocks = text_blocks(pa.py_buffer(chunk), codec, rows)
        texts = [piece for block in blocks for piece in _pieces(block)]
    except NotInPlace:
        return
    assert len(texts) == rows
    # Arrow reads the same bytes where they fit into the file that our own were taken from.
    file, start, end = _file_of(codec, rows, version)
    if len(chunk) != end - start:
        return
    try:
        read = pq.read_table(io.BytesIO(file[:start] + chunk + file[end:]), use_threads=False)
    except (pa.ArrowException, OSError):
        return
    expected = read.column("message").cast(pa.binary()).to_pylist()
    assert texts == expected, f"{texts[:5]} is not {expected[:5]}"


def _pieces(block: Any) -> list[bytes]:
    borders, text = block.offsets, block.data.to_pybytes()
    block.rows_beyond_ascii()
    return [text[a:b] for a, b in pairwise(borders.tolist())]


# ------------------------------------------------------------------------------------------------------------ footers
@cache
def _object(rows: int) -> tuple[bytes, int]:
    made = encode_object(pa.Table.from_batches([_events(rows)]), [OffsetRange("log", 0, 0, rows)])
    return made.data.to_pybytes(), made.footer_bytes + made.index_bytes


def _footer_seeds() -> Iterator[bytes]:
    for rows in (1, 50, 5000):
        data, tail = _object(rows)
        yield data[-tail:]


def _run_footer(data: bytes) -> None:
    try:
        footer = parse_footer("tenant=t/o.parquet", data)
    except CorruptData:
        return
    assert footer.cost_bytes >= 0
    try:
        assert all(isinstance(first, int) and isinstance(last, int) for first, last in footer.times)
    except CorruptData:
        return


# -------------------------------------------------------------------------------------------------------------- index
NEEDS = tuple(
    needs(Query(parse(text)))
    for text in ("timeout", "id:id-3", "trace_id:abc", "user:u1 OR GET", "level:ERROR -level:x")
)
INDEX_GROUPS = 10


def _index_seeds() -> Iterator[bytes]:
    for groups in (1, 8, INDEX_GROUPS):
        blob = build([pa.Table.from_batches([_events(200 + group)]) for group in range(groups)])
        for mend in (0, 1):
            yield bytes([groups, mend]) + blob


def _run_index(data: bytes) -> None:
    if len(data) < 2:
        return
    groups, blob = data[0] % (INDEX_GROUPS + 1), data[2:]
    if data[1] & 1:  # past the table's checksum: who could forge it, or a flip that it does not see
        blob = _with_right_checksum(blob)
    try:
        index = Index(blob, groups)
        for formula in NEEDS:
            kept = index.keep(formula)
            assert kept == sorted(set(kept))
            assert all(0 <= group < groups for group in kept)
    except CorruptData:
        return


HEAD_BYTES, ENTRY_BYTES = 20, 14
"""Of the index: magic, versions, row groups, planes, checksum; and of one plane's entry in the table."""


def _with_right_checksum(blob: bytes) -> bytes:
    if len(blob) < HEAD_BYTES:
        return blob
    planes = int.from_bytes(blob[12:16], "little")
    table = blob[HEAD_BYTES : HEAD_BYTES + planes * ENTRY_BYTES]
    checksum = zlib.crc32(table, zlib.crc32(blob[:16] + bytes(4)))
    return blob[:16] + checksum.to_bytes(4, "little") + blob[HEAD_BYTES:]


# -------------------------------------------------------------------------------------------------------------- query
QUERIES = (
    'timeout level:ERROR service:"api gw" host:/web-\\d+/',
    "duration:>=5 OR latency:[1 TO 2.5] -trace_id:* (a OR b) NOT c",
    'timestamp:>1790000000 field:(x OR y) a*b /re\\/gex/i http://x:80/y id:* attributes.k:v {"k":1}',
)


def _query_seeds() -> Iterator[bytes]:
    for text in QUERIES:
        yield text.encode()
        yield from (word.encode() for word in text.split())


def _run_query(data: bytes) -> None:
    text = data.decode("utf-8", "surrogateescape" if data[:1] == b"\xff" else "replace")
    try:
        root = parse(text)
    except QueryError as error:
        assert 0 <= error.position <= len(text)  # noqa: PT017 (a refusal is one of two right answers)
        return
    assert parse(text) == root
    task = ScanTask("t", Query(root), ())
    assert _through(task) == task
    needs(Query(root))


def _through(task: ScanTask) -> ScanTask:
    return decode_task(json.loads(json.dumps(encode_task(task), allow_nan=False)))


# ------------------------------------------------------------------------------------------------------- Lambda tasks
def _task_seeds() -> Iterator[bytes]:
    entry = ObjectEntry("tenant=t/o.parquet", 10, "t", "2026-09-21", 13, 2, 1, 5, 9)
    for text in QUERIES:
        for collector in (ROWS, Grouping(60, (Field("level"), Field("k", True))), FieldNames()):
            task = ScanTask("t", Query(parse(text), None, T0_US), (entry,), collector=collector)
            yield json.dumps(encode_task(task)).encode()
    yield json.dumps(encode_task(ScanTask("t", Query(Compare(Field("n"), "<", float("inf"))), ()))).encode()


ODD: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 2**31, 2**63, 2**70, 1.5, float("inf"), float("nan"), "", "a", "\0\ud800", "9" * 5000),
    *([], {}, [[]], ["not", ["all"]], ["and"], ["compare", "n", True, "<", "nan"], ["regex", "n", True, "(", False]),
)


def _mutate_task(data: bytes, seed: int) -> bytes:
    """Put something odd in the place of one value of the document, or leave the value out."""
    chance = random.Random(seed)
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        return json.dumps(chance.choice(ODD)).encode()
    places = list(_places(document))
    if not places:
        return json.dumps(chance.choice(ODD)).encode()
    holder, name = chance.choice(places)
    if chance.random() < 0.1:
        del holder[name]
    else:
        holder[name] = chance.choice(ODD)
    return json.dumps(document).encode()


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    names = value.keys() if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    for name in names:
        yield value, name
        yield from _places(value[name])


STORE = MemoryObjectStore(lambda: 0)


def _run_task(data: bytes) -> None:
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return  # Lambda's own to refuse
    try:
        task = decode_task(value)
    except BadRequest:
        return
    encoded = json.dumps(encode_task(task))
    assert json.dumps(encode_task(decode_task(json.loads(encoded)))) == encoded
    try:
        result = run_task(STORE, task)
    except (BadRequest, NotFound):
        return
    assert {key for key, _ in result.failed} <= {entry.key for entry in task.entries}


TARGETS = {
    "record": Target(_record_seeds, _run_record),
    "page": Target(_page_seeds, _run_page),
    "footer": Target(_footer_seeds, _run_footer),
    "index": Target(_index_seeds, _run_index),
    "query": Target(_query_seeds, _run_query),
    "task": Target(_task_seeds, _run_task, _mutate_task),
    **{name: Target(seeds, run) for name, (seeds, run) in WAYS_IN.items()},
}
