"""`ess export`: the whole answer of a query as a file, or on standard output."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import click

from ess_ray.cli.client import Client, Target
from ess_ray.cli.files import writing
from ess_ray.cli.options import with_target
from ess_ray.cli.output import end_without_reader, progress, tell, write
from ess_ray.cli.question import Asked, QueryCommand, pointed_out, with_question
from ess_ray.cli.told import tell_no_field
from ess_ray.core.errors import BadRequest, EssError, Unavailable
from ess_ray.language import field_named

FORMATS: Final = ("ndjson", "csv", "parquet")
STDOUT: Final = "-"
PART: Final = ".part"
"""What a file is called until it is whole."""


@click.command(cls=QueryCommand)
@with_question
@click.option("--format", "file_format", type=click.Choice(FORMATS), help="Of the file [its suffix; ndjson].")
@click.option(
    "--output",
    type=click.Path(dir_okay=False, allow_dash=True),
    default=STDOUT,
    metavar="FILE",
    help="Where to; - is standard output.  [default: -]",
)
@click.option("--column", "columns", multiple=True, metavar="FIELD", help="Of CSV: only these; may be given again.")
@with_target
def export(target: Target, asked: Asked, /, *, file_format: str | None, output: str, columns: tuple[str, ...]) -> None:
    """Write all events that QUERY matches to a file, however many they are, in the order asked for.

    \b
    ess export level:ERROR --since 7d --output errors.parquet
    ess export '*' --since all --order oldest | gzip > all.ndjson.gz
    ess export timeout --output t.csv --column timestamp --column user_id

    The file is called FILE.part until it is whole. Exit codes: 0 all is there, 1 failed or broken off, 2 the query is
    wrong. CSV holds what was stored, also where a spreadsheet would take it for a formula.
    """
    chosen = file_format or _format_of(output)
    if columns and chosen != "csv":
        raise click.UsageError(f"--column is for CSV: {chosen} has all fields")
    with Client(target) as client:
        with pointed_out(asked.query):
            created = client.call("POST", "/search/v1/queries", json=asked.body(limit=1))
        path = f"/search/v1/queries/{created['id']}"
        client.call("DELETE", path)  # an export asks afresh: its own answer is not wanted
        _tell_of_absent(client, asked, columns)
        with (
            _with_reasons(client, path),
            progress("exporting", None, enabled=not (output == STDOUT and sys.stdout.isatty())) as bar,
            client.download(f"{path}/export", params={"format": chosen, "column": columns}) as body,
        ):
            size = rows = 0
            with _written_to(output) as put:
                for data in body:
                    put(data)
                    size += len(data)
                    rows += data.count(b"\n") if chosen == "ndjson" else 0
                    bar(size, f"{size:,} bytes" + (f", {rows:,} events" if rows else ""))
    tell(f"{size:,} bytes" + (f", {rows:,} events" if chosen == "ndjson" else "") + f" to {output}")


def _tell_of_absent(client: Client, asked: Asked, columns: Sequence[str]) -> None:
    """Tell which of the chosen columns no event has. What cannot be found out is no reason to export nothing."""
    wanted = {name: field for name in columns if (field := _attribute(name)) is not None}
    if not wanted:
        return
    range_ = {"query": asked.query, **{name: str(bound) for name, bound in asked.range.bounds().items()}}
    with suppress(EssError):
        found = client.call("GET", "/search/v1/fields", params=range_)
        if not found["complete"] or not found["fields"]:
            return  # more fields than are named, or nothing to export
        there = {field["name"] for field in found["fields"] if field["kind"] == "attribute"}
        absent = [name for name, field in wanted.items() if field not in there]
        tell_no_field(absent, asked.range, complete=True, query=asked.query)


def _attribute(name: str) -> str | None:
    """Give the attribute that a column's name means; None for what every event may have, and for no name."""
    with suppress(BadRequest):  # the system says what is wrong with it
        field = field_named(name)
        return field.name if field.attribute else None
    return None


@contextmanager
def _with_reasons(client: Client, path: str) -> Iterator[None]:
    """Tell why an export was broken off, where the server knows: a body has no place for that."""
    try:
        yield
    except Unavailable as error:
        reasons: list[str] = []
        with suppress(EssError):  # then there is nothing to add to what was raised
            told = client.call("GET", path, params={"limit": 1})["incomplete"]
            from ess_ray.search.export import LEFT_OUT  # only here: it brings all of a search with it

            reasons = [reason for reason in told if reason.startswith(LEFT_OUT)]
        if not reasons:
            raise
        raise Unavailable("; ".join([error.message, *reasons])) from error


def _format_of(output: str) -> str:
    if output == STDOUT:
        return "ndjson"
    suffix = Path(output).suffix.removeprefix(".").lower()
    if suffix not in FORMATS:
        raise click.UsageError(f"{output} does not tell its format by a suffix: say --format {'|'.join(FORMATS)}")
    return suffix


@contextmanager
def _written_to(output: str) -> Iterator[Callable[[bytes], object]]:
    """Give what writes to standard output, or to a file that has its name only when all went well."""
    if output == STDOUT:
        try:
            yield write
        except BrokenPipeError:
            end_without_reader()
        return
    path = Path(output)
    is_file = path.is_file() or not path.exists()
    part = Path(output + PART) if is_file else path  # a pipe or a device has its name, and keeps it
    with writing(str(part)):
        with part.open("wb") as file:
            try:
                yield file.write
            except BaseException:
                tell(f"what came is in {part}")
                raise
        if is_file:
            os.replace(part, output)
