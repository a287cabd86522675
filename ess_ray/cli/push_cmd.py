"""`ess push`: a file or standard input into the system.

May live here: the command. May not: forms of input (`inputs`), sending (`upload`).
"""

from __future__ import annotations

import os
import sys
import time
import uuid
import zlib
from dataclasses import dataclass
from typing import IO, Final

import click

from ess_ray.cli.again import command_line
from ess_ray.cli.client import Client, Target
from ess_ray.cli.inputs import Defaults, Form, open_input, read_items
from ess_ray.cli.lines import LineReader
from ess_ray.cli.options import json_option, with_target
from ess_ray.cli.output import print_json, progress, tell
from ess_ray.cli.upload import Summary, cut, send
from ess_ray.cli.when import Zone, tz_option
from ess_ray.core.errors import BadRequest, EssError
from ess_ray.core.event import format_timestamp
from ess_ray.core.query import Field
from ess_ray.language import field_term

SHOWN_REJECTIONS: Final = 5
"""Reasons that fit above a prompt; --json gives more."""


@click.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, allow_dash=True, readable=True), metavar="FILE|-")
@click.option("--service", help="The service of events that name none.")
@click.option("--host", help="The host of events that name none.")
@click.option("--level", help="The level of events that name none.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["auto", "ndjson", "json", "lines"]),
    default="auto",
    show_default=True,
    help="What FILE holds. auto looks at its start.",
)
@tz_option
@json_option
@with_target
def push(
    target: Target,
    /,
    *,
    file: str,
    service: str | None,
    host: str | None,
    level: str | None,
    form: Form,
    zone: Zone,
    as_json: bool,
) -> None:
    """Push FILE (- is standard input; *.gz is decompressed) into the system.

    FILE holds NDJSON, a JSON array, {"events": [...]}, one JSON object, or plain log lines. A plain line becomes one
    event whose message is the line, unchanged (invalid UTF-8 bytes are replaced, empty lines are left out). Its time is
    recognised (ISO 8601, syslog, nginx and Apache, epoch numbers, written months); one without an offset is of --tz,
    and a line without a time takes that of the line before, at the start of FILE the current time. A level is taken
    from a word such as ERROR, host and service from a syslog line, unless options name them.

    A batch that is not acknowledged is sent again under its Idempotency-Key, for up to a minute: nothing is doubled.
    Pushing the same file again within an hour stores nothing twice.

    Exit codes: 0 all events are stored, 1 some were rejected or the system did not take them, 2 usage.
    """
    started_s = time.monotonic()
    summary = Summary()
    try:
        _push(target, file, form, zone, Defaults(service, host, level), summary)
    except ValueError as error:
        raise BadRequest(f"{file}: {error}") from error
    except (OSError, EOFError, zlib.error) as error:
        raise EssError(f"{file} cannot be read to its end: {error}") from error
    finally:
        # Whatever ended it, Ctrl-C too: what was acknowledged by then is stored, and is told.
        _print(target, summary, service, started_s, as_json)
    if summary.rejected:
        sys.exit(1)


@dataclass
class _Counting:
    """Counts what was read, for the bar: a compressed file by its own bytes."""

    raw: IO[bytes]
    done: int = 0

    def read(self, size: int = -1) -> bytes:
        part = self.raw.read(size)
        self.done += len(part)
        return part

    def readline(self, limit: int = -1) -> bytes:
        part = self.raw.readline(limit)
        self.done += len(part)
        return part


def _push(target: Target, file: str, form: Form, zone: Zone, defaults: Defaults, summary: Summary) -> None:
    standard = file == "-"
    # Standard input has no identity: `echo x | ess push -` twice is meant twice.
    key_of = uuid.uuid4().hex if standard else "file"
    total = None if standard else os.stat(file).st_size or None
    with click.open_file(file, "rb") as raw, Client(target) as client, progress("pushing", total) as bar:
        counting = _Counting(raw)
        reader = LineReader(time.time_ns() // 1000, zone.zone)
        items = read_items(open_input(counting, file), form, defaults, reader)  # type: ignore[arg-type]
        send(client, cut(items, summary, key_of), summary, lambda so_far: bar(counting.done, f"{so_far.accepted:,}"))


def _search_command(target: Target, summary: Summary, service: str | None) -> str | None:
    if summary.min_us is None or summary.max_us is None:
        return None
    query = "*" if service is None else field_term(Field("service"), service)
    since, until = format_timestamp(summary.min_us), format_timestamp(summary.max_us + 1)
    return command_line("search", query, "--since", since, "--until", until, *target.arguments)


def _print(target: Target, summary: Summary, service: str | None, started_s: float, as_json: bool) -> None:
    first, last = (None if us is None else format_timestamp(us) for us in (summary.min_us, summary.max_us))
    command = _search_command(target, summary, service)
    if as_json:
        rejections = [{"position": position, "reason": reason} for position, reason in summary.rejections]
        print_json(
            {
                "accepted": summary.accepted,
                "rejected": summary.rejected,
                "rejections": rejections,
                "start": first,
                "end": last,
                "search": command,
                "requests": summary.requests,
                "elapsed_s": round(time.monotonic() - started_s, 3),
            }
        )
        return
    click.echo(f"{summary.accepted:,} accepted, {summary.rejected:,} rejected")
    for position, reason in summary.rejections[:SHOWN_REJECTIONS]:
        tell(f"  rejected {position}: {reason}")
    if summary.rejected > SHOWN_REJECTIONS:
        tell(f"  and {summary.rejected - SHOWN_REJECTIONS:,} more (see --json)")
    if summary.accepted and first is not None:
        click.echo(f"from {first} to {last}")
    if summary.accepted and command is not None:
        click.echo(f"show them: {command}")
