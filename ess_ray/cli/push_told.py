"""What `ess push` tells at its end: how many events are stored, what is odd about them, how to find them."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, field, replace
from typing import Final

import click

from ess_ray.cli.again import command_line
from ess_ray.cli.client import Target
from ess_ray.cli.content import too_broken
from ess_ray.cli.output import print_json, tell, visible
from ess_ray.cli.position import Position
from ess_ray.cli.registry import Entry
from ess_ray.cli.untimed import UNREAD_EXAMPLES, Example, Unread
from ess_ray.cli.upload import AT_RECEIPT, Summary
from ess_ray.core.field import Field
from ess_ray.core.timestamps import format_timestamp
from ess_ray.language import field_term
from ess_ray.record import ORIGINAL_TIMESTAMP

SHOWN_REJECTIONS: Final = 5
"""Reasons that fit above a prompt; --json gives more."""


@dataclass
class Told:
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

    files: int = 0
    formats: list[str] = field(default_factory=list)
    """Of the files, each once; `form` is that of the last one."""
    form: str = ""
    unread: int = 0
    unread_examples: list[Example] = field(default_factory=list)
    failed: bool = False
    """A file could not be pushed, and was told."""

    def end(self, position: Position, encoding: str | None, where: str = "") -> None:
        """Take down what was wrong with the bytes of one more file, in which lines no time was found, and which its
        format does not understand. `where` names the file where there are several."""
        self.broken += position.broken
        self.garbled |= encoding is None and too_broken(position.broken, position.lines_read)
        if position.broken:
            tell(
                f"{where}{position.broken:,} lines are not UTF-8 (the first is line {position.broken_first:,}) and "
                "have U+FFFD in place of what is not: if they are in another encoding, push again with --again and "
                "--encoding windows-1252, latin-1, ..."
            )
        untimed, first = position.untimed.told()
        self.untimed += untimed
        self.untimed_first = self.untimed_first or first
        if first is not None:
            lines = "1 line" if untimed == 1 else f"{untimed:,} lines"
            taken = "of this push" if position.untimed.at_push == untimed else "of the line before, else this push's"
            tell(
                f"{where}no time was found in {lines}, such as line {first.position:,}: {visible(first.line)}\n"
                f"  what is stored with them is the time {taken}"
            )
        self._take_unread(position.unread, where)

    def take_form(self, form: str) -> None:
        """Take down the format of the next file."""
        self.form = form
        if form not in self.formats:
            self.formats.append(form)

    def _take_unread(self, unread: Unread, where: str) -> None:
        self.unread += unread.count_of
        self.unread_examples += unread.examples[: max(0, UNREAD_EXAMPLES - len(self.unread_examples))]
        if unread.count_of:
            are = "1 event is" if unread.count_of == 1 else f"{unread.count_of:,} events are"
            tell(f"{where}{are} not as {self.form} has them, and stored as plain messages (--format says another):")
            for example in unread.examples:
                tell(f"  line {example.position:,}: {visible(example.line)}")

    def take(self, summary: Summary, before: Entry | None, where: str) -> None:
        """Add what became of one more file."""
        self.summary.add_up(summary, where)
        if before is not None:
            events = before.events + (0 if self.before is None else self.before.events)
            self.before = replace(before, events=events)

    def print(self) -> None:
        """Print what became of the input."""
        _print(self)


def _search_command(target: Target, summary: Summary, service: str | None) -> str | None:
    if summary.min_us is None or summary.max_us is None:
        return None
    query = "*" if service is None else field_term(Field("service"), service)
    since, until = format_timestamp(summary.min_us), format_timestamp(summary.max_us + 1)
    return command_line("search", query, "--since", since, "--until", until, *target.arguments)


def _print(told: Told) -> None:
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
                "files": told.files,
                "formats": told.formats,
                "not_understood": told.unread,
                "not_understood_examples": [asdict(one) for one in told.unread_examples],
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
    if told.files > 1:
        click.echo(f"{told.files:,} files: ", nl=False)
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
