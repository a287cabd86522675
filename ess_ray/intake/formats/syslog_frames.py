"""Syslog over a connection: RFC 6587's two framings, told apart frame by frame, since senders mix them.

`LEN SP` and so many bytes; anything else is a line that ends with LF or NUL. A digit that begins no count begins a
line.
"""

from __future__ import annotations

import re
from typing import Final

from ess_ray.intake.formats.frames import MAX_FRAME_BYTES, Frame

MAX_COUNT: Final = 64 * 1024 * 1024
"""A longer message is nobody's: the number is no count, and where the next frame begins nobody knows."""
_DIGITS: Final = re.compile(rb"[1-9][0-9]*")
_MAX_DIGITS: Final = 10
_LINE_END: Final = re.compile(rb"[\n\0]")
_SPACE: Final = 0x20


class SyslogFrames:
    """The frames of one connection. See `frames.Frames`."""

    def __init__(self, max_frame_bytes: int = MAX_FRAME_BYTES, max_count: int = MAX_COUNT) -> None:
        self._most, self._max_count = max_frame_bytes, max_count
        self.is_broken = False
        self._buffer = bytearray()
        self._at = 0
        self._searched = 0
        """Bytes from the front of the buffer in which no line ends."""
        self._skip_bytes = 0
        """What is left of a counted frame that was cut."""
        self._is_skipping_line = False

    @property
    def partial_bytes(self) -> int:
        return len(self._buffer)

    def feed(self, data: bytes) -> list[Frame]:
        frames: list[Frame] = []
        if self.is_broken:
            return frames
        self._buffer += data
        self._at = 0
        while self._at < len(self._buffer) and self._step(frames):
            continue
        del self._buffer[: len(self._buffer) if self.is_broken else self._at]
        return frames

    def end(self) -> list[Frame]:
        rest, start = bytes(self._buffer), 0
        self._buffer.clear()
        count = None if self._is_skipping_line else self._count(rest)
        if count is not None:
            start, _ = count
        rest = rest[start:]
        return [Frame(rest, is_cut=count is not None)] if rest else []

    def _step(self, frames: list[Frame]) -> bool:
        """Go on by one frame, or what is left of one; False when it takes more bytes."""
        buffer = self._buffer
        if self._skip_bytes:
            step = min(self._skip_bytes, len(buffer) - self._at)
            self._skip_bytes -= step
            self._at += step
            return True
        digits = None if self._is_skipping_line else _DIGITS.match(buffer, self._at)
        if digits is not None:
            if len(digits[0]) > _MAX_DIGITS:
                self.is_broken = True
            if self.is_broken or digits.end() == len(buffer):
                return False
            if buffer[digits.end()] == _SPACE:
                return self._counted(frames, digits.end() + 1, int(digits[0]))
        return self._line(frames)

    def _counted(self, frames: list[Frame], start: int, count: int) -> bool:
        if count > self._max_count:
            self.is_broken = True
            return False
        kept = min(count, self._most)
        if len(self._buffer) - start < kept:
            return False
        frames.append(Frame(bytes(self._buffer[start : start + kept]), is_cut=count > kept))
        self._at, self._skip_bytes = start + kept, count - kept
        return True

    def _line(self, frames: list[Frame]) -> bool:
        buffer, at = self._buffer, self._at
        found = _LINE_END.search(buffer, max(at, self._searched))
        until = len(buffer) if found is None else found.start()
        if not self._is_skipping_line:
            is_cut = until - at > self._most
            if found is None and not is_cut:
                self._searched = until - at
                return False
            line = bytes(buffer[at : min(until, at + self._most)]).removesuffix(b"\r")
            if line:
                frames.append(Frame(line, is_cut))
        self._is_skipping_line = found is None
        self._searched = 0
        self._at = until if found is None else until + 1
        return True

    def _count(self, rest: bytes) -> tuple[int, int] | None:
        """Give where a counted frame's content begins, and its count; None for a line."""
        digits = _DIGITS.match(rest)
        if digits is None or rest[digits.end() : digits.end() + 1] != b" ":
            return None
        return digits.end() + 1, int(digits[0])
