"""A full scan of stored objects, in this process, CPU time: beside decompression alone, and beside Arrow's own way.

The objects lie in files and are read from the page cache, each opened anew (its footer parsed) for every scan. A scan
includes all that `collect_object` does: fetching, decompressing, searching, deciding rows, reading those that matched.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Final

import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ess_ray.core.chunk import collect_object, encode_object, open_object
from ess_ray.core.chunk.page import text_blocks
from ess_ray.core.chunk.write import MessageCodec
from ess_ray.core.collect import ROWS
from ess_ray.core.event import EVENT_SCHEMA, IDENTITY_FIELDS
from ess_ray.core.query import MAX_LIMIT, Query
from ess_ray.generate import events
from ess_ray.intake.formats.format import Body
from ess_ray.intake.formats.json_events import decode_events
from ess_ray.intake.limits import IntakeLimits
from ess_ray.language import parse
from tests.benchmarks.report import Row

SEED: Final = 11
END_US: Final = 1_790_000_000_000_000
BATCH_EVENTS: Final = 5_000
OBJECT_EVENTS: Final = 200_000
"""In one object: about what a buffer of 64 MiB holds."""
LOCAL_GAP_BYTES: Final = 32 * 1024
"""Between ranges of a local file: reading on costs as much as reading anew."""
QUERIES: Final = (
    # Four letters: shorter than what the skip index holds, so that every page is searched.
    ("a literal that is nowhere", '"qzx~"'),
    ("the same, ignoring case", "qzx~"),
    ("ignoring case, with the letters that fold beyond ASCII", "skq~"),
    ("a regex that is nowhere", r"/upstream=[a-z]+-zq[0-9]/"),
    ("a regex without a literal, so that every row is tested", "/[0-9a-f]{64}/"),
    ("a regex with few hits", r"/user=u-\d+7777\b/"),
    ("a literal in every row group, in 0.2 % of the rows", '"PaymentService.charge"'),
    ("a regex in many rows (up to the limit)", r"/rt=\d/"),
    ("two fields, in 0.03 % of the rows", "service:payments level:ERROR"),
    ("an attribute, in 0.01 % of the rows", "user_id:u-00123"),
    ("a number that 0.03 % of the rows exceed", "duration_ms:>500"),
)


class Files:
    """Objects as files of one folder."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def path(self, key: str) -> Path:
        return self._directory / key

    def get_range(self, key: str, offset: int, length: int) -> bytes:
        with self.path(key).open("rb", buffering=0) as file:
            file.seek(offset)
            return file.read(length)

    def stream_range(self, key: str, offset: int, length: int) -> Generator[bytes, None, None]:
        yield self.get_range(key, offset, length)

    def get_suffix(self, key: str, length: int) -> bytes:
        return self.get_range(key, self.path(key).stat().st_size - length, length)


def tables(count: int) -> Iterator[pa.Table]:
    """Give events as they stand in objects: OBJECT_EVENTS each."""
    batches: list[pa.RecordBatch] = []
    batch: list[bytes] = []
    made = 0
    for made, event in enumerate(events(count, SEED, END_US), 1):
        batch.append(orjson.dumps(event))
        if len(batch) < BATCH_EVENTS and made < count:
            continue
        body, rows = b"\n".join(batch), len(batch)
        decoded = decode_events(Body(body, "application/x-ndjson"), END_US, IntakeLimits()).batch
        identity = [["6f1c9d52-benchmark"] * rows, [made // BATCH_EVENTS % 8] * rows, [made] * rows, range(rows)]
        arrays = [pa.array(column, f.type) for column, f in zip(identity, IDENTITY_FIELDS, strict=True)]
        batches.append(pa.RecordBatch.from_arrays([*decoded.columns, *arrays], schema=EVENT_SCHEMA))
        batch = []
        if len(batches) * BATCH_EVENTS >= OBJECT_EVENTS:
            yield pa.Table.from_batches(batches)
            batches = []
    if batches:
        yield pa.Table.from_batches(batches)


def _store(directory: Path, count: int) -> dict[MessageCodec, list[tuple[str, int]]]:
    """Write the objects once for each codec; gives their keys and sizes."""
    stored: dict[MessageCodec, list[tuple[str, int]]] = {"zstd": [], "lz4": []}
    for table in tables(count):
        for codec, keys in stored.items():
            encoded = encode_object(table, (), (), codec)
            key = encoded.key("default")
            path = directory / key
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(encoded.data)
            keys.append((key, len(encoded.data)))
    return stored


def _cpu_s(work: Callable[[], object], rounds: int) -> float:
    took = []
    for _ in range(rounds):
        began = time.process_time()
        work()
        took.append(time.process_time() - began)
    return statistics.median(took)


def _message_pages(files: Files, keys: list[tuple[str, int]]) -> list[tuple[pa.Buffer, str, int, int]]:
    """Give every message page's chunk in memory: (bytes, codec, rows, bytes decompressed)."""
    pages = []
    for key, _ in keys:
        data, metadata = pa.py_buffer(files.path(key).read_bytes()), pq.read_metadata(files.path(key))
        leaf = metadata.schema.names.index("message")
        for group in range(metadata.num_row_groups):
            column = metadata.row_group(group).column(leaf)
            chunk = data.slice(column.data_page_offset, column.total_compressed_size)
            pages.append(
                (chunk, column.compression, metadata.row_group(group).num_rows, column.total_uncompressed_size)
            )
    return pages


def _scan(files: Files, keys: list[tuple[str, int]], query: Query) -> int:
    matched = 0
    for key, size in keys:
        reader = open_object(files, key, size, gap_bytes=LOCAL_GAP_BYTES)
        matched += collect_object(reader, query, ROWS).rows_matched
    return matched


def _arrow(files: Files, keys: list[tuple[str, int]], match: Callable[[pa.Array], object]) -> None:
    for key, _ in keys:
        file = pq.ParquetFile(files.path(key))
        for group in range(file.num_row_groups):
            match(file.read_row_group(group, columns=["message"], use_threads=False).column("message"))


def measure(directory: Path, count: int, rounds: int) -> list[Row]:
    """Write `count` events as objects, with zstd and with lz4 messages, and scan them `rounds` times; gives medians."""
    files, stored = Files(directory), _store(directory, count)
    rows = []
    for codec, keys in stored.items():
        pages = _message_pages(files, keys)
        text_bytes = sum(page[3] for page in pages)
        alone_s = _cpu_s(lambda pages=pages: [text_blocks(*page[:3]) for page in pages], rounds)  # type: ignore[misc]
        size = sum(size for _, size in keys) / count
        rows.append(_row(f"{codec}: decompression alone", alone_s, text_bytes, alone_s, f"{size:.1f} B an event"))
        literal_s = _cpu_s(lambda keys=keys: _arrow(files, keys, _seek_literal), rounds)  # type: ignore[misc]
        rows.append(_row(f"{codec}: Arrow decodes and seeks a literal", literal_s, text_bytes, alone_s, ""))
        for what, text in QUERIES:
            query = Query(parse(text), limit=MAX_LIMIT)
            matched = _scan(files, keys, query)
            took_s = _cpu_s(lambda keys=keys, query=query: _scan(files, keys, query), rounds)  # type: ignore[misc]
            rows.append(_row(f"{codec}: {what}", took_s, text_bytes, alone_s, f"{matched:,} rows"))
    return rows


def _seek_literal(messages: pa.ChunkedArray) -> object:
    return pc.match_substring(messages, "kqxzvwjq")


def _row(what: str, took_s: float, text_bytes: int, alone_s: float, note: str) -> Row:
    beside = f"{took_s / alone_s:.2f}x decompression; {note}".rstrip("; ")
    return Row(what, f"{took_s * 1e3:.0f} ms, {text_bytes / took_s / 1e9:.2f} GB/s of messages", beside)
