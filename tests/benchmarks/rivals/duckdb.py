"""DuckDB's side: SQL over our own objects, read as the plain Parquet files that they are."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import duckdb
import pyarrow as pa

from tests.benchmarks.corpus import Corpus
from tests.benchmarks.rivals.shapes import Shape
from tests.benchmarks.rivals.side import Found, Side


class DuckDb(Side):
    """One connection, one thread, no copy of the data: `objects` is the folder of our table."""

    def __init__(self, folder: Path, objects: Path) -> None:
        super().__init__(folder)
        self._objects = objects
        self._files: list[str] = []
        self._connection = duckdb.connect()
        self._connection.execute("SET threads = 1")

    def version(self) -> str:
        return f"DuckDB {duckdb.__version__}"

    def load(self, corpus: Corpus) -> tuple[int, str]:
        """Store nothing: name the objects that are live, which are those that compaction wrote."""
        from ess_ray.adapters.delta_catalog import DeltaCatalog

        entries = DeltaCatalog(self._objects).snapshot().objects(None, None, None)
        self._files = [str(self._objects / entry.key) for entry in entries]
        return sum(entry.size for entry in entries), "reads our objects"

    def query(self, shape: Shape) -> Found:
        tests, values = zip(*_tests(shape), strict=True)
        sql = f"SELECT * FROM read_parquet(?) WHERE {' AND '.join(tests)} ORDER BY timestamp DESC LIMIT {shape.limit}"
        found: pa.Table = self._connection.sql(sql, params=[self._files, *values]).to_arrow_table()
        return Found(found.column("timestamp").cast(pa.timestamp("us", "UTC")).cast(pa.int64()).to_pylist())


def _tests(shape: Shape) -> Iterator[tuple[str, object]]:
    yield from ((f"{name} = ?", value) for name, value in shape.equals)
    if shape.literal is not None and shape.ignore_case:
        escaped = shape.literal.replace("!", "!!").replace("%", "!%").replace("_", "!_")
        yield "message ILIKE ? ESCAPE '!'", f"%{escaped}%"
    elif shape.literal is not None:
        yield "contains(message, ?)", shape.literal
    if shape.regex is not None:
        yield "regexp_matches(message, ?)", shape.regex
    if shape.start_us is not None:
        yield "timestamp >= make_timestamptz(?::BIGINT)", shape.start_us
    if shape.end_us is not None:
        yield "timestamp < make_timestamptz(?::BIGINT)", shape.end_us
