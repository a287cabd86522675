"""`ess push`: a file or standard input into the system.

May live here: the command, what it prints. May not: forms of input (`inputs`), what is pushed of a file (`file_push`).
"""

from __future__ import annotations

import hashlib
import os
import stat
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from io import BufferedReader
from typing import BinaryIO, Final, cast

import click

from ess_ray.cli.again import command_line
from ess_ray.cli.client import Client, Target
from ess_ray.cli.content import known_encoding, too_broken
from ess_ray.cli.file_push import Asked, Known, push_file, push_stream
from ess_ray.cli.inputs import Defaults
from ess_ray.cli.options import json_option, with_target
from ess_ray.cli.output import print_json, progress, tell, visible
from ess_ray.cli.position import Position
from ess_ray.cli.registry import Entry, Registry, name_of
from ess_ray.cli.untimed import Example
from ess_ray.cli.upload import AT_RECEIPT, Sender, Summary
from ess_ray.cli.when import Zone, tz_option
from ess_ray.core.errors import BadRequest, EssError, NotFound
from ess_ray.core.event import format_timestamp
from ess_ray.core.query import Field
from ess_ray.language import field_term
from ess_ray.record import ORIGINAL_TIMESTAMP

SHOWN_REJECTIONS: Final = 5
"""Reasons that fit above a prompt; --json gives more."""


def _read_encoding(_: click.Context, __: click.Parameter, value: str | None) -> str | None:
    try:
        return None if value is None else known_encoding(value)
    except LookupError as error:
        raise click.BadParameter(f"{value!r} is no encoding of text: utf-8, utf-16, latin-1, ...") from error


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
    file: str,
    service: str | None,
    host: str | None,
    level: str | None,
    form: str,
    encoding: str | None,
    again: bool,
    zone: Zone,
    as_json: bool,
) -> None:
    """Push FILE (- is standard input) into the system: what was not pushed of it before.

    FILE holds NDJSON, a JSON array, {"events": [...]}, one JSON object, or plain log lines; UTF-8 or UTF-16, plain or
    compressed with gzip, bzip2, xz or zstd, whatever its name. What is no text is refused. A plain line becomes one
    event whose message is the line, unchanged (empty lines are left out; bytes that are no UTF-8 are replaced, and
    told). Its time is recognised (ISO 8601, syslog, nginx and Apache, 30.11.2026 10:00:00 with the day first, epoch
    numbers, written months); one without a zone is of --tz, one with a zone of that (+03, CEST, Europe/Berlin), and the
    push stops at one whose zone may be several (IST, CST) or is unknown, unless --tz is given. A line without a time
    takes that of the line before, at the start of FILE the current time; where none was found is told, and so is what
    the system stored at the time of receipt because its own cannot be. A level is taken from a word such as ERROR, host
    and service from a syslog line, unless options name them. In JSON a time without a zone is UTC.

    How far each file was pushed is kept in ~/.local/state/ess_ray (XDG_STATE_HOME), for each system and tenant. A file
    is the same as long as its device and inode, its start and what stands before that place are: so a renamed file is
    known, and one that was truncated or replaced is pushed as a new one. Two files with equal lines are two. A push
    that is broken off, in whatever way, is carried on by the same command: nothing is lost, and within an hour nothing
    is doubled. A compressed file is known by what is in it, a JSON document by all of it: once it has changed it is
    pushed whole. Standard input and pipes are not remembered. Events of equal time keep FILE's order.

    Exit codes: 0 all events are stored, 1 some were rejected, FILE could not be read to its end or the system did not
    take them, 2 usage, or FILE is not what can be pushed.
    """
    started_s = time.monotonic()
    told = _Told(target, service, started_s, as_json)
    asked = Asked(form, encoding, Defaults(service, host, level), zone, again)
    try:
        _push(target, file, asked, told)
    except ValueError as error:
        raise BadRequest(f"{file}: {error}") from error
    except (OSError, EOFError) as error:
        raise EssError(f"{file} cannot be read to its end: {error}") from error
    finally:
        # Whatever ended it, Ctrl-C too: what was acknowledged by then is stored, and is told.
        told.print()
    if told.summary.rejected or told.garbled:
        sys.exit(1)


class _Counting:
    """Counts what was read, for the bar: a compressed file by its own bytes."""

    def __init__(self, raw: BufferedReader) -> None:
        self._raw, self.done = raw, 0

    def read(self, size: int = -1) -> bytes:
        # What a pipe has by now, rather than all that was asked for: it may be a log that is followed.
        part = self._raw.read1(size)
        self.done += len(part)
        return part

    def seek(self, offset: int) -> int:
        self.done = self._raw.seek(offset)
        return self.done


def _push(target: Target, file: str, asked: Asked, told: _Told) -> None:
    with ExitStack() as stack:
        raw = stack.enter_context(click.open_file(file, "rb"))
        found = None if file == "-" else os.fstat(raw.fileno())
        regular = found is not None and stat.S_ISREG(found.st_mode)
        total = found.st_size if found is not None and regular else None
        client, bar = stack.enter_context(Client(target)), stack.enter_context(progress("pushing", total or None))
        counting = _Counting(cast(BufferedReader, raw))

        def show(so_far: Summary) -> None:
            bar(counting.done, f"{so_far.accepted:,}")

        sender = stack.enter_context(Sender(client, told.summary, show))
        stream = cast(BinaryIO, counting)
        if found is None or not regular:
            position = push_stream(sender, told.summary, stream, asked, tell)
        else:
            name = name_of(*_whereto(client, target), found.st_dev, found.st_ino)
            registry = stack.enter_context(_held(name, file))
            known = Known(name, registry, os.path.abspath(file))
            told.before, position = push_file(sender, told.summary, stream, asked, known, tell)
        told.end(position, asked.encoding)


def _whereto(client: Client, target: Target) -> tuple[str, str]:
    """Name the system and the tenant that this pushes to: by what lasts, where the system tells it."""
    try:
        found = client.call_patiently("GET", "/push/v1/whoami", stop=threading.Event())
    except NotFound:  # an older system
        key = target.settings.key
        return target.url, "" if key is None else hashlib.sha256(key.get_secret_value().encode()).hexdigest()
    return str(found["log_id"]), str(found["tenant"])


@contextmanager
def _held(name: str, file: str) -> Iterator[Registry | None]:
    """Hold a file's entry; None, and told, where this user can keep none."""
    registry = Registry.of_user()
    with ExitStack() as stack:
        waits = f"another ess push is at {file}: waiting for it"
        try:
            stack.enter_context(registry.held(name, lambda: tell(waits)))
        except OSError as error:
            tell(
                f"how far {file} is pushed cannot be kept in {registry.folder} ({error.strerror}), so that pushing it "
                "again stores it again: name a folder of yours in XDG_STATE_HOME"
            )
            registry = None  # type: ignore[assignment]
        yield registry


@dataclass
class _Told:
    """What is told of a push at its end."""

    target: Target
    service: str | None
    started_s: float
    as_json: bool
    summary: Summary = field(default_factory=Summary)
    before: Entry | None = None
    broken: int = 0
    garbled: bool = False
    """So many lines were not UTF-8 that the file must be in another encoding."""
    untimed: int = 0
    """Lines in which no time was found, where that is to be told."""
    untimed_first: Example | None = None

    def end(self, position: Position, encoding: str | None) -> None:
        """Take down what was wrong with the bytes, and in which lines no time was found."""
        self.broken = position.broken
        self.garbled = encoding is None and too_broken(position.broken, position.lines_read)
        if self.broken:
            tell(
                f"{self.broken:,} lines are not UTF-8 (the first is line {position.broken_first:,}) and have U+FFFD in "
                "place of what is not: if they are in another encoding, push again with --again and --encoding "
                "windows-1252, latin-1, ..."
            )
        self.untimed, self.untimed_first = position.untimed.told()
        if self.untimed_first is not None:
            example, lines = self.untimed_first, "1 line" if self.untimed == 1 else f"{self.untimed:,} lines"
            taken = (
                "of this push" if position.untimed.at_push == self.untimed else "of the line before, else this push's"
            )
            tell(
                f"no time was found in {lines}, such as line {example.position:,}: {visible(example.line)}\n"
                f"  what is stored with them is the time {taken}"
            )

    def print(self) -> None:
        """Print what became of the input."""
        _print(self)


def _search_command(target: Target, summary: Summary, service: str | None) -> str | None:
    if summary.min_us is None or summary.max_us is None:
        return None
    query = "*" if service is None else field_term(Field("service"), service)
    since, until = format_timestamp(summary.min_us), format_timestamp(summary.max_us + 1)
    return command_line("search", query, "--since", since, "--until", until, *target.arguments)


def _print(told: _Told) -> None:
    summary, before = told.summary, told.before
    first, last = (None if us is None else format_timestamp(us) for us in (summary.min_us, summary.max_us))
    command = _search_command(told.target, summary, told.service)
    if told.as_json:
        rejections, adjustments = (
            [{"position": position, "reason": reason} for position, reason in named]
            for named in (summary.rejections, summary.adjustments)
        )
        print_json(
            {
                "accepted": summary.accepted,
                "rejected": summary.rejected,
                "adjusted": summary.adjusted,
                "repeats": summary.repeats,
                "pushed_before": 0 if before is None else before.events,
                "replaced": told.broken,
                "no_time": told.untimed,
                "no_time_example": None if told.untimed_first is None else asdict(told.untimed_first),
                "rejections": rejections,
                "adjustments": adjustments,
                "start": first,
                "end": last,
                "search": command,
                "requests": summary.requests,
                "elapsed_s": round(time.monotonic() - told.started_s, 3),
            }
        )
        return
    repeats = f", {summary.repeats:,} of them repeats" if summary.repeats else ""
    click.echo(f"{summary.accepted:,} accepted{repeats}{summary.adjusted_in_words()}, {summary.rejected:,} rejected")
    if summary.adjustments:
        position, reason = summary.adjustments[0]
        tell(f"  such as {position}: {reason.removeprefix(AT_RECEIPT)} (kept as {ORIGINAL_TIMESTAMP})")
    if before is not None:
        nothing = "" if summary.accepted or summary.rejected else "nothing is new: "
        at = format_timestamp(before.pushed_us)
        click.echo(f"{nothing}{before.events:,} events of it were pushed before, at {at} (--again pushes them again)")
    for position, reason in summary.rejections[:SHOWN_REJECTIONS]:
        tell(f"  rejected {position}: {reason}")
    if summary.rejected > SHOWN_REJECTIONS:
        tell(f"  and {summary.rejected - SHOWN_REJECTIONS:,} more (see --json)")
    if summary.accepted and first is not None:
        click.echo(f"from {first} to {last}")
    if summary.accepted and command is not None:
        click.echo(f"show them: {command}")
