"""Log queries: lines in order, with their labels."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import pyarrow as pa

from ess_ray.aside import aside
from ess_ray.core.query import Order, Query
from ess_ray.language.logql import tree as t
from ess_ray.search.direct import Direct
from ess_ray.search.logql.entries import Entry
from ess_ray.search.logql.labels import Labels, Rows
from ess_ray.search.logql.narrowing import narrowed
from ess_ray.search.logql.stages import Pipeline

MAX_ENTRIES: Final = 10_000
"""Lines in an answer: some ten megabytes of JSON. Loki's limit is 5,000."""


@dataclass(frozen=True)
class Lines:
    """Entries in order, what is missing in them, and how many bytes were read for them."""

    entries: list[Entry]
    incomplete: tuple[str, ...]
    bytes_read: int


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which lines: of a time [start, end), so many, in this order."""

    start_us: int
    end_us: int
    limit: int
    order: Order


async def find_lines(
    direct: Direct, tenant: str, asked: t.LogQuery, wanted: Wanted, *, configured: Sequence[str]
) -> Lines:
    """Give the first lines of a query. Raises QueryError, TooFast, Unavailable."""
    labels = Labels.of(configured, asked.matchers)
    narrow = narrowed(asked, labels)
    pipeline, rows = Pipeline(narrow.rest), Rows(labels)
    query = Query(narrow.root, wanted.start_us, wanted.end_us, max(1, wanted.limit), wanted.order)
    if not wanted.limit or wanted.end_us <= wanted.start_us:
        return Lines([], (), 0)
    if not narrow.filters:
        found = await direct.rows(tenant, query)
        passed = await aside(_passed, found.table, rows, pipeline)
        return Lines(passed, found.incomplete, found.bytes_read)
    entries: list[Entry] = []
    missing: list[str] = []
    bytes_read = 0
    async with contextlib.aclosing(direct.all_rows(tenant, query)) as tables:
        async for table, left_out in tables:
            missing += left_out
            bytes_read += table.nbytes
            entries += await aside(_passed, table, rows, pipeline)
            if len(entries) >= wanted.limit:
                break
    return Lines(entries[: wanted.limit], tuple(missing), bytes_read)


def _passed(table: pa.Table, rows: Rows, pipeline: Pipeline) -> list[Entry]:
    return pipeline.run([Entry(*row, place) for row, place in zip(rows.read(table), rows.places(table), strict=True)])
