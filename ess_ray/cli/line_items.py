"""Lines of a file to items: each group of lines that is one event, with its time, at its place in the file."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from ess_ray.cli.items import PATH, Bad, Item, Reading, dumps, object_item
from ess_ray.cli.position import Position
from ess_ray.core.event import MAX_EVENT_BYTES
from ess_ray.core.timestamps import format_timestamp
from ess_ray.intake.lines.catalog import SPECS
from ess_ray.intake.lines.parser import Group, Parser, time_of
from ess_ray.intake.lines.raw import Line, cut_lines
from ess_ray.intake.lines.text_format import Event

TOO_LONG: Final = f"the line is longer than {MAX_EVENT_BYTES // 1024} KiB, the most that an event may have"


def read_lines(pieces: Iterator[bytes], reading: Reading, position: Position) -> Iterator[Item | Bad]:
    """Read lines from `position` on, which moves along. Raises ValueError at a line whose time nobody can tell."""
    parser = Parser(
        reading.form,
        reading.reader,
        pattern=reading.pattern,
        multiline=reading.multiline,
        header=position.header,
        is_start=position.lines == 0,
        crlf=reading.crlf,
    )
    lines = _ended(cut_lines(pieces)) if reading.only_ended else cut_lines(pieces)
    files = _File(reading, position)
    for group in parser.groups(lines, may_go_on=reading.may_go_on):
        first = position.lines + 1
        for line in group.lines:
            position.take(line.content, line.size, ended=line.ended)
        if group.is_broken:
            position.count_broken()
        try:
            found = parser.read(group)
        except ValueError as error:
            raise ValueError(f"line {first:,}: {error}") from error
        position.header = parser.header
        if found.kind == "too long":
            yield Bad(first, TOO_LONG)
        elif found.kind == "object":
            yield files.object(first, found.event, group)
        elif found.kind in ("event", "plain"):
            if found.kind == "plain":
                position.unread.count(first, group.text)
            yield files.event(first, found.event, group)


def _ended(lines: Iterator[Line]) -> Iterator[Line]:
    return (line for line in lines if line.ended)


def _as_sent(group: Group) -> bytes:
    """Give an object's text with its bad bytes, where it is a line as it stands: names may differ in those alone."""
    text = group.text.strip()
    if group.is_broken and len(group.lines) == 1:
        content = group.lines[0].content.strip()
        if content.decode("utf-8", "replace") == text:
            return content
    return text.encode()


class _File:
    """What the events of a file get besides what their lines say."""

    def __init__(self, reading: Reading, position: Position) -> None:
        self._reading, self._position = reading, position
        self._is_placed = position.before_us is not None
        self._is_text = SPECS[reading.form].envelope == "none" if reading.pattern is None else True

    def object(self, first: int, event: Event, group: Group) -> Item:
        """Give a JSON object of one line, as it was written."""
        raw = _as_sent(group)
        item = object_item(first, event, self._reading, raw.replace(b"\n", b" ").replace(b"\r", b" "))
        if item.timestamp_us is not None:
            self._position.before_us, self._is_placed = item.timestamp_us, True
        return item

    def event(self, first: int, event: Event, group: Group) -> Item:
        """Give an event; without a time it gets that of the line before, at the start that of the push."""
        position = self._position
        given_us = time_of(event)
        has_time = given_us is not None
        self._is_placed |= has_time
        position.untimed.count(first, group.texts[0].text, has_time=has_time, follows=self._is_placed)
        if given_us is not None:
            position.before_us = given_us
        elif position.before_us is None:
            position.before_us = self._reading.reader.now_us
        if not has_time or isinstance(event.get("timestamp"), int):
            event = {**event, "timestamp": format_timestamp(position.before_us)}
        defaults = self._reading.defaults
        event |= defaults.given() if self._is_text else defaults.missing_in(event)
        if self._reading.path is not None:
            event.setdefault(PATH, self._reading.path)
        return Item(first, dumps(event), position.before_us, group.more)
