"""Pushing one input: in its order, from where the last push of it ended, and exact however often that is broken off.

What is about to be sent is written down before it is sent, and what was taken with the next one or at the end: so a
push that is killed is carried on with the very request whose answer nobody knows, under its key, and the system stores
it once.
"""

from __future__ import annotations

import itertools
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from enum import Enum
from typing import BinaryIO, Final, cast

from ess_ray.cli.content import Content, LineEnd
from ess_ray.cli.inputs import form_named, read_items
from ess_ray.cli.items import Bad, Defaults, Item, Reading
from ess_ray.cli.position import Mark, Position, position_at, position_from
from ess_ray.cli.registry import Entry, Options, Pending, Registry
from ess_ray.cli.upload import Keys, Sender, Summary, cut
from ess_ray.cli.when import LOCAL, Zone, read_zone
from ess_ray.core.errors import EssError
from ess_ray.core.timestamps import format_timestamp
from ess_ray.intake.lines.catalog import TEXT
from ess_ray.intake.lines.times import LineReader

BATCH_EVENTS: Final = 5_000
"""One request waits for the one before, so they are larger than where several are under way: half of what one may hold,
of 200 bytes each about one log record. On a busy machine 300,000 lines took 51 s so, 87 s by the thousand."""
REPEATS_KNOWN_US: Final = 3_600 * 1_000_000
"""As long as a system knows a request again by its key."""

Tell = Callable[[str], object]


class Phase(Enum):
    """How an input is read at its end.

    WHOLE: there is nothing more to come. GROWING: the last event, and a line without an end, are left for the next
    time, since they may go on. QUIET: only a line without an end is.
    """

    WHOLE = "whole"
    GROWING = "growing"
    QUIET = "quiet"


class Journal:
    """The entry of a file while it is pushed; without a registry, of what nobody remembers."""

    def __init__(self, registry: Registry | None, name: str, entry: Entry) -> None:
        self._registry, self._name, self.entry = registry, name, entry

    def begin(self, pending: Pending) -> None:
        """Write down what is sent next. Raises EssError when that is impossible: then it must not be sent."""
        self.entry = replace(self.entry, pending=pending)
        self.write()

    def done(self, end: Mark, accepted: int) -> None:
        """Remember that all up to `end` was taken; `write` makes it last."""
        now_us = time.time_ns() // 1000
        self.entry = replace(self.entry, done=end, events=self.entry.events + accepted, pushed_us=now_us, pending=None)

    def forget_pending(self) -> None:
        """Take back what `begin` wrote: the system has refused it."""
        self.entry = replace(self.entry, pending=None)

    def write(self) -> None:
        """Make it last. Raises EssError."""
        if self._registry is None:
            return
        try:
            self._registry.write(self._name, self.entry)
        except OSError as error:
            raise EssError(
                f"how far this was pushed cannot be written to {self._registry.folder} ({error.strerror}): nothing "
                "more was sent; once there is room, the same command carries on"
            ) from error


OnFormat = Callable[[str], object]


@dataclass(frozen=True)
class Asked:
    """How an input is to be read, as the command line says; `again`: whatever was pushed of it."""

    form: str
    encoding: str | None
    defaults: Defaults
    zone: Zone
    again: bool
    pattern: str | None = None
    multiline: str | None = None

    def options(self, content: Content, form: str, path: str | None = None) -> Options:
        """Give what decides about the events, to be written down."""
        named = self.defaults
        if self.pattern is not None and form == "auto":
            form = TEXT
        return Options(
            form_named(form, content.head),
            content.line_end,
            self.encoding,
            named.service,
            named.host,
            named.level,
            self.zone.given,
            path,
            self.pattern,
            self.multiline,
        )

    def told_form(self, options: Options) -> str:
        """Name a form for people."""
        return options.form if self.pattern is None else "--parse"


class Push:
    """One push of one input: sends what is read, one request at a time, and keeps its journal."""

    def __init__(
        self, sender: Sender, journal: Journal, keys: Keys, *, summary: Summary, tell: Tell, phase: Phase
    ) -> None:
        self._phase = phase
        self._sender, self._journal, self._keys, self._summary, self._tell = sender, journal, keys, summary, tell
        self._end: Mark | None = None

    @property
    def entry(self) -> Entry:
        return self._journal.entry

    def run(self, position: Position, pieces: Iterator[bytes], options: Options) -> None:
        """Push from `position` on to the end. Raises ValueError, OSError, EOFError, EssError; what was taken until then
        is remembered."""
        now_us = time.time_ns() // 1000
        start = position.mark()
        growing = self._phase is Phase.GROWING
        reading = replace(reading_of(options, now_us), may_go_on=growing, only_ended=self._phase is not Phase.WHOLE)
        try:
            for part in cut(read_items(pieces, reading, position), self._summary, BATCH_EVENTS):
                end = position.mark()
                batch = self._keys.batch(part, _stand(start))
                self._settle()
                self._journal.begin(Pending(start, end, batch.key, options, now_us, time.time_ns() // 1000))
                self._sender.send(batch)
                self._end = start = end
            self._settle()
            self._journal.done(position.mark(), 0)
        except BaseException:
            # Ctrl-C, too: what is under way is tried no longer, and counts if it was taken.
            self._sender.stop()
            with suppress(EssError):
                self._settle()
            raise
        finally:
            self._journal.write()

    def redo(self, content: Content) -> None:
        """Send again what an earlier push may have sent: the same request, of which a copy is dropped."""
        pending = self._journal.entry.pending
        assert pending is not None
        found = position_at(content, pending.start)
        part: list[Item] = []
        if found is not None:
            position, pieces = found
            if pending.end.document is None:
                pieces = content.pieces(pending.start.offset, pending.end.offset)
            items = read_items(pieces, reading_of(pending.options, pending.now_us), position)
            while position.items < pending.end.items or pending.end.document is None:
                item = next(items, None)
                if item is None:
                    break
                if isinstance(item, Bad):
                    self._summary.reject(item.position, item.reason)
                else:
                    part.append(item)
        batch = self._keys.batch(part, _stand(pending.start)) if part else None
        lines = f"lines {pending.start.lines + 1:,} to {pending.end.lines:,}"
        if batch is None or batch.key != pending.key:
            self._tell(
                f"whether {lines} were stored by a push that was broken off is not known, and they are not the same "
                "any more: they may be stored twice"
            )
            self._journal.forget_pending()
            return
        if time.time_ns() // 1000 - pending.sent_us > REPEATS_KNOWN_US:
            self._tell(
                f"a push of this was broken off more than an hour ago while {lines} were on their way: a system knows "
                "repeats for an hour, so they may be stored twice"
            )
        self._sender.send(batch, pending.sent_us)
        self._end = pending.end
        self._settle()

    def _settle(self) -> None:
        """Wait for the request under way, and remember what became of it."""
        before = self._summary.accepted
        try:
            self._sender.settle()
        except EssError as error:
            self._end = None
            if self._sender.is_refused(error):
                self._journal.forget_pending()
            raise
        if self._end is not None:
            self._journal.done(self._end, self._summary.accepted - before)
            self._end = None


@dataclass(frozen=True)
class Known:
    """A file that can be known again: the name of its entry, where that is (None: nowhere), and its path for people."""

    name: str
    registry: Registry | None
    path: str


def push_stream(
    sender: Sender, summary: Summary, raw: BinaryIO, asked: Asked, *, tell: Tell, on_format: OnFormat
) -> Position:
    """Push what cannot be known again: `echo x | ess push -` twice is meant twice. `on_format` is told its form."""
    content = Content(raw, asked.encoding)
    options, name, position = asked.options(content, asked.form), _fresh(), Position()
    on_format(asked.told_form(options))
    journal = Journal(None, name, Entry("-", "", options, position.mark()))
    Push(sender, journal, Keys(name, name), summary=summary, tell=tell, phase=Phase.WHOLE).run(
        position, content.pieces(), options
    )
    return position


def push_file(
    sender: Sender,
    summary: Summary,
    raw: BinaryIO,
    asked: Asked,
    known: Known,
    *,
    tell: Tell,
    on_format: OnFormat,
    phase: Phase = Phase.WHOLE,
) -> tuple[Entry | None, Position]:
    """Push what lies behind the last push of a file; gives what that one left, None where all of it was pushed now."""
    entry = None if asked.again or known.registry is None else known.registry.read(known.name)
    nonce = _fresh() if asked.again else ""
    if entry is not None:
        has_read = entry.done.offset > 0 or entry.done.document is not None or entry.pending is not None
        line_end = cast(LineEnd, entry.options.line_end) if has_read else None
        content = Content(raw, asked.encoding or entry.options.encoding, line_end)
        # What was of no known format may have been too short to tell.
        was = entry.options.form if has_read and entry.options.form != TEXT else "auto"
        options = asked.options(content, was if asked.form == "auto" else asked.form, known.path)
        push = Push(
            sender,
            Journal(known.registry, known.name, entry),
            _keys(known, entry.nonce),
            summary=summary,
            tell=tell,
            phase=phase,
        )
        same_form = not has_read or (options.form == "json") == (entry.options.form == "json")
        if entry.pending is not None:
            push.redo(content)
        stand = go_on(content, push.entry.done, tell) if same_form else None
        if stand is not None:
            on_format(asked.told_form(options))
            push.run(*stand, options)
            return entry if entry.events else None, stand[0]
        sent_us = entry.pushed_us if entry.pending is None else entry.pending.sent_us
        tell(
            f"this is another file, or was rewritten or is read in another form, since {entry.path} was pushed at "
            f"{format_timestamp(sent_us)}: all of it is pushed"
        )
        nonce = _fresh()
        raw.seek(0)
    content = Content(raw, asked.encoding)
    options, position = asked.options(content, asked.form, known.path), Position()
    on_format(asked.told_form(options))
    journal = Journal(known.registry, known.name, Entry(known.path, nonce, options, position.mark()))
    Push(sender, journal, _keys(known, nonce), summary=summary, tell=tell, phase=phase).run(
        position, content.pieces(), options
    )
    return None, position


def _keys(known: Known, nonce: str) -> Keys:
    return Keys(f"{known.name}:{nonce}", known.name)


def go_on(content: Content, done: Mark, tell: Tell) -> tuple[Position, Iterator[bytes]] | None:
    """Give where a push of this goes on behind `done`; None when that was another file."""
    try:
        found = position_at(content, done)
    except (OSError, EOFError):  # not even readable so far, which it was
        return None
    if found is None or done.open_from is None:
        return found
    position, pieces = found
    start = b""
    while len(start) < 2 and (piece := next(pieces, b"")):
        start += piece
    end = b"\n" if start[:1] == b"\n" else b"\r\n" if start[:2] == b"\r\n" else b""
    if end or not start:
        if end:
            position.take_end(end)
        return position, itertools.chain([start[len(end) :]], pieces)
    tell(f"line {done.lines:,} had no end when it was pushed before: it is pushed again, whole")
    position, pieces = position_from(content, done.open_from, done.lines - 1, done.before_us)
    position.header = done.header
    return position, pieces


def _stand(mark: Mark) -> str:
    return f"{mark.offset}:{mark.head}:{mark.tail}:{mark.document}:{mark.items}"


def reading_of(options: Options, now_us: int) -> Reading:
    """Give how a text is read by these options."""
    zone = LOCAL if options.zone is None else read_zone(options.zone)
    reader = LineReader(now_us, zone.zone, decided=options.zone is not None)
    defaults = Defaults(options.service, options.host, options.level)
    return Reading(
        options.form,
        defaults,
        reader,
        crlf=options.line_end == "crlf",
        pattern=options.pattern,
        multiline=options.multiline,
        path=options.path,
    )


def _fresh() -> str:
    """Make a name that nothing else has."""
    return uuid.uuid4().hex
