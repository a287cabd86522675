"""What came of one connection at once: chunks, each a request of its own, and all else as few requests in order."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from ess_ray.intake.compression import Content
from ess_ray.intake.formats.forward import ForwardEntries
from ess_ray.intake.formats.forward_message import LOGS, Message

RUN_BYTES: Final = 128 * 1024
"""Entries of small messages that are stored together, with their tags: surely one record, and decoded on the loop."""


@dataclass
class Run:
    """Entries of messages without a chunk, one behind another."""

    entries: Content = field(default_factory=bytearray)
    encoding: str | None = None
    tags: list[tuple[str, int]] = field(default_factory=list)
    _bytes: int = 0

    def add(self, message: Message) -> bool:
        """Add a message; False where it does not fit."""
        more = len(message.entries) + len(message.tag)
        if self.tags and (self.encoding or message.encoding or self._bytes + more > RUN_BYTES):
            return False
        if not self.tags and (message.encoding or more > RUN_BYTES):
            self.entries, self.encoding = message.entries, message.encoding
        else:
            assert isinstance(self.entries, bytearray)  # of small ones
            self.entries += message.entries
        self._bytes += more
        if self.tags and self.tags[-1][0] == message.tag:
            self.tags[-1] = (message.tag, self.tags[-1][1] + len(message.entries))
        else:
            self.tags.append((message.tag, len(message.entries)))
        return True

    def form(self) -> ForwardEntries:
        """Give what reads the entries."""
        if len(self.tags) == 1:
            return ForwardEntries([(self.tags[0][0], None)])
        return ForwardEntries(self.tags)


@dataclass
class Batch:
    """Messages that came together. `unkept`: those of which nothing is stored, by reason; `done`: chunks of those."""

    chunks: list[Message] = field(default_factory=list)
    runs: list[Run] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    signals: int = 0
    done: list[str | bytes] = field(default_factory=list)

    def add(self, message: Message) -> None:
        """Add a message."""
        if message.fault is not None or message.signal != LOGS:
            if message.fault is not None:
                self.faults.append(message.fault)
            else:
                self.signals += 1
            if message.chunk is not None:
                self.done.append(message.chunk)
        elif message.chunk is not None:
            self.chunks.append(message)
        elif not self.runs or not self.runs[-1].add(message):
            self.runs.append(Run())
            self.runs[-1].add(message)
