"""`ess sql`: a SELECT over events, by DuckDB, on this machine."""

from __future__ import annotations

import csv
import io
import json
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

import click
import pyarrow as pa

from ess_ray.cli.client import Target
from ess_ray.cli.follow import INCOMPLETE
from ess_ray.cli.options import with_target
from ess_ray.cli.output import end_without_reader, json_line, tell, write
from ess_ray.cli.sql_events import EventsTable
from ess_ray.cli.tables import print_table
from ess_ray.cli.when import ALL, Range, Zone, with_range_from
from ess_ray.client import Client
from ess_ray.core.errors import BadRequest, EssError

TABLE: Final = "events"
SHOWN_ROWS: Final = 1_000
"""Rows of a table on a terminal: nobody reads more, and its columns are aligned over all of them."""
BATCH_ROWS: Final = 8_192
_SOURCE: Final = "_ess_events"
_STATEMENTS: Final = ("SELECT", "EXPLAIN")


@click.command()
@click.argument("statement")
@click.option("--query", default="", metavar="QUERY", help="Only events that match, found by the system's indexes.")
@with_range_from(ALL)
@click.option("--format", "form", type=click.Choice(["table", "csv", "json"]), help="Of the result.  [default: table]")
@click.option("--json", "as_json", is_flag=True, help="The same as --format json.")
@with_target
def sql(target: Target, range_: Range, /, *, statement: str, query: str, form: str | None, as_json: bool) -> None:
    """Run a SELECT over the table `events`: what a search covers, stored or not, at one moment.

    \b
    ess sql "SELECT service, count(*) AS n FROM events GROUP BY ALL"
    ess sql "SELECT * FROM events LIMIT 10" --since 1h --format csv
    ess sql "SELECT max(attribute_numbers['ms']) FROM events" --query 'ms>500'

    Only columns that the statement names are read, and only objects of the times that it asks for (or --since and
    --until). DuckDB runs here and reads nothing else: no files, no other databases. The tenant is the key's. --json
    prints one object a line.

    Exit codes: 0 done, 1 failed, 2 the statement is wrong, 3 the answer is incomplete.
    """
    duckdb = _duckdb()
    bounds = range_.bounds()
    with Client(target.url, target.key) as client:
        events = EventsTable(client, query, bounds["start"], bounds.get("end"))
        with _told(duckdb, events), _database(duckdb, range_.zone) as database:
            _print(_result(duckdb, database, statement, events), "json" if as_json else form or "table", range_.zone)
    if events.events is not None and events.events.incomplete:
        for reason in events.events.incomplete:
            tell(f"incomplete: {reason}")
        sys.exit(INCOMPLETE)


def _duckdb() -> Any:
    try:
        import duckdb
    except ModuleNotFoundError as error:
        raise EssError(
            "ess sql needs DuckDB, which is not installed: `pip install 'ess_ray[sql]'`, or `pip install duckdb`"
        ) from error
    return duckdb


@contextmanager
def _told(duckdb: Any, events: EventsTable) -> Iterator[None]:
    """Turn DuckDB's errors into ours: what is wrong with a statement, and what was wrong with the events."""
    try:
        yield
    except duckdb.Error as error:
        if events.error is not None:
            raise events.error from error
        wrong = isinstance(error, duckdb.ProgrammingError | duckdb.DataError | duckdb.NotSupportedError)
        kind = BadRequest if wrong or isinstance(error, duckdb.PermissionException) else EssError
        raise kind(str(error).strip()) from error


@contextmanager
def _database(duckdb: Any, zone: Zone) -> Iterator[Any]:
    """Open a database in memory that reads nothing but what it is given; what does not fit goes to a folder."""
    with tempfile.TemporaryDirectory(prefix="ess-sql-") as folder:
        database = duckdb.connect(":memory:", config={"temp_directory": folder, "autoload_known_extensions": "false"})
        try:
            if zone.given is not None:
                database.execute("SET TimeZone = ?", [zone.told])
            yield database
        finally:
            database.close()


def _result(duckdb: Any, database: Any, statement: str, events: EventsTable) -> pa.RecordBatchReader:
    """Run a statement, and give its rows as they come. Raises BadRequest for one that is not taken."""
    found = duckdb.extract_statements(statement)
    if len(found) != 1 or found[0].type.name not in _STATEMENTS:
        raise BadRequest("ess sql takes one SELECT: it changes nothing, and reads the table `events` alone")
    database.register(_SOURCE, events)
    database.execute(f"CREATE VIEW {TABLE} AS SELECT * FROM {_SOURCE}")
    for setting in ("enable_external_access", "python_enable_replacements"):
        database.execute(f"SET {setting} = false")
    if found[0].type.name == "SELECT" and _scans(database, statement) > 1:
        # Each scan would be a search of its own, at its own moment: all are to see the same events.
        database.execute(f"CREATE OR REPLACE TEMP TABLE kept AS SELECT * FROM {_SOURCE}")
        database.execute(f"CREATE OR REPLACE VIEW {TABLE} AS SELECT * FROM kept")
    database.execute("SET lock_configuration = true")
    return database.sql(statement).to_arrow_reader(BATCH_ROWS)


def _scans(database: Any, statement: str) -> int:
    """Count how often a statement reads events. Raises DuckDB's errors for one that cannot be run."""
    rows = database.execute(f"EXPLAIN (FORMAT json) {statement}").fetchall()
    left, found = [part for row in rows for part in _plans(row[-1])], 0
    while left:
        part = left.pop()
        found += part["name"].endswith(_SCAN)
        left += part["children"]
    return found


def _plans(text: str) -> list[dict[str, Any]]:
    try:
        plans: list[dict[str, Any]] = json.loads(text)
    except ValueError:  # of an EXPLAIN, which reads nothing
        return []
    return plans


_SCAN: Final = "ARROW_SCAN"
"""How DuckDB calls the operator that reads what Python gives it, or ends calling it."""


def _print(rows: pa.RecordBatchReader, form: str, zone: Zone) -> None:
    names = rows.schema.names
    try:
        if form == "csv":
            write(_csv([names]))
        shown: list[list[Any]] = []
        for batch in rows:
            values = [[_plain(value) for value in row] for row in zip(*(c.to_pylist() for c in batch), strict=True)]
            if form == "csv":
                write(_csv([["" if one is None else one for one in row] for row in values]))
            elif form == "json":
                write(b"".join(json_line(dict(zip(names, row, strict=True))) for row in values))
            else:
                shown += values
                if len(shown) > SHOWN_ROWS:
                    tell(f"the first {SHOWN_ROWS:,} rows are shown: add a LIMIT, or take all with --format csv or json")
                    break
        if form == "table":
            print_table(_columns(rows.schema), shown[:SHOWN_ROWS], zone)
    except BrokenPipeError:  # `ess sql ... | head`
        end_without_reader()


def _columns(schema: pa.Schema) -> list[dict[str, str]]:
    number = (pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal)
    return [
        {"name": field.name, "type": "number" if any(test(field.type) for test in number) else "text"}
        for field in schema
    ]


def _csv(rows: Sequence[Sequence[Any]]) -> bytes:
    out = io.StringIO()
    text = [[json_line(one).decode().rstrip("\n") if isinstance(one, dict | list) else one for one in r] for r in rows]
    csv.writer(out, lineterminator="\n").writerows(text)
    return out.getvalue().encode("utf-8", "replace")


def _plain(value: Any) -> Any:
    """Give a value of a result as JSON and people have it."""
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, list):
        pairs = bool(value) and all(isinstance(one, tuple) and len(one) == 2 for one in value)  # a map
        return {str(k): _plain(v) for k, v in value} if pairs else [_plain(one) for one in value]
    if isinstance(value, dict):
        return {name: _plain(inner) for name, inner in value.items()}
    return value if value is None or isinstance(value, str | int | float | bool) else str(value)
