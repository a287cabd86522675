"""systemd's journal export format: bytes as they come, in pieces of any size, to entries.

An entry is lines `NAME=text`, or `NAME`, eight bytes with a size and so many bytes of a value, and ends with an empty
line. The parser holds one unfinished entry, and of a value no more than an event may have: the rest is dropped as it
comes, and the entry says that it is cut.
"""

from __future__ import annotations

import re
from typing import Final

from ess_ray.core.errors import BadRequest
from ess_ray.core.event import MAX_EVENT_BYTES
from ess_ray.intake.names import free_name

Entry = dict[str, str]
"""Fields in their order; of a name that is there again the second is `NAME#2`."""
TRUNCATED: Final = "truncated"
"""The field of an entry of which something was cut."""
MAX_ENTRY_BYTES: Final = MAX_EVENT_BYTES - 16 * 1024
"""Names and values of an entry that are kept: so much an event may have, beside what a row takes."""
MAX_FIELDS: Final = 1024
"""Fields of an entry that are kept, as many as systemd's own receiver takes."""
MAX_VALUE_BYTES: Final = 768 * 1024 * 1024
"""The largest value that systemd's own receiver takes: what says more is no entry."""
_NAME: Final = re.compile(rb"[A-Za-z0-9_.@-]{1,256}")
_MAX_NAME_BYTES: Final = 256
_MAX_LINE_BYTES: Final = MAX_ENTRY_BYTES + _MAX_NAME_BYTES + 1
"""Of a line that are held: then its value is cut, however its bytes come."""
_SIZE_BYTES: Final = 8
_LINE_END: Final = ord("\n")
_ENTRY_END: Final = b"\n\n"


class JournalParser:
    """Reads one stream. Raises BadRequest for what is no journal: nothing behind that can be read."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._searched = 0  # so many bytes of the buffer have no end of a line
        self._line: bytes | None = None  # the beginning of a line too long to hold, whose rest is dropped
        self._name: str | None = None  # of the binary value that is being read
        self._value = bytearray()
        self._left: int | None = None  # of that value's bytes; None while its size is not known
        self._entry: Entry = {}
        self._entry_bytes = 0
        self._is_cut = False
        self._entries: list[Entry] = []
        self._names: set[str] = set()

    @property
    def held_bytes(self) -> int:
        """Bytes of what is not finished yet."""
        return len(self._buffer) + len(self._value) + self._entry_bytes

    def feed(self, data: bytes) -> list[Entry]:
        """Take the next bytes; gives the entries that end in them."""
        self._buffer += data
        at = 0
        while (after := self._step_of_entry(at) or self._step(at)) is not None:
            at = after
        del self._buffer[: min(at, len(self._buffer))]
        return self.finished()

    def close(self) -> list[Entry]:
        """Tell that nothing more comes; gives the last entry where its empty line is missing."""
        if self._name is None and (self._buffer or self._line is not None):
            self.feed(b"\n")
        if self._name is not None:
            raise BadRequest("the journal ends in the middle of a value: send it again")
        self._end()
        return self.finished()

    def finished(self) -> list[Entry]:
        """Give entries that were read and not given yet: there are some after `feed` raised."""
        entries, self._entries = self._entries, []
        return entries

    def _step_of_entry(self, at: int) -> int | None:
        """Read an entry that is there as a whole, and usual: nothing of it is binary, there twice, or too much. Gives
        where it ends; None where it is not so, to be read line by line."""
        if self._name is not None or self._line is not None or self._entry:
            return None
        end = self._buffer.find(_ENTRY_END, at, at + MAX_ENTRY_BYTES)
        if end <= at:
            return None
        try:
            lines = self._buffer[at:end].decode().split("\n")
            entry = dict([line.split("=", 1) for line in lines])
        except ValueError:
            return None
        if len(entry) < len(lines) or len(entry) > MAX_FIELDS or not self._are_names(entry):
            return None
        self._searched = 0
        self._entries.append(entry)
        return end + len(_ENTRY_END)

    def _are_names(self, entry: Entry) -> bool:
        """Tell whether all names are names; those of a stream are mostly the same."""
        if self._names.issuperset(entry):
            return True
        if not all(name.isascii() and _NAME.fullmatch(name.encode()) for name in entry):
            return False
        if len(self._names) < MAX_FIELDS:
            self._names.update(entry)
        return True

    def _step(self, at: int) -> int | None:
        """Read what begins at `at`; gives where it ends, None where more must come first."""
        if self._name is None:
            return self._step_of_line(at)
        if self._left is None:
            return self._step_of_size(at)
        return self._step_of_value(at)

    def _step_of_line(self, at: int) -> int | None:
        end = self._buffer.find(b"\n", at + self._searched)
        if end < 0:
            return self._wait_for_line(at)
        self._searched = 0
        line = bytes(self._buffer[at:end]) if self._line is None else self._line
        self._line = None
        self._take_line(line)
        return end + 1

    def _wait_for_line(self, at: int) -> int | None:
        """Hold the beginning of a line, up to what an entry may have."""
        size = len(self._buffer) - at
        if self._line is None and size <= _MAX_LINE_BYTES:
            self._searched = size
            return None
        if self._line is None:
            self._line = bytes(self._buffer[at : at + _MAX_LINE_BYTES])
            _split(self._line)
        self._searched = 0
        self._buffer.clear()
        return None

    def _take_line(self, line: bytes) -> None:
        if not line:
            self._end()
            return
        name, has_value, value = _split(line)
        if has_value:
            self._add(name, value)
        else:
            self._name, self._left = name, None

    def _step_of_size(self, at: int) -> int | None:
        if len(self._buffer) - at < _SIZE_BYTES:
            return None
        self._left = int.from_bytes(self._buffer[at : at + _SIZE_BYTES], "little")
        if self._left > MAX_VALUE_BYTES:
            raise BadRequest(f"this is no journal: a value says that it has {self._left} bytes")
        return at + _SIZE_BYTES

    def _step_of_value(self, at: int) -> int | None:
        assert self._left is not None  # see _step
        assert self._name is not None
        come = len(self._buffer) - at
        if come <= self._left:
            taken = self._hold(at, come)
            self._left -= taken
            self._buffer.clear()
            return None
        taken, end = self._hold(at, self._left), at + self._left
        if self._buffer[end] != _LINE_END:
            raise BadRequest("this is no journal: no line ends behind a value")
        name, value = self._name, bytes(self._value)
        self._name, self._left = None, None
        self._value.clear()
        self._add(name, value)
        return end + 1

    def _hold(self, at: int, size: int) -> int:
        kept = min(size, MAX_ENTRY_BYTES - len(self._value))
        self._value += self._buffer[at : at + kept]
        self._is_cut |= kept < size
        return size

    def _add(self, name: str, value: bytes) -> None:
        """Add a field, or as much of it as the entry may still have."""
        room = MAX_ENTRY_BYTES - self._entry_bytes - len(name)
        if room < 0 or len(self._entry) >= MAX_FIELDS:
            self._is_cut = True
            return
        if len(value) > room:
            value, self._is_cut = value[:room], True
        text, size = _text_of(value, room)
        self._entry_bytes += len(name) + size
        self._entry[free_name(name, self._entry)] = text

    def _end(self) -> None:
        if self._entry:
            if self._is_cut:
                self._entry[TRUNCATED] = "true"
            self._entries.append(self._entry)
        self._entry, self._entry_bytes, self._is_cut = {}, 0, False


def _text_of(value: bytes, room: int) -> tuple[str, int]:
    """Give a value's text, and its bytes; what is no UTF-8 becomes longer, and is cut again where there is no room."""
    try:
        return value.decode(), len(value)
    except UnicodeDecodeError:
        mended = value.decode("utf-8", "replace").encode()[:room]
        return mended.decode("utf-8", "ignore"), len(mended)


def _split(line: bytes) -> tuple[str, bool, bytes]:
    """Give a line's name, whether a value stands behind it, and that. Raises BadRequest."""
    name, equals, value = line.partition(b"=") if b"=" in line[: _MAX_NAME_BYTES + 1] else (line, b"", b"")
    if _NAME.fullmatch(name) is None:
        raise BadRequest(f"this is no journal: {line[:40].decode('utf-8', 'replace')!r} is no field")
    return name.decode("ascii"), bool(equals), value
