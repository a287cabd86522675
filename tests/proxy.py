"""An HTTP proxy on loopback, for tests: counts every request, and makes the network behind it slow or broken on order.

It hands on everything as it came (the Host header too, which S3 signs), so a client is pointed at `proxy.endpoint`
instead of the server.
"""

from __future__ import annotations

import http.client
import random
import socket
import struct
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing import get_context
from multiprocessing.managers import BaseManager
from typing import Any, Final, Literal
from urllib.parse import unquote

Fault = Literal["503", "403", "reset", "cut", "end", "drop", "short"]
"""503, 403: refused without forwarding. reset: the connection breaks before forwarding. cut: after half of the answer's
body. end: it is closed there in order, so that what was sent arrives. drop: forwarded, and the connection breaks
instead of an answer. short: half of the body, told to be all of it."""

UPSTREAM_TIMEOUT_S: Final = 60.0
HOLD_TIMEOUT_S: Final = 60.0
"""Until an answer that is held back is broken off: the test that forgot it fails."""
_HOP_BY_HOP: Final = frozenset({"connection", "keep-alive", "transfer-encoding", "expect"})


@dataclass(frozen=True)
class Seen:
    """One request: method, decoded path with query, the Range header ("" without), and the fault it met."""

    method: str
    path: str
    range: str
    fault: Fault | None = None


@dataclass
class _Order:
    fault: Fault
    times: int
    method: str
    containing: str


class _Engine:
    """The proxy inside its process: what it saw, and what it shall do. For many threads."""

    def __init__(self, upstream_port: int) -> None:
        self._lock = threading.Lock()
        self._seen: list[Seen] = []
        self._orders: list[_Order] = []
        self._latency: tuple[random.Random, float, float] | None = None
        self._hold_after: int | None = None
        self._released, self._ended = threading.Event(), threading.Event()
        self._left = 0
        self._server = _Server(upstream_port, self)
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def port(self) -> int:
        return int(self._server.server_address[1])

    def seen(self) -> list[Seen]:
        with self._lock:
            return list(self._seen)

    def forget(self) -> None:
        with self._lock:
            self._seen, self._orders = [], []

    def order(self, order: _Order) -> None:
        with self._lock:
            self._orders.append(order)

    def delay(self, least_s: float, most_s: float, seed: int) -> None:
        with self._lock:
            self._latency = (random.Random(seed), least_s, most_s)

    def hold(self, after_bytes: int) -> None:
        with self._lock:
            self._hold_after = after_bytes
            self._released.clear()

    def release(self) -> None:
        self._released.set()

    def held_from(self, length: int) -> int | None:
        """Tell from which byte on an answer is held back, the first that is long enough."""
        with self._lock:
            after = self._hold_after
            if after is None or length <= after:
                return None
            self._hold_after = None
            return after

    def wait_for_release(self) -> None:
        if not self._released.wait(HOLD_TIMEOUT_S):
            raise TimeoutError("nobody released an answer that was held back")

    def leave(self) -> None:
        with self._lock:
            self._left += 1

    def left(self) -> int:
        with self._lock:
            return self._left

    def meet(self, method: str, path: str, range_: str) -> Fault | None:
        """Count a request and let it wait; gives the fault it meets."""
        with self._lock:
            fault: Fault | None = None
            for order in self._orders:
                if order.times and order.method in ("", method) and order.containing in path:
                    order.times -= 1
                    fault = order.fault
                    break
            self._seen.append(Seen(method, path, range_, fault))
            delay_s = self._latency[0].uniform(*self._latency[1:]) if self._latency else 0.0
        if delay_s:
            self._ended.wait(delay_s)
        return fault

    def end(self) -> None:
        self._ended.set()
        self._released.set()
        self._server.shutdown()
        self._server.server_close()


class _Manager(BaseManager):
    """Runs an engine in a process of its own: a client that holds the GIL while it waits would wait for ever."""


_EXPOSED: Final = ("port", "seen", "forget", "order", "delay", "hold", "release", "left", "end")
_Manager.register("Engine", _Engine, exposed=_EXPOSED)


class Proxy:
    """A running proxy, as tests see it. For many threads."""

    def __init__(self, engine: Any) -> None:
        self._engine = engine
        self.port: int = engine.port()

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def requests(self, *methods: str, containing: str = "") -> list[Seen]:
        """List the requests seen since the last `forget`, in order of arrival."""
        found: list[Seen] = self._engine.seen()
        return [seen for seen in found if (not methods or seen.method in methods) and containing in seen.path]

    def forget(self) -> None:
        """Start counting anew; faults not met yet are forgotten too."""
        self._engine.forget()

    def order(self, fault: Fault, times: int = 1, method: str = "", containing: str = "") -> None:
        """Let the next `times` requests of a method whose path contains something meet a fault."""
        self._engine.order(_Order(fault, times, method, containing))

    def delay(self, least_ms: float, most_ms: float, seed: int = 1) -> None:
        """Delay every request from now on by a random time in between."""
        self._engine.delay(least_ms / 1000, most_ms / 1000, seed)

    def hold(self, after_bytes: int) -> None:
        """Send the next answer with a longer body up to there, and the rest when `release` is called."""
        self._engine.hold(after_bytes)

    def release(self) -> None:
        """Let an answer that is held back go on."""
        self._engine.release()

    def left(self) -> int:
        """Tell how many answers the client did not wait for the end of."""
        count: int = self._engine.left()
        return count


@contextmanager
def http_proxy(upstream_port: int) -> Iterator[Proxy]:
    """Run a proxy in front of a loopback port, in a process of its own, until the context ends."""
    with _Manager(ctx=get_context("spawn")) as manager:
        engine = manager.Engine(upstream_port)  # type: ignore[attr-defined]
        try:
            yield Proxy(engine)
        finally:
            engine.end()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128
    block_on_close = False  # clients keep idle connections open, for which closing would wait

    def __init__(self, upstream_port: int, engine: _Engine) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.upstream_port, self.engine = upstream_port, engine

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away in the middle is what some tests are about."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def setup(self) -> None:
        super().setup()
        self._upstream = http.client.HTTPConnection("127.0.0.1", self.server.upstream_port, timeout=UPSTREAM_TIMEOUT_S)

    def finish(self) -> None:
        self._upstream.close()
        super().finish()

    def log_message(self, format: str, *args: Any) -> None:
        """Stay silent: what was seen is asked for."""

    def do_GET(self) -> None:
        body = self._body()
        fault = self.server.engine.meet(self.command, unquote(self.path), self.headers.get("Range", ""))
        if fault in ("503", "403"):
            self._answer(int(fault), [("Content-Type", "text/plain")], b"a fault that was ordered")
            return
        if fault == "reset":
            self._break()
            return
        status, headers, answer = self._forward(body)
        if fault == "drop":
            self._break()
        elif fault == "short":
            self._answer(status, headers, answer[: len(answer) // 2])
        elif fault == "cut":
            self._answer(status, headers, answer, len(answer) // 2)
            self._break()
        elif fault == "end":
            self._answer(status, headers, answer, len(answer) // 2)
            self.close_connection = True
        else:
            self._answer(status, headers, answer)

    do_PUT = do_POST = do_DELETE = do_HEAD = do_GET

    def _body(self) -> bytes:
        if "chunked" in self.headers.get("Transfer-Encoding", ""):
            parts: list[bytes] = []
            while size := int(self.rfile.readline().split(b";")[0], 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            while self.rfile.readline().strip():
                pass  # trailers
            return b"".join(parts)
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def _forward(self, body: bytes) -> tuple[int, Sequence[tuple[str, str]], bytes]:
        self._upstream.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
        for name, value in self.headers.items():
            if name.lower() not in _HOP_BY_HOP and name.lower() != "content-length":
                self._upstream.putheader(name, value)
        if body or self.command in ("PUT", "POST"):
            self._upstream.putheader("Content-Length", str(len(body)))
        self._upstream.endheaders(body or None)
        answer = self._upstream.getresponse()
        return answer.status, answer.getheaders(), answer.read()

    def _answer(self, status: int, headers: Sequence[tuple[str, str]], body: bytes, send: int | None = None) -> None:
        self.send_response_only(status)
        # The answer to a HEAD tells a length without having it.
        told = {name.lower(): value for name, value in headers}.get("content-length")
        length = told if self.command == "HEAD" and told is not None else str(len(body))
        for name, value in headers:
            if name.lower() not in _HOP_BY_HOP and name.lower() != "content-length":
                self.send_header(name, value)
        if status != 204:
            self.send_header("Content-Length", length)
        self.end_headers()
        held_from = self.server.engine.held_from(len(body))
        try:
            self.wfile.write(body[: send if held_from is None else held_from])
            if held_from is not None:
                self.server.engine.wait_for_release()
                self.wfile.write(body[held_from:send])
        except ConnectionError:
            self.server.engine.leave()
            raise

    def _break(self) -> None:
        """Send a reset instead of a proper end."""
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.shutdown(socket.SHUT_RD)
        self.connection.close()
