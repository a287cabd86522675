"""Frames of a byte stream: where one message ends and the next begins, however the network cuts the stream.

Sans-IO: bytes in, frames out, the same for any split of the stream. What is kept between calls is at most one frame
and its end.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple, Protocol

from ess_ray.core.event import MAX_EVENT_BYTES

MAX_FRAME_BYTES: Final = MAX_EVENT_BYTES
"""A frame that is longer is cut: more of it is no event that could be stored."""


class Frame(NamedTuple):
    """One message's bytes, without its framing. `is_cut`: there was more of it."""

    content: bytes
    is_cut: bool = False


class Frames(Protocol):
    """The framing of one connection."""

    is_broken: bool
    """Whether the stream makes no sense any more: what follows cannot be read, and the connection is to be closed."""

    @property
    def partial_bytes(self) -> int:
        """Give how many bytes are kept of a frame that has not ended."""

    def feed(self, data: bytes) -> list[Frame]:
        """Take what came next; gives the frames that ended with it."""

    def end(self) -> list[Frame]:
        """Take the end of the connection; gives the last frame, though it has no end."""


class EndedFrames:
    """Frames that end with one of some bytes; empty ones are none. See `Frames`."""

    is_broken = False

    def __init__(self, ends: bytes, max_frame_bytes: int = MAX_FRAME_BYTES) -> None:
        self._end = re.compile(b"[" + re.escape(ends) + b"]")
        self._most = max_frame_bytes
        self._buffer = bytearray()
        self._searched = 0
        self._is_skipping = False

    @property
    def partial_bytes(self) -> int:
        return len(self._buffer)

    def feed(self, data: bytes) -> list[Frame]:
        frames: list[Frame] = []
        buffer, at = self._buffer, 0
        buffer += data
        while at < len(buffer):
            found = self._end.search(buffer, max(at, self._searched))
            until = len(buffer) if found is None else found.start()
            if not self._is_skipping:
                is_cut = until - at > self._most
                if found is None and not is_cut:
                    self._searched = until - at
                    break
                if until > at:
                    frames.append(Frame(bytes(buffer[at : min(until, at + self._most)]), is_cut))
            self._is_skipping = found is None
            self._searched = 0
            at = until if found is None else until + 1
        del buffer[:at]
        return frames

    def end(self) -> list[Frame]:
        rest = bytes(self._buffer)
        self._buffer.clear()
        return [Frame(rest)] if rest else []
