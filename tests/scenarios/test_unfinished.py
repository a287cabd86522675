"""What nobody finishes: bodies that stop half-way, and what was begun with a key that is revoked meanwhile."""

from __future__ import annotations

import asyncio
import json
import socket
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from typing import Final

import httpx
import psutil
import pytest

from tests.systems import System, wait_until
from tests.waiting import again_and_again, until

CLIENTS: Final = 300
BODY_BYTES: Final = 10_000_000
GROWTH_BYTES: Final = 300_000_000
"""What a replica may take more under it, and REST_BYTES what may be left within REST_S."""
REST_BYTES: Final = 100_000_000
REST_S: Final = 60.0
ENDED_S: Final = 60.0
"""Three times what a body may stand still."""


def push_replicas(system: System) -> list[psutil.Process]:
    return [process for process in system.processes() if "ServeReplica:push" in " ".join(process.cmdline())]


class Memory:
    """The memory that belongs to each push replica alone, looked at over and over."""

    def __init__(self, system: System) -> None:
        self._replicas = push_replicas(system)
        self._before = self._now()
        self.most_grown = 0

    def _now(self) -> list[int]:
        return [int(process.memory_full_info().uss) for process in self._replicas]

    def grown(self) -> int:
        """Bytes that the replica that grew most takes more than before."""
        now = max(now - before for now, before in zip(self._now(), self._before, strict=True))
        self.most_grown = max(self.most_grown, now)
        return now

    def watched(self) -> AbstractContextManager[None]:
        """Look all the time."""
        return again_and_again(self.grown)


class Stalled(asyncio.Protocol):
    """A client that sends all of a body but its last byte, as fast as it is taken, and reads what it is answered.

    Not a stream: that gives nothing of what was read when the connection is reset later.
    """

    PIECE: Final = b" " * 50_000

    def __init__(self) -> None:
        self.answer = b""
        self._left_bytes, self._paused = BODY_BYTES - 1, False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.write(b"POST /push/v1/events HTTP/1.1\r\nHost: ess\r\nContent-Length: %d\r\n\r\n" % BODY_BYTES)
        self._send()

    def _send(self) -> None:
        while self._left_bytes and not self._paused and not self.transport.is_closing():
            piece = self.PIECE[: self._left_bytes]
            self.transport.write(piece)
            self._left_bytes -= len(piece)

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        asyncio.get_running_loop().call_soon(self._send)

    def data_received(self, data: bytes) -> None:
        self.answer += data


async def stall(system: System, meanwhile: Callable[[], None]) -> Counter[bytes]:
    """Have CLIENTS stall, do something meanwhile, and give the first lines of the answers once all of them have one."""
    loop = asyncio.get_running_loop()
    clients = [(await loop.create_connection(Stalled, "127.0.0.1", system.port))[1] for _ in range(CLIENTS)]
    # Whoever finds no room is refused at once; the others hold what there is.
    await until(lambda: any(client.answer for client in clients), "there is room for all of it", ENDED_S)
    await asyncio.to_thread(meanwhile)
    assert not all(client.answer for client in clients), "it was over before it was looked at"
    await until(lambda: all(client.answer for client in clients), "some are waited for without end", ENDED_S)
    for client in clients:
        client.transport.abort()
    return Counter(client.answer.partition(b"\r\n")[0] for client in clients)


@pytest.mark.slow
def test_bodies_that_stop_half_way_hold_bounded_memory_and_stop_nobody(own_system: System) -> None:
    events = [{"message": f"normal {number} " + "x" * 200} for number in range(100)]
    for _ in range(20):
        own_system.push(events)
    memory = Memory(own_system)

    def push() -> None:
        for _ in range(50):
            own_system.push(events)

    with memory.watched():
        answers = asyncio.run(stall(own_system, push))
    assert answers == {b"HTTP/1.1 503 Service Unavailable": CLIENTS}
    assert 0 < memory.most_grown <= GROWTH_BYTES
    wait_until(lambda: memory.grown() <= REST_BYTES, "the memory is not given back", REST_S)
    assert own_system.count("normal")["progress"]["rows_matched"] == 70 * len(events)


# ---------------------------------------------------------------------------------------------- keys that are revoked
def key_of(system: System) -> dict[str, str]:
    made = system.ess("keys", "create", "--json", "--tenant", "red", "--scope", "push", "--scope", "search")
    key: dict[str, str] = json.loads(made.stdout)
    return key


def client(system: System, key: dict[str, str]) -> httpx.Client:
    return httpx.Client(base_url=system.url, timeout=30, headers={"Authorization": f"Bearer {key['key']}"})


def events_of(tail: httpx.Response) -> Iterator[tuple[str, dict[str, object]]]:
    """Give the kind and the data of each server-sent event, up to the end of the stream."""
    kind = ""
    for line in tail.iter_lines():
        name, _, value = line.partition(": ")
        if name == "event":
            kind = value
        elif name == "data":
            yield kind, json.loads(value)


def test_what_was_begun_with_a_key_ends_with_it(own_system: System) -> None:
    keys = {name: key_of(own_system) for name in ("gone", "stays")}
    with ExitStack() as held:
        gone, stays = (held.enter_context(client(own_system, key)) for key in keys.values())
        wait_until(lambda: gone.post("/push/v1/events", json=[]).status_code == 202, "the key does not open")
        for _ in range(3):  # more than the connections' buffers hold
            much = [{"message": f"much {number} " + "x" * 950} for number in range(10_000)]
            assert stays.post("/push/v1/events", json=much).status_code == 202
        query_id = gone.post("/search/v1/queries", json={"query": "much", "start": 0, "limit": 1}).json()["id"]
        tails = [held.enter_context(http.stream("GET", "/search/v1/tail")) for http in (gone, stays)]
        export = held.enter_context(gone.stream("GET", f"/search/v1/queries/{query_id}/export"))
        assert [answer.status_code for answer in (*tails, export)] == [200, 200, 200]
        unfinished = held.enter_context(socket.create_connection(("127.0.0.1", own_system.port), timeout=ENDED_S))
        head = "POST /push/v1/events HTTP/1.1\r\nHost: ess\r\nContent-Length: 99\r\n"
        head += f"Authorization: Bearer {keys['gone']['key']}\r\n\r\n["
        unfinished.sendall(head.encode())

        own_system.ess("keys", "revoke", keys["gone"]["id"])
        *_, (kind, told) = events_of(tails[0])
        assert (kind, told["status"], told["reconnect"]) == ("error", 401, False)
        with pytest.raises(httpx.RemoteProtocolError):
            export.read()
        assert unfinished.recv(1000).startswith(b"HTTP/1.1 401 ")
        assert stays.post("/push/v1/events", json=[{"message": "goes on"}]).status_code == 202
        assert any(data.get("message") == "goes on" for _, data in events_of(tails[1]))
