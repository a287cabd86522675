"""Printing: results on standard output, everything else on standard error, colours and bars on terminals only."""

from __future__ import annotations

import json
import os
import re
import sys
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final, NoReturn, Protocol

import click
from rich.bar import Bar
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from ess_ray import exact_json
from ess_ray.cli.when import Zone

_COLOURS: Final[dict[str, str]] = {
    "DEBUG": "bright_black",
    "TRACE": "bright_black",
    "WARN": "yellow",
    "NOTICE": "cyan",
    "INFO": "green",
}
_SEVERE: Final = 17
"""OpenTelemetry's ERROR: from here on red."""
COLUMNS: Final = 80
"""What any terminal shows side by side."""
BAR_CHARS: Final = 30
"""Of a bar beside a count: it fits beside a time and a value on 80 columns."""
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
# Line ends to some readers (Python's splitlines), though not to JSON: escaped, one event stays one line for all.
_LINE_ENDS: Final = ((b"\xc2\x85", b"\\u0085"), (b"\xe2\x80\xa8", b"\\u2028"), (b"\xe2\x80\xa9", b"\\u2029"))


def json_line(value: Any) -> bytes:
    """Write one JSON value as one line, its newline included."""
    line = exact_json.dumps(value)
    for raw, escaped in _LINE_ENDS:
        line = line.replace(raw, escaped)
    return line + b"\n"


def print_json(value: Any) -> None:
    """Print one JSON value for programs."""
    write(json_line(value))


def write(data: bytes) -> None:
    """Write a part of the result to standard output, at once."""
    sys.stdout.flush()
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


def end_without_reader() -> NoReturn:
    """End as done when whoever read our output has gone, as in `ess search ... | head`."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # so that Python's last flush finds a reader
    sys.exit(0)


def tell(text: str) -> None:
    """Tell a person something beside the result, on standard error."""
    click.echo(text, err=True)


def wrapped(text: str, indent: int = 2) -> str:
    """Break a sentence into lines of COLUMNS at the most, between words alone: names and addresses are copied."""
    return textwrap.fill(text, COLUMNS, subsequent_indent=" " * indent, break_long_words=False, break_on_hyphens=False)


def print_events(events: Iterable[Mapping[str, Any]], *, as_json: bool, zone: Zone) -> None:
    """Print events as lines: JSON, or for people with times in `zone`."""
    if as_json:
        data = b"".join(json_line(event) for event in events)
    else:
        data = "".join(f"{_zoned_text(event, zone)}\n" for event in events).encode("utf-8", "replace")
    if data:
        write(data)


def print_groups(groups: Sequence[Marked], *, as_json: bool, zone: Zone) -> None:
    """Print events that stand together, those that match marked."""
    for number, group in enumerate(groups):
        if as_json:
            lines = (json_line({**event, "hit": is_hit, "group": number}) for event, is_hit in group.marked())
            write(b"".join(lines))
            continue
        text = "".join(f"{'>' if is_hit else ' '} {_zoned_text(event, zone)}\n" for event, is_hit in group.marked())
        write((("--\n" if number else "") + text).encode("utf-8", "replace"))


def _zoned_text(event: Mapping[str, Any], zone: Zone) -> str:
    shown = {**event, "timestamp": zone.rewritten(event["timestamp"])}
    return event_text(shown, terminal=sys.stdout.isatty())


def event_text(event: Mapping[str, Any], *, terminal: bool) -> str:
    """Write an event as a line for people: time, level, service, host, message, attributes.

    On a terminal in colour, with control characters made visible: a log line must not drive the terminal.
    """
    level = event.get("level") or "-"
    origin = " ".join(str(event[name]) for name in ("service", "host") if event.get(name))
    message, attributes = str(event["message"]), event.get("attributes") or {}
    pairs = " ".join(f"{key}={attribute_text(value)}" for key, value in attributes.items())
    if not terminal:
        return " ".join(part for part in (event["timestamp"], f"{level:<5}", origin, message, pairs) if part)
    severe = (event.get("severity_number") or 0) >= _SEVERE
    parts = (
        click.style(event["timestamp"], dim=True),
        click.style(f"{visible(level):<5}", fg="red" if severe else _COLOURS.get(level), bold=severe),
        click.style(visible(origin), fg="blue"),
        visible(message),
        click.style(visible(pairs), dim=True) if pairs else "",
    )
    return " ".join(part for part in parts if part)


def attribute_text(value: Any) -> str:
    """Write an attribute's value: numbers, true and false as in JSON."""
    return value if isinstance(value, str) else json.dumps(value)


def visible(text: str) -> str:
    """Show control characters other than newline and tab as their escapes."""
    return _CONTROL.sub(lambda match: f"\\x{ord(match[0]):02x}", text)


def flat(value: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Give nested values under dotted names, for tables."""
    for name, inner in value.items():
        if isinstance(inner, Mapping) and inner:
            yield from flat(inner, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", inner


def print_counts(heads: Sequence[str], rows: Sequence[tuple[Sequence[str], int]], whole: int | None = None) -> None:
    """Print counts under what they are counts of: a table with bars on a terminal, else lines with tabs.

    Bars tell the share of `whole`, or of the largest count.
    """
    if not sys.stdout.isatty():
        lines = "".join("\t".join([*map(in_a_line, cells), str(count)]) + "\n" for cells, count in rows)
        write(lines.encode("utf-8", "replace"))
        return
    table = Table(box=None, pad_edge=False)
    for head in heads:
        table.add_column(Text(visible(head)))
    table.add_column("count", justify="right")
    table.add_column()
    most = max(1, max((count for _, count in rows), default=1) if whole is None else whole)
    for cells, count in rows:
        texts = (Text(in_a_line(visible(cell)), overflow="ellipsis", no_wrap=True) for cell in cells)
        table.add_row(*texts, f"{count:,}", Bar(most, 0, count, width=BAR_CHARS, color="blue"))
    Console().print(table)


def in_a_line(text: str) -> str:
    """Write tabs and line ends as what they are called, so that a row stays a line of cells."""
    return text.replace("\t", "\\t").replace("\n", "\\n")


class Marked(Protocol):
    """Events that stand together, each with whether it matches."""

    def marked(self) -> Iterator[tuple[Mapping[str, Any], bool]]: ...


class SetTo(Protocol):
    """Moves a bar to `completed` of its total, with a few words beside it."""

    def __call__(self, completed: float, note: str = "", total: float | None = None) -> None: ...


@contextmanager
def progress(what: str, total: float | None, *, enabled: bool = True) -> Iterator[SetTo]:
    """Show a bar on standard error while a terminal looks (not `enabled`: results go to the same terminal)."""
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[note]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
        disable=not (enabled and sys.stderr.isatty()),
    )
    with bar:
        task = bar.add_task(what, total=total, note="")

        def set_to(completed: float, note: str = "", total: float | None = None) -> None:
            bar.update(task, completed=completed, note=note, total=total)

        yield set_to
