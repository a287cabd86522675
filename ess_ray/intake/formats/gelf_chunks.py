"""Chunks of GELF over UDP: a message that no datagram holds, put together whatever their order.

`1e 0f`, eight bytes that name the message, its chunk's number, how many there are, and a part of it. All must come
within five seconds. What is incomplete is bounded for each peer and in all, so that nobody fills the memory, and one
peer's loss is no other's.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Literal

MAGIC: Final = b"\x1e\x0f"
_HEADER_BYTES: Final = 12
MAX_CHUNKS: Final = 128
"""Graylog's limit."""
WAIT_S: Final = 5.0
"""Graylog's, from a message's first chunk on."""
MAX_MESSAGES_PER_PEER: Final = 64
"""Incomplete at a time: what a busy agent has on its way at once, several times over."""
MAX_BYTES_PER_PEER: Final = 4 * 1024 * 1024
MAX_BYTES: Final = 32 * 1024 * 1024
_CHUNK_OVERHEAD_BYTES: Final = 128
"""What a chunk takes beside its bytes, about: many tiny ones are not free."""

Loss = Literal["malformed", "expired", "too_many"]
Key = tuple[str, bytes]


@dataclass(frozen=True)
class ChunkLimits:
    """How much may be incomplete."""

    max_chunks: int = MAX_CHUNKS
    wait_s: float = WAIT_S
    max_messages_per_peer: int = MAX_MESSAGES_PER_PEER
    max_bytes_per_peer: int = MAX_BYTES_PER_PEER
    max_bytes: int = MAX_BYTES


@dataclass
class _Incomplete:
    begun_s: float
    count: int
    parts: dict[int, bytes] = field(default_factory=dict)
    bytes: int = 0


class GelfChunks:
    """The incomplete messages of one socket. `lost` counts messages that never become whole, by reason."""

    def __init__(self, clock_s: Callable[[], float], limits: ChunkLimits = ChunkLimits()) -> None:
        self._clock_s, self._limits = clock_s, limits
        self._messages: OrderedDict[Key, _Incomplete] = OrderedDict()
        """The oldest first."""
        self._of_peer: Counter[str] = Counter()
        self._bytes_of_peer: Counter[str] = Counter()
        self.held_bytes = 0
        self.lost: Counter[Loss] = Counter()

    def __len__(self) -> int:
        return len(self._messages)

    def add(self, peer: str, datagram: bytes) -> bytes | None:
        """Take a datagram; gives a whole message where there is one: the datagram itself if it is no chunk."""
        self.expire()
        if not datagram.startswith(MAGIC):
            return datagram
        key, number, count = (peer, datagram[2:10]), datagram[10:11], datagram[11:12]
        if len(datagram) < _HEADER_BYTES or not 1 <= count[0] <= self._limits.max_chunks or number[0] >= count[0]:
            self.lost["malformed"] += 1
            return None
        message = self._messages.get(key)
        if message is not None and message.count != count[0]:
            self._forget(key, "malformed")
            return None
        if message is None:
            message = self._begin(key, count[0])
        part = datagram[_HEADER_BYTES:]
        if number[0] not in message.parts:
            message.parts[number[0]] = part
            self._hold(peer, message, len(part) + _CHUNK_OVERHEAD_BYTES)
        if len(message.parts) == message.count:
            self._forget(key)
            return b"".join(message.parts[each] for each in range(message.count))
        self._make_room(peer)
        return None

    def expire(self) -> None:
        """Let go of what has waited too long."""
        latest_s = self._clock_s() - self._limits.wait_s
        while self._messages:
            key, message = next(iter(self._messages.items()))
            if message.begun_s >= latest_s:
                return
            self._forget(key, "expired")

    def _begin(self, key: Key, count: int) -> _Incomplete:
        message = self._messages[key] = _Incomplete(self._clock_s(), count)
        self._of_peer[key[0]] += 1
        return message

    def _hold(self, peer: str, message: _Incomplete, more_bytes: int) -> None:
        message.bytes += more_bytes
        self.held_bytes += more_bytes
        self._bytes_of_peer[peer] += more_bytes

    def _make_room(self, peer: str) -> None:
        """Let the peer's oldest go while it holds too much; the heaviest peer's where all together do."""
        limits = self._limits
        while (
            self._of_peer[peer] > limits.max_messages_per_peer or self._bytes_of_peer[peer] > limits.max_bytes_per_peer
        ):
            self._forget(self._oldest_of(peer), "too_many")
        while self.held_bytes > limits.max_bytes:
            heaviest, _ = self._bytes_of_peer.most_common(1)[0]
            self._forget(self._oldest_of(heaviest), "too_many")

    def _oldest_of(self, peer: str) -> Key:
        return next(key for key in self._messages if key[0] == peer)

    def _forget(self, key: Key, why: Loss | None = None) -> None:
        message, peer = self._messages.pop(key), key[0]
        self.held_bytes -= message.bytes
        self._bytes_of_peer[peer] -= message.bytes
        self._of_peer[peer] -= 1
        if not self._of_peer[peer]:
            del self._of_peer[peer], self._bytes_of_peer[peer]
        if why is not None:
            self.lost[why] += 1
