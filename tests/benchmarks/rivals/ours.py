"""Our side: flushes and compaction as they run, and the Searcher itself over a local folder, in one process."""

from __future__ import annotations

import asyncio
import importlib.metadata
import statistics
from collections import defaultdict
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq

import ess_ray.search.scan as task_scan
import ess_ray.search.sift as planned_scan
from ess_ray.adapters.delta_catalog import DeltaCatalog
from ess_ray.adapters.memory_results import MemoryResultStore
from ess_ray.adapters.object_store import LocalObjectStore
from ess_ray.core.chunk import FooterCache, MessageCodec, tail_bytes
from ess_ray.core.chunk.page import text_blocks
from ess_ray.core.query import Query
from ess_ray.core.tenant import DEFAULT_TENANT
from ess_ray.ingest.buffer import Segment, segment_of
from ess_ray.ingest.seal import entry_of, seal
from ess_ray.language import parse
from ess_ray.limits import CompactionPolicy, SearchLimits
from ess_ray.ports import (
    Advance,
    Catalog,
    ObjectEntry,
    ObjectInfo,
    ObjectStore,
    ResultStore,
    vnode_advances,
)
from ess_ray.search.run import Searcher
from ess_ray.table.compaction import compact
from ess_ray.testing import HereExecutor, MemoryLog, NoOwners
from tests.benchmarks.corpus import BATCH_EVENTS, LOG_ID, VNODES, Corpus
from tests.benchmarks.rivals.shapes import Shape
from tests.benchmarks.rivals.side import Found, Side, timed

FLUSH_EVENTS: Final = 200_000
"""In a flush: about the 64 MiB at which a writer seals."""
MIN_FLUSHES: Final = 8
"""So that a small corpus is compacted too: what a flush writes is zstd, whatever codec compaction is told."""
WAIT_S: Final = 600.0
DECOMPRESS_ROUNDS: Final = 5


class _Counted:
    """A store of which is known only what the port says, so that it is read as one far away; counts what is read."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self.requests = self.bytes = 0

    def put(self, key: str, data: bytes | pa.Buffer) -> None:
        self._store.put(key, data)

    def head(self, key: str) -> ObjectInfo | None:
        self.requests += 1
        return self._store.head(key)

    def get_range(self, key: str, offset: int, length: int) -> bytes:
        return self._got(self._store.get_range(key, offset, length))

    def stream_range(self, key: str, offset: int, length: int) -> Generator[bytes, None, None]:
        self.requests += 1
        with closing(self._store.stream_range(key, offset, length)) as pieces:
            for piece in pieces:
                self.bytes += len(piece)
                yield piece

    def get_suffix(self, key: str, length: int) -> bytes:
        return self._got(self._store.get_suffix(key, length))

    def _got(self, data: bytes) -> bytes:
        self.requests += 1
        self.bytes += len(data)
        return data

    def list(self, prefix: str) -> Sequence[ObjectInfo]:
        self.requests += 1
        return self._store.list(prefix)

    def delete(self, key: str) -> None:
        self._store.delete(key)

    def now_us(self) -> int:
        return self._store.now_us()


def searcher_over(catalog: Catalog, store: ObjectStore, results: ResultStore) -> Searcher:
    """Wire up a search of everything stored, in this process."""
    log, executor = MemoryLog(VNODES), HereExecutor(store)
    return Searcher(log, catalog, store, NoOwners(), executor=executor, results=results, limits=SearchLimits())


async def answer(searcher: Searcher, results: ResultStore, shape: Shape) -> list[int]:
    """Ask, and give the timestamps of the whole answer. Raises AssertionError when it is not complete."""
    query = Query(parse(shape.ours), shape.start_us, shape.end_us, shape.limit)
    query_id = await searcher.start(DEFAULT_TENANT, query)
    await searcher.wait(DEFAULT_TENANT, query_id, WAIT_S)
    state = await results.state(DEFAULT_TENANT, query_id)
    if state.state != "done" or not state.complete:
        raise AssertionError(f"{shape.ours}: {state}")
    rows = await results.rows(DEFAULT_TENANT, query_id, 0, shape.limit)
    times_us: list[int] = rows.column("timestamp").cast(pa.int64()).to_pylist()
    return times_us


class Ours(Side):
    """Objects of one message codec, as compaction leaves them."""

    def __init__(self, folder: Path, codec: MessageCodec) -> None:
        super().__init__(folder)
        self._codec: MessageCodec = codec
        self._store, self._catalog = LocalObjectStore(folder), DeltaCatalog(folder)
        self._loop = asyncio.new_event_loop()
        self._results = MemoryResultStore(self._store.now_us)
        self._searcher = self._over(self._store)

    def _over(self, store: ObjectStore) -> Searcher:
        return searcher_over(self._catalog, store, self._results)

    def version(self) -> str:
        return f"ess_ray {importlib.metadata.version('ess_ray')}, messages as {self._codec}"

    def load(self, corpus: Corpus) -> tuple[int, str]:
        """Flush after flush, then compaction until nothing is worth it."""
        events = min(FLUSH_EVENTS, corpus.count // MIN_FLUSHES)
        for rows in _pieces(corpus, events - events % BATCH_EVENTS or BATCH_EVENTS):
            self._flush(rows)
        flushed = self._entries()
        while (done := compact(self._catalog, self._store, CompactionPolicy({}, self._codec), eager=True)).more:
            pass
        if done.skipped:
            raise AssertionError(f"compaction left something: {done.skipped}")
        entries = self._entries()
        size = sum(entry.size for entry in entries)
        before = f"{len(flushed)} objects of {sum(e.size for e in flushed) / 1e6:.1f} MB before compaction"
        return size, f"{len(entries)} objects, index and footers included; {before}"

    def _flush(self, rows: pa.Table) -> None:
        segments: dict[int, list[Segment]] = {}
        advances: dict[int, Advance] = {}
        for batch in rows.combine_chunks().to_batches(max_chunksize=BATCH_EVENTS):
            vnode, offset = batch.column("vnode")[0].as_py(), batch.column("offset")[0].as_py()
            segments.setdefault(vnode, []).append(segment_of(offset, DEFAULT_TENANT, batch, 0, None))
            advances[vnode] = Advance(advances[vnode].first if vnode in advances else offset, offset + 1)
        entries = []
        for sealed in seal(LOG_ID, segments, advances):
            entry = entry_of(sealed, self._store.now_us())
            self._store.put(entry.key, sealed.encoded.data)
            entries.append(entry)
        self._catalog.writer().commit(entries, [], vnode_advances(LOG_ID, advances))

    def _entries(self) -> list[ObjectEntry]:
        return self._catalog.snapshot().objects(DEFAULT_TENANT, None, None)

    def query(self, shape: Shape) -> Found:
        return Found(self._loop.run_until_complete(answer(self._searcher, self._results, shape)))

    def check(self, shape: Shape) -> Found:
        """Answer as from a store far away and by a process that has just begun: no footer or index is known."""
        known = task_scan.FOOTERS
        task_scan.FOOTERS = planned_scan.FOOTERS = FooterCache()
        try:
            store = _Counted(self._store)
            times_us = self._loop.run_until_complete(answer(self._over(store), self._results, shape))
        finally:
            task_scan.FOOTERS = planned_scan.FOOTERS = known
        return Found(times_us, store.bytes, store.requests)

    def close(self) -> None:
        """End the loop and its threads."""
        self._loop.run_until_complete(self._loop.shutdown_default_executor())
        self._loop.close()

    def parts(self) -> dict[str, int]:
        """Give stored bytes by column; the skip index and what else there is under names of their own."""
        sizes: dict[str, int] = defaultdict(int)
        for entry in self._entries():
            metadata = pq.read_metadata(self.folder / entry.key)
            for group in range(metadata.num_row_groups):
                for leaf in range(metadata.num_columns):
                    column = metadata.row_group(group).column(leaf)
                    sizes[column.path_in_schema.split(".", 1)[0]] += column.total_compressed_size
            index = int(metadata.metadata[b"ess.index"])
            sizes["(skip index)"] += index
            sizes["(footers)"] += tail_bytes(entry.key) - index
        return dict(sizes)

    def extra(self) -> dict[str, float]:
        """Give the number of objects, and the CPU seconds of decompressing every message page and nothing else."""
        entries = self._entries()
        pages = [page for entry in entries for page in _message_pages(self.folder / entry.key)]
        took = [
            timed(lambda: [text_blocks(chunk, codec, rows) for chunk, codec, rows in pages])[1].cpu_s
            for _ in range(DECOMPRESS_ROUNDS)
        ]
        return {"decompression_s": statistics.median(took), "objects": len(entries)}


def _pieces(corpus: Corpus, events: int) -> Iterator[pa.Table]:
    """Cut the corpus into tables of so many rows."""
    pending: list[pa.Table] = []
    for table in corpus.tables():
        pending.append(table)
        while sum(map(len, pending)) >= events:
            rows = pa.concat_tables(pending)
            yield rows.slice(0, events)
            pending = [rows.slice(events)]
    if sum(map(len, pending)):
        yield pa.concat_tables(pending)


def _message_pages(path: Path) -> Iterator[tuple[pa.Buffer, str, int]]:
    """Give every column chunk of messages, in memory: (bytes, codec, rows)."""
    data, metadata = pa.py_buffer(path.read_bytes()), pq.read_metadata(path)
    leaf = metadata.schema.names.index("message")
    for group in range(metadata.num_row_groups):
        column = metadata.row_group(group).column(leaf)
        chunk = data.slice(column.data_page_offset, column.total_compressed_size)
        yield chunk, column.compression, metadata.row_group(group).num_rows
