"""Who may read a message whole: how many, how many of one peer, how long while others wait."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct

from ess_ray.intake.otlp_grpc import METHOD, GrpcLimits, OtlpGrpcServer
from ess_ray.intake.reading_places import ReadingPlaces
from tests.forward_listening import World
from tests.unit.test_otlp_grpc import everybody
from tests.waiting import until

FOR_EVER_S = 1e6
_SETTINGS, _PING, _WINDOW = 4, 6, 8
_INITIAL_WINDOW = 4
_USUAL_WINDOW_BYTES = 65_535
_FRAME_BYTES = 16_384


class Readers:
    """Peers that want to read, and do until they are told to end."""

    def __init__(self, places: ReadingPlaces) -> None:
        self.reading: list[str] = []
        self.late: list[str] = []
        self._places = places

    def begin(self, peer: str) -> asyncio.Task[None]:
        return asyncio.create_task(self._read(peer))

    async def _read(self, peer: str) -> None:
        try:
            async with self._places.place(peer):
                self.reading.append(peer)
                try:
                    await asyncio.Event().wait()
                finally:
                    self.reading.remove(peer)
        except TimeoutError:
            self.late.append(peer)


async def ended(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_one_peer_leaves_a_place_to_others() -> None:
    readers = Readers(ReadingPlaces(3, FOR_EVER_S))
    tasks = [readers.begin("a") for _ in range(5)]
    await until(lambda: len(readers.reading) == 2, "two of them read")
    tasks += [readers.begin("b") for _ in range(2)]
    await until(lambda: sorted(readers.reading) == ["a", "a", "b"], "another peer has the third place")
    await ended(tasks[:1])
    await until(lambda: len(readers.reading) == 3, "the next reads")
    await ended(tasks)
    assert readers.reading == readers.late == []


async def test_who_reads_may_take_long_unless_others_wait() -> None:
    readers = Readers(ReadingPlaces(1, 0.0))
    first = readers.begin("slow")
    await until(lambda: readers.reading == ["slow"], "it reads")
    assert not readers.late
    second = readers.begin("quick")
    await until(lambda: readers.reading == ["quick"], "the other reads")
    assert readers.late == ["slow"]
    await ended([first, second])


async def test_of_a_message_that_waits_to_be_read_its_sender_keeps_the_bytes() -> None:
    """gRPC asked for ever more of them, to tens of megabytes each, and two hundred may wait."""
    world, limits = World(), GrpcLimits(max_reading=1, read_s=FOR_EVER_S, hurried_s=FOR_EVER_S)
    server = OtlpGrpcServer(storing=world.storing, tenant_of=everybody, limits=limits)
    await server.serve("127.0.0.1", 0)
    try:
        with (
            contextlib.closing(Sender(server.ports[0])) as first,
            contextlib.closing(Sender(server.ports[0])) as second,
        ):
            await first.send_all_it_may()
            await until(lambda: server.calls == 1, "the first is read")
            for _ in range(20):
                await second.send_all_it_may()
            assert server.calls == 2
            assert second.sent_bytes < 1024 * 1024
    finally:
        await server.drain(0)
        await world.http.aclose()


class Sender:
    """A call over HTTP/2 whose message of 60 MiB is sent as far as the other side asks for it."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port))
        self._socket.setblocking(False)
        self.sent_bytes = 0
        self._windows = {0: _USUAL_WINDOW_BYTES, 1: _USUAL_WINDOW_BYTES}
        self._initial, self._buffer, self._pongs = _USUAL_WINDOW_BYTES, b"", 0
        fields = {":method": "POST", ":scheme": "http", ":path": METHOD, ":authority": "x"}
        fields |= {"content-type": "application/grpc", "te": "trailers"}
        head = b"".join(
            b"\0%c%s%c%s" % (len(name), name.encode(), len(value), value.encode()) for name, value in fields.items()
        )
        self._waiting = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + _frame(_SETTINGS, 0, 0, b"") + _frame(1, 4, 1, head)
        self._prefix = b"\0" + struct.pack(">I", 60 * 1024 * 1024)

    def close(self) -> None:
        self._socket.close()

    async def send_all_it_may(self) -> None:
        """Send until nothing more is asked for, and a PING behind it is answered."""
        loop, pongs = asyncio.get_running_loop(), self._pongs
        while size := min(*self._windows.values(), _FRAME_BYTES):
            content = (self._prefix + b"\n" * size)[:size]
            self._prefix = self._prefix[size:]
            self._windows = {stream: window - size for stream, window in self._windows.items()}
            self.sent_bytes += size
            self._waiting += _frame(0, 0, 1, content)
            await self._hand_over()
        self._waiting += _frame(_PING, 0, 0, b"ess_ping")
        while self._pongs == pongs:
            await self._hand_over()
            self._take(await loop.sock_recv(self._socket, 65_536))

    async def _hand_over(self) -> None:
        waiting, self._waiting = self._waiting, b""
        await asyncio.get_running_loop().sock_sendall(self._socket, waiting)

    def _take(self, data: bytes) -> None:
        assert data
        self._buffer += data
        while len(self._buffer) >= 9 + (size := int.from_bytes(self._buffer[:3] or b"\0")):
            kind, flags, stream = self._buffer[3], self._buffer[4], int.from_bytes(self._buffer[5:9])
            self._answer(kind, flags, stream, self._buffer[9 : 9 + size])
            self._buffer = self._buffer[9 + size :]

    def _answer(self, kind: int, flags: int, stream: int, content: bytes) -> None:
        if kind == _WINDOW:
            self._windows[stream] += int.from_bytes(content)
        elif kind == _PING and flags & 1:
            self._pongs += 1
        elif kind == _PING:
            self._waiting += _frame(_PING, 1, 0, content)
        elif kind == _SETTINGS and not flags & 1:
            for at in range(0, len(content), 6):
                name, value = struct.unpack(">HI", content[at : at + 6])
                if name == _INITIAL_WINDOW:
                    self._windows[1] += value - self._initial
                    self._initial = value
            self._waiting += _frame(_SETTINGS, 1, 0, b"")


def _frame(kind: int, flags: int, stream: int, content: bytes) -> bytes:
    return len(content).to_bytes(3) + bytes([kind, flags]) + stream.to_bytes(4) + content
