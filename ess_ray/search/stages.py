"""The stages of a pipe behind the first: columns and rows -> columns and rows."""

from __future__ import annotations

from collections.abc import Sequence
from operator import itemgetter
from typing import Any, Final

from ess_ray.language import Fields, Limit, Sort, Step

MAX_TABLE_ROWS: Final = 10_000
"""Of a pipe's table: a few megabytes of JSON; who wants more wants an export."""
TIME, TEXT, NUMBER, BOOLEAN, NUMBERS = "time", "text", "number", "boolean", "numbers"
"""Types of columns: times are RFC 3339 text, numbers an array of them."""

Columns = list[dict[str, str]]
Rows = list[list[Any]]


def stepped(columns: Columns, rows: Rows, steps: Sequence[Step]) -> tuple[Columns, Rows]:
    """Do the stages behind the first."""
    for step in steps:
        match step:
            case Sort(keys):
                rows = _sorted(rows, columns, keys)
            case Limit(count):
                rows = rows[:count]
            case Fields(names):
                places = [_place(columns, name) for name in names]
                columns = [columns[at] for at in places]
                rows = [[row[at] for at in places] for row in rows]
    return columns, rows


def cut_table(columns: Columns, rows: Rows) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Give a table of at most MAX_TABLE_ROWS, and what is missing in it."""
    total = len(rows)
    missing = f"the table has {total:,} rows, the first {MAX_TABLE_ROWS:,} are here: add `| top N` or `| limit N`"
    table = {"columns": columns, "rows": rows[:MAX_TABLE_ROWS], "rows_total": total}
    return table, (missing,) if total > MAX_TABLE_ROWS else ()


def _place(columns: Sequence[dict[str, str]], name: str) -> int:
    return next(at for at, column in enumerate(columns) if column["name"] == name)


def _sorted(rows: Rows, columns: Columns, keys: Sequence[tuple[str, bool]]) -> Rows:
    for name, descending in reversed(keys):  # sorting is stable: the first key counts most
        at = _place(columns, name)
        there = sorted((row for row in rows if row[at] is not None), key=itemgetter(at), reverse=descending)
        rows = [*there, *(row for row in rows if row[at] is None)]
    return rows
