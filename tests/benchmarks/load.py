"""A load generator for one URL: keep-alive connections, one request in flight on each, latencies and its own CPU time.

A raw asyncio protocol, since HTTP client libraries would take more CPU than the server that is measured.
"""

from __future__ import annotations

import asyncio
import re
import resource
import statistics
import time
from collections import Counter
from dataclasses import dataclass, field
from itertools import cycle
from urllib.parse import urlsplit

_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)


@dataclass
class Load:
    """What a run did: requests by status, latencies in seconds, wall seconds, the generator's own CPU seconds."""

    statuses: Counter[int] = field(default_factory=Counter)
    latencies_s: list[float] = field(default_factory=list)
    wall_s: float = 0.0
    cpu_s: float = 0.0

    @property
    def p50_ms(self) -> float:
        return statistics.median(self.latencies_s) * 1000

    @property
    def requests_per_s(self) -> float:
        return self.statuses[202] / self.wall_s


class _Connection(asyncio.Protocol):
    def __init__(self, bodies: list[bytes], head: bytes, load: Load, stop: asyncio.Event) -> None:
        self._requests = cycle([head + b"Content-Length: %d\r\n\r\n" % len(b) + b for b in bodies])
        self._load, self._stop = load, stop
        self._buffer = b""
        self.ended = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._send()

    def _send(self) -> None:
        self._sent_s = time.perf_counter()
        self._transport.write(next(self._requests))

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, separator, rest = self._buffer.partition(b"\r\n\r\n")
        length = _LENGTH.search(head)
        if not separator or length is None or len(rest) < int(length[1]):
            return
        self._buffer = b""
        self._load.latencies_s.append(time.perf_counter() - self._sent_s)
        self._load.statuses[int(head[9:12])] += 1
        if self._stop.is_set():
            self._transport.close()
        else:
            self._send()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.ended.done():
            self.ended.set_result(None)


async def run_load(
    url: str, bodies: list[bytes], connections: int, seconds: float, media_type: str = "application/json"
) -> Load:
    """Post `bodies` in turn over so many connections for so long."""
    parts = urlsplit(url)
    target = f"{parts.path}?{parts.query}" if parts.query else parts.path
    head = f"POST {target} HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Type: {media_type}\r\n".encode()
    load, stop = Load(), asyncio.Event()
    loop = asyncio.get_running_loop()
    made = []
    cpu_s, started_s = _cpu_s(), time.perf_counter()
    for _ in range(connections):
        _, protocol = await loop.create_connection(
            lambda: _Connection(bodies, head, load, stop), parts.hostname, parts.port
        )
        made.append(protocol)
    await asyncio.sleep(seconds)
    stop.set()
    await asyncio.wait([protocol.ended for protocol in made], timeout=10)
    load.wall_s, load.cpu_s = time.perf_counter() - started_s, _cpu_s() - cpu_s
    return load


def _cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime
