"""ClickHouse's side (chdb): a MergeTree by time, with or without its indexes for text and ids.

The schema is the one that OpenTelemetry's exporter makes, as far as our events have its columns.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import chdb
import pyarrow as pa
from chdb.session import Session

from tests.benchmarks.corpus import Corpus
from tests.benchmarks.rivals.shapes import Shape
from tests.benchmarks.rivals.side import Found, Side

COLUMNS: Final = "timestamp, level, service, host, message, trace_id, span_id, attributes"
TABLE: Final = """
CREATE TABLE events (
    timestamp DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    level LowCardinality(String) CODEC(ZSTD(1)),
    service LowCardinality(String) CODEC(ZSTD(1)),
    host LowCardinality(String) CODEC(ZSTD(1)),
    message String CODEC(ZSTD(1)),
    trace_id String CODEC(ZSTD(1)),
    span_id String CODEC(ZSTD(1)),
    attributes Map(LowCardinality(String), String) CODEC(ZSTD(1)){indexes}
) ENGINE = MergeTree ORDER BY timestamp
"""
INDEXES: Final = """,
    INDEX message_text message TYPE text(tokenizer = 'splitByNonAlpha'),
    INDEX trace_bloom trace_id TYPE bloom_filter(0.001) GRANULARITY 1"""
ONE_THREAD: Final = "max_threads = 1, use_query_condition_cache = 0"


class ClickHouse(Side):
    """One table in a session of its own."""

    def __init__(self, folder: Path, indexed: bool) -> None:
        super().__init__(folder)
        self._indexed = indexed
        self._session = Session(str(folder))

    def version(self) -> str:
        server = self._session.query("SELECT version()", "TSV").bytes().decode().strip()
        return f"ClickHouse {server} (chdb {chdb.__version__})"

    def load(self, corpus: Corpus) -> tuple[int, str]:
        session = self._session
        session.query("CREATE DATABASE bench ENGINE = Atomic")
        session.query("USE bench")
        session.query(TABLE.format(indexes=INDEXES if self._indexed else ""))
        files = f"{corpus.folder.resolve()}/*.parquet"
        session.query(
            f"INSERT INTO events SELECT {COLUMNS} FROM file('{files}', Parquet) SETTINGS max_threads = 1,"
            " max_insert_threads = 1"
        )
        session.query("OPTIMIZE TABLE events FINAL")
        answer = session.query(
            "SELECT sum(rows), sum(bytes_on_disk), count(),"
            " sum(secondary_indices_compressed_bytes) FROM system.parts WHERE active AND table = 'events'",
            "TSV",
        )
        rows, size, parts, index = (int(part) for part in answer.bytes().split())
        if rows != corpus.count:
            raise AssertionError(f"ClickHouse holds {rows} of {corpus.count} rows")
        return size, f"{parts} part(s), its skip indexes {index / 1e6:.1f} MB of it"

    def query(self, shape: Shape) -> Found:
        sql = (
            f"SELECT {COLUMNS} FROM bench.events WHERE {' AND '.join(self._tests(shape))}"
            f" ORDER BY timestamp DESC LIMIT {shape.limit} SETTINGS {ONE_THREAD}"
        )
        data = self._session.query(sql, "ArrowStream").bytes()
        if not data:
            return Found([])
        times = pa.ipc.open_stream(data).read_all().column("timestamp")
        return Found(times.cast(pa.timestamp("us", "UTC")).cast(pa.int64()).to_pylist())

    def parts(self) -> dict[str, int]:
        """Give stored bytes by column; its indexes under a name of their own."""
        sql = "SELECT name, data_compressed_bytes FROM system.columns WHERE database = 'bench' AND table = 'events'"
        indexes = (
            "SELECT '(skip index)', sum(secondary_indices_compressed_bytes) FROM system.parts"
            " WHERE active AND table = 'events'"
        )
        lines = self._session.query(f"{sql} UNION ALL {indexes}", "TSV").bytes().decode().splitlines()
        return {name: int(size) for name, size in (line.split("\t") for line in lines)}

    def _tests(self, shape: Shape) -> Iterator[str]:
        yield from (f"{name} = {_text(value)}" for name, value in shape.equals)
        if shape.literal is not None:
            if self._indexed and not shape.ignore_case and (tokens := _surely_whole(shape)):
                yield f"hasAllTokens(message, [{', '.join(map(_text, tokens))}])"
            yield f"message {'ILIKE' if shape.ignore_case else 'LIKE'} {_text('%' + _plain(shape.literal) + '%')}"
        if shape.regex is not None:
            yield f"match(message, {_text(shape.regex)})"
        if shape.start_us is not None:
            yield f"timestamp >= fromUnixTimestamp64Micro({shape.start_us}, 'UTC')"
        if shape.end_us is not None:
            yield f"timestamp < fromUnixTimestamp64Micro({shape.end_us}, 'UTC')"


def _surely_whole(shape: Shape) -> list[str]:
    """Give the literal's words that stand in a matching message as whole tokens."""
    return shape.tokens if shape.whole_tokens else shape.tokens[1:-1]


def _plain(literal: str) -> str:
    return literal.replace("\\", "\\\\").replace("%", r"\%").replace("_", r"\_")


def _text(value: str) -> str:
    return "'" + value.replace("\\", "\\\\").replace("'", r"\'") + "'"
