"""Where reading a file stands, and how a stand is known again when the file is read another time."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Final

from ess_ray.cli.content import Content
from ess_ray.cli.untimed import Unread, Untimed

PROOF_BYTES: Final = 1024
"""Of a file's start, and of what stands before an offset, that must be the same for the file to be the same."""


@dataclass(frozen=True, slots=True)
class Mark:
    """A stand in a file's text (bytes of UTF-8): all before `offset` was read, and is told by `head` and `tail`.

    `head` and `tail` are hashes of its first PROOF_BYTES and of those before `offset`. `open_from`: where the last line
    begins that was read without its end. `before_us`: the time of the last line. A JSON document is told by `document`,
    the hash of all of it, and `items` of it were read. `header` names the columns of a table.
    """

    offset: int = 0
    head: str = ""
    tail: str = ""
    lines: int = 0
    before_us: int | None = None
    open_from: int | None = None
    document: str | None = None
    items: int = 0
    header: str = ""


@dataclass
class Position:
    """The stand of a reader, which moves on with every line. `broken`: lines that were not UTF-8, and were mended."""

    offset: int = 0
    lines: int = 0
    before_us: int | None = None
    open_from: int | None = None
    document: str | None = None
    items: int = 0
    header: str = ""
    broken: int = 0
    broken_first: int | None = None
    untimed: Untimed = field(default_factory=Untimed)
    unread: Unread = field(default_factory=Unread)
    _head: bytes = b""
    _tail: bytes = b""
    _read: int = field(default=0)

    def take(self, line: bytes, size: int, *, ended: bool) -> None:
        """Move behind a line of `size` bytes, and its newline: `line`, or its first and last PROOF_BYTES."""
        self.open_from = None if ended else self.offset
        self.offset += size + ended
        self.lines += 1
        self._read += 1
        text = line + b"\n" if ended else line
        if len(self._head) < PROOF_BYTES:
            self._head += text[: PROOF_BYTES - len(self._head)]
        self._tail = (self._tail + text)[-PROOF_BYTES:]

    def count_broken(self) -> None:
        """Count the line that was just taken."""
        self.broken += 1
        if self.broken_first is None:
            self.broken_first = self.lines

    @property
    def lines_read(self) -> int:
        """Lines that this reader has read itself."""
        return self._read

    def take_end(self, end: bytes) -> None:
        """Move behind the end of the line that was read without it."""
        self.open_from = None
        self.offset += len(end)
        if len(self._head) < PROOF_BYTES:
            self._head += end[: PROOF_BYTES - len(self._head)]
        self._tail = (self._tail + end)[-PROOF_BYTES:]

    def mark(self) -> Mark:
        """Give the stand as it is now."""
        head, tail = (sha256(part).hexdigest() for part in (self._head, self._tail))
        if self.document is not None:
            head = tail = ""
        return Mark(
            self.offset, head, tail, self.lines, self.before_us, self.open_from, self.document, self.items, self.header
        )


def position_from(content: Content, offset: int, lines: int, before_us: int | None) -> tuple[Position, Iterator[bytes]]:
    """Give a reader's stand behind so many bytes and lines, and the text from there on."""
    tail_from = max(0, offset - PROOF_BYTES)
    pieces = content.pieces(tail_from)
    tail, rest = b"", b""
    while len(tail) < offset - tail_from and (piece := next(pieces, b"")):
        wanted = offset - tail_from - len(tail)
        tail, rest = tail + piece[:wanted], piece[wanted:]
    position = Position(offset, lines, before_us, _head=content.head[: min(PROOF_BYTES, offset)], _tail=tail)
    return position, itertools.chain([rest] if rest else [], pieces)


def position_at(content: Content, mark: Mark) -> tuple[Position, Iterator[bytes]] | None:
    """Give a reader's stand at a mark, and the text from there on; None when the text before it is another."""
    if mark.document is not None:
        digest = sha256()
        for piece in content.pieces():
            digest.update(piece)
        return (
            (Position(document=mark.document, items=mark.items), content.pieces())
            if digest.hexdigest() == mark.document
            else None
        )
    position, pieces = position_from(content, mark.offset, mark.lines, mark.before_us)
    position.open_from, position.header = mark.open_from, mark.header
    known = position.mark()
    return (position, pieces) if (known.head, known.tail) == (mark.head, mark.tail) else None
