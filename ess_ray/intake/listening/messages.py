"""A connection whose frames are messages that nobody answers: syslog's and GELF's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from ess_ray.intake.decoded import Decoded
from ess_ray.intake.formats.frames import Frame, Frames
from ess_ray.intake.formats.syslog import Received
from ess_ray.intake.listening.shapes import Peer, Piece, Turn

Read = Callable[[Sequence[Received], int], Decoded]
"""(messages, time of receipt) to events; pure."""


class Messages:
    """One connection. See `shapes.Conversation`."""

    replies = False

    def __init__(self, read: Read, frames: Frames, peer: Peer) -> None:
        self._read, self._frames, self._peer = read, frames, peer

    @property
    def partial_bytes(self) -> int:
        """See the protocol."""
        return self._frames.partial_bytes

    def begin(self) -> bytes:
        """See the protocol."""
        return b""

    def feed(self, data: bytes) -> Turn:
        """See the protocol."""
        return self._turn(self._frames.feed(data))

    def end(self) -> Turn:
        """See the protocol."""
        return self._turn(self._frames.end())

    def _turn(self, frames: Sequence[Frame]) -> Turn:
        refused = "framing" if self._frames.is_broken else None
        if not frames:
            return Turn((), refused)
        messages = [Received(frame.content, self._peer.address, frame.is_cut) for frame in frames]
        cut = sum(frame.is_cut for frame in frames)
        return Turn([piece_of(messages, self._read, cut=cut, tenant=self._peer.tenant)], refused)


def piece_of(messages: Sequence[Received], read: Read, cut: int = 0, tenant: str | None = None) -> Piece:
    """Give messages as a piece; `cut`: how many of them were too long; `tenant`: as in `Piece`."""
    size = sum(len(message.content) for message in messages)
    return Piece(size, partial(read, messages), cut=cut, tenant=tenant)
