"""`ess push`: files or standard input into the system."""

from __future__ import annotations

import sys
import time
from contextlib import suppress

import click

from ess_ray.cli.client import Client, Target
from ess_ray.cli.content import known_encoding
from ess_ray.cli.dry_run import show
from ess_ray.cli.file_push import Asked
from ess_ray.cli.follow_files import Follower
from ess_ray.cli.items import Defaults
from ess_ray.cli.options import json_option, with_target
from ess_ray.cli.push_files import Pusher, found_files
from ess_ray.cli.push_told import Told
from ess_ray.cli.when import Zone, tz_option
from ess_ray.core.errors import BadRequest
from ess_ray.intake.lines.catalog import ALSO_CALLED, names
from ess_ray.intake.lines.custom import Custom
from ess_ray.intake.lines.joining import Starts


def _read_encoding(_: click.Context, __: click.Parameter, value: str | None) -> str | None:
    try:
        return None if value is None else known_encoding(value)
    except LookupError as error:
        raise click.BadParameter(f"{value!r} is no encoding of text: utf-8, utf-16, latin-1, ...") from error


def _read_pattern(_: click.Context, __: click.Parameter, value: str | None) -> str | None:
    try:
        return value if value is None or Custom(value) else None
    except BadRequest as error:
        raise click.BadParameter(error.message) from error


def _read_start(_: click.Context, __: click.Parameter, value: str | None) -> str | None:
    try:
        return value if value is None or Starts(value) else None
    except BadRequest as error:
        raise click.BadParameter(error.message) from error


@click.command()
@click.argument("files", nargs=-1, required=True, metavar="FILE|FOLDER|-...")
@click.option("--service", help="The service of events that name none.")
@click.option("--host", help="The host of events that name none.")
@click.option("--level", help="The level of events that name none.")
@click.option(
    "--format",
    "form",
    type=click.Choice(sorted({"auto", "ndjson", "json", *names(), *ALSO_CALLED})),
    metavar="NAME",
    default="auto",
    show_default=True,
    help="What FILE holds: access, csv, java, json, lines, logfmt, python, ... (docs/files.md has all). auto looks at "
    "its start.",
)
@click.option(
    "--parse",
    "pattern",
    metavar="REGEX",
    callback=_read_pattern,
    help="What a line holds, as named groups: '^(?P<timestamp>\\S+) (?P<level>\\w+) (?P<message>.*)'.",
)
@click.option(
    "--multiline",
    metavar="REGEX",
    callback=_read_start,
    help="Lines in which this is found begin an event; all others go on with it.  [default: stack traces are one]",
)
@click.option("--follow", is_flag=True, help="Go on with what is written to FILE, through rotation, until Ctrl-C.")
@click.option("--dry-run", is_flag=True, help="Show the first events as they would be stored; send nothing.")
@click.option(
    "--encoding",
    metavar="NAME",
    callback=_read_encoding,
    help="Of FILE's text.  [default: UTF-8 or UTF-16, as it looks]",
)
@click.option("--again", is_flag=True, help="Push all of FILE, also what was pushed of it before.")
@tz_option
@json_option
@with_target
def push(
    target: Target,
    /,
    *,
    files: tuple[str, ...],
    service: str | None,
    host: str | None,
    level: str | None,
    form: str,
    pattern: str | None,
    multiline: str | None,
    follow: bool,
    dry_run: bool,
    encoding: str | None,
    again: bool,
    zone: Zone,
    as_json: bool,
) -> None:
    """Push FILE (- is standard input) into the system: what was not pushed of it before.

    Several files, folders (with all text files in them, hidden ones left out) and patterns such as 'logs/*.log'. The
    format of each is recognised by its start: JSON lines of any names, NDJSON, a JSON array, {"events": [...]}, or the
    lines of servers, loggers, databases, containers and clouds (docs/files.md names them). UTF-8 or UTF-16, plain or
    compressed with gzip, bzip2, xz or zstd, whatever its name. What is no text is refused, in a folder left out.

    A line of text becomes one event whose message is the line, unchanged, and a stack trace one event (empty lines are
    left out; bytes that are no UTF-8 are replaced, and told); a format adds level, service, host and attributes. What
    it does not understand is stored as a plain message, counted, and shown at the end. Times are recognised (ISO 8601,
    syslog, nginx and Apache, 30.11.2026 10:00:00 with the day first, epoch numbers, written months); one without a zone
    is of --tz, one with a zone of that (+03, CEST, Europe/Berlin), and the push stops at one whose zone may be several
    (IST, CST) or is unknown, unless --tz is given. A line without a time takes that of the line before, at the start of
    FILE the current time; where none was found is told, and so is what the system stored at the time of receipt because
    its own cannot be. In JSON a time without a zone is UTC. The file's path is the attribute log.file.path.

    How far each file was pushed is kept in ~/.local/state/ess_ray (XDG_STATE_HOME), for each system and tenant. A file
    is the same as long as its device and inode, its start and what stands before that place are: so a renamed file is
    known, and one that was truncated or replaced is pushed as a new one. Two files with equal lines are two. A push
    that is broken off, in whatever way, is carried on by the same command: nothing is lost, and within an hour nothing
    is doubled. A compressed file is known by what is in it, a JSON document by all of it: once it has changed it is
    pushed whole. Standard input and pipes are not remembered. Events of equal time keep FILE's order.

    Exit codes: 0 all events are stored, 1 some were rejected, a FILE could not be read to its end or the system did not
    take them, 2 usage, or FILE is not what can be pushed.
    """
    told = Told(target, service, time.monotonic(), as_json)
    asked = Asked(form, encoding, Defaults(service, host, level), zone, again, pattern, multiline)
    if dry_run:
        show(found_files(files), asked)
        return
    if follow and "-" in files:
        raise click.UsageError("--follow wants files: standard input ends by itself")
    try:
        with Client(target) as client:
            pusher = Pusher(client, target, asked, told)
            if follow:
                with suppress(KeyboardInterrupt):
                    Follower(files, pusher).run()
            else:
                pusher.all(found_files(files))
    finally:
        # Whatever ended it, Ctrl-C too: what was acknowledged by then is stored, and is told.
        told.print()
    if told.summary.rejected or told.garbled or told.failed:
        sys.exit(1)
