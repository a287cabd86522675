"""The journal's export format: entries of `NAME=value` lines, an empty line behind each.

A value with newlines in it, or bytes that are no text, comes as its name alone, its length (64 bits, little endian),
itself, and a newline.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final

from ess_ray.core.event import MAX_EVENT_BYTES
from ess_ray.intake.lines.raw import Line
from ess_ray.intake.lines.text_format import Event
from ess_ray.intake.lines.texts import Text, decoded
from ess_ray.intake.names import free_name

_LENGTH_BYTES: Final = 8
NAME: Final = re.compile(rb"[A-Z_][A-Z0-9_]{0,63}")


def entries(lines: Iterable[Line], *, may_go_on: bool = False) -> Iterator[Text]:
    """Give each entry as an envelope without a text. What is no field of one stands for itself.

    `may_go_on`: the last entry is kept back while the empty line behind it is not there.
    """
    entry = _Entry()
    for line in lines:
        if entry.take(line):
            yield entry.text()
            entry = _Entry()
    if entry.lines and not may_go_on:
        yield entry.text()


class _Entry:
    """An entry that is being read."""

    def __init__(self) -> None:
        self.lines: list[Line] = []
        self._fields: dict[str, str] = {}
        self._odd: list[str] = []
        self._bytes = 0
        self._is_broken = self._is_too_long = False
        self._name: str | None = None
        self._value = bytearray()

    def take(self, line: Line) -> bool:
        """Take a line; gives whether the entry is whole with it."""
        self.lines.append(line)
        self._bytes += line.size + 1
        if line.is_too_long or self._bytes > MAX_EVENT_BYTES:
            # Nothing that has so many bytes can be stored. In a value nobody knows where it ends: the next empty line.
            self._is_too_long = True
            self._name = None
            return not line.size
        if self._name is not None:
            self._take_bytes(line)
            return False
        if not line.content:
            return True
        name, equals, value = line.content.partition(b"=")
        if NAME.fullmatch(name) is None:
            self._odd.append(self._decoded(line.content))
        elif equals:
            self._add(name.decode(), value)
        else:
            self._name = name.decode()
        return False

    def _take_bytes(self, line: Line) -> None:
        self._value += line.content + (b"\n" if line.ended else b"")
        if len(self._value) < _LENGTH_BYTES:
            return
        length = int.from_bytes(self._value[:_LENGTH_BYTES], "little")
        if len(self._value) > length + _LENGTH_BYTES and self._name is not None:
            self._add(self._name, bytes(self._value[_LENGTH_BYTES : _LENGTH_BYTES + length]))
            self._name, self._value = None, bytearray()

    def _add(self, name: str, value: bytes) -> None:
        self._fields[free_name(name, self._fields)] = self._decoded(value)

    def _decoded(self, value: bytes) -> str:
        text, is_broken = decoded(value)
        self._is_broken |= is_broken
        return text

    def text(self) -> Text:
        """Give what was read; a field that was cut off is kept as far as it goes."""
        if self._name is not None:
            self._add(self._name, bytes(self._value[_LENGTH_BYTES:]))
        envelope: Event | None = dict(self._fields) or None
        odd = "\n".join(self._odd)
        if envelope is not None and odd:
            envelope["journal.unread"] = odd
        return Text(
            "" if envelope else odd, self.lines, envelope, is_broken=self._is_broken, is_too_long=self._is_too_long
        )
