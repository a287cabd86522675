"""The limits of the forward protocol's connections: how many, how long, how much of each."""

from __future__ import annotations

from dataclasses import dataclass

from ess_ray.intake.formats.forward_stream import MAX_MESSAGE_BYTES


@dataclass(frozen=True)
class ForwardLimits:
    """What one listener takes."""

    max_connections: int = 1_024
    """In all: one of each node of a large cluster, and each a few KiB while it is silent."""
    max_connections_a_peer: int = 512
    """From one address: half, so that no host keeps all others out; many behind one gateway are still let in."""
    max_message_bytes: int = MAX_MESSAGE_BYTES
    """Of one message, which is held until it is whole."""
    read_bytes: int = 128 * 1024
    """Read of one connection at a time, and then nothing until that is durable: hundreds of messages. They count once
    they are taken, so that 512 connections of one host hold 64 MiB beside the gate."""
    handshake_s: float = 10.0
    """From connecting to a PING: clients answer at once."""
    stalled_s: float = 60.0
    """Without a byte in the middle of a message: longer than TCP repairs, and its memory is for others."""
    idle_s: float = 86_400.0
    """Without a byte between messages. Long, since clients that ask for no acknowledgement lose what they write into a
    connection that was closed on them; dead ones are found by TCP."""
    room_s: float = 30.0
    """How long a message waits for room in memory, unread: then the connection is closed, and the agent sends again.
    Not for ever, since those that wait hold the beginnings of their messages."""
    ask_again_s: float = 1.0
    """Between two looks whether connections would still be let in: half of what a revoked key may go on."""
    again_s: float = 0.25
    """Before what cannot be stored just now is tried again, where no agent would send it again."""
    max_again_s: float = 2.0
    """The same after some tries in vain."""
    linger_s: float = 1.0
    """What a client may take to close its side after ours: closed at once, acknowledgements on their way would be lost
    with a reset."""
    max_unread_bytes: int = 64 * 1024
    """Acknowledgements that a client has not taken: one that reads none of thousands is gone."""
