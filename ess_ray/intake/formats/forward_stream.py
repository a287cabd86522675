"""Fluentd's forward protocol as a stream: bytes, cut anywhere, to whole messages, each a row of elements.

A message is an array without any frame around it: where it ends is found by walking over it once, as it comes, and
nothing but its bytes is held until then.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Final, NamedTuple

from ess_ray.core.errors import TooLarge
from ess_ray.intake.formats.msgpack_walk import NIL, Malformed, Walker, head, is_array, is_map, is_text

MAX_ELEMENTS: Final = 16
"""Elements of a message: a PING has six, nothing has more."""
MAX_MESSAGE_BYTES: Final = 65 * 1024 * 1024
"""A message: entries of 64 MiB, as much as a request of any protocol may have, with what stands around them."""


class Element(NamedTuple):
    """An element of a message. `content`: of a text its bytes, of an array its packed elements one behind another; what
    stands before them is `header`. Of all else the whole packed value. One of `is_text`, `is_array`, `is_map` may be
    true."""

    content: bytes
    header: bytes = b""
    is_text: bool = False
    is_array: bool = False
    is_map: bool = False

    @property
    def packed(self) -> bytes:
        """The whole value."""
        return self.header + self.content


Elements = list[Element]


class ForwardStream:
    """What has come of a stream and is no whole message yet."""

    def __init__(self, max_message_bytes: int = MAX_MESSAGE_BYTES) -> None:
        self.max_message_bytes = max_message_bytes
        self._buffer = bytearray()
        self._start = 0  # of the message that is being walked over, in the buffer
        self._walker: Walker | None = None  # of the element that is; None before the message's own head
        self._left = 0  # elements that have not ended
        self._element_start = 0
        self._spans: list[tuple[int, int]] = []

    @property
    def held_bytes(self) -> int:
        """Bytes that are held: of a message that has not ended yet."""
        return len(self._buffer)

    def feed(self, data: bytes) -> Generator[Elements, None, None]:
        """Take the next bytes; gives the messages that end in them, one after another. An empty one is a heartbeat.

        Raises Malformed for what is no message, TooLarge as soon as one is bound to be longer than
        `max_message_bytes`: behind that nothing can be read of this stream. What stood before it has been given.
        """
        self._buffer += data
        try:
            while (message := self._next()) is not None:
                yield message
        finally:
            if self._start:
                self._drop()

    def _next(self) -> Elements | None:
        if self._walker is None and not self._begin():
            return None
        if self._walker is None:  # a heartbeat
            self._start += 1
            return []
        while self._left:
            is_whole = self._walker.walk(self._buffer)
            self._check(self._walker.least_end() + self._left - 1)
            if not is_whole:
                return None
            self._spans.append((self._element_start, self._walker.at))
            self._element_start = self._walker.at
            self._left -= 1
            self._walker = Walker(self._walker.at)
        message = [self._element(*span) for span in self._spans]
        self._start, self._walker, self._spans = self._element_start, None, []
        return message

    def _begin(self) -> bool:
        """Read a message's head; False where it has not come yet."""
        if self._start >= len(self._buffer):
            return False
        first = self._buffer[self._start]
        if first == NIL:
            return True
        if not is_array(first):
            raise Malformed("this is no message of the forward protocol: those are arrays")
        found = head(self._buffer, self._start)
        if found is None:
            return False
        start, count = found
        if not 2 <= count <= MAX_ELEMENTS:
            raise Malformed(f"this is no message of the forward protocol: it has {count} elements")
        self._walker, self._left, self._element_start = Walker(start), count, start
        return True

    def _check(self, least_end: int) -> None:
        if least_end - self._start > self.max_message_bytes:
            raise TooLarge(
                f"a message is larger than {self.max_message_bytes} bytes: have the agent send smaller chunks "
                "(Fluentd: `chunk_limit_size 8m` in the match's buffer)",
                limit=self.max_message_bytes,
            )

    def _element(self, start: int, end: int) -> Element:
        first = self._buffer[start]
        if is_text(first) or is_array(first):
            found = head(self._buffer, start)
            assert found is not None  # it is whole
            header, content = self._bytes(start, found[0]), self._bytes(found[0], end)
            return Element(content, header, is_text(first), is_array(first))
        return Element(self._bytes(start, end), is_map=is_map(first))

    def _bytes(self, start: int, end: int) -> bytes:
        with memoryview(self._buffer) as view:
            return bytes(view[start:end])

    def _drop(self) -> None:
        """Drop the messages that were given."""
        gone, self._start = self._start, 0
        del self._buffer[:gone]
        if self._walker is not None:
            self._walker.at -= gone
            self._element_start -= gone
        self._spans = [(start - gone, end - gone) for start, end in self._spans]
