"""All ways in of one node in a process: the listener's sockets and the push application behind HAProxy, over a log in
memory. A real system takes half a minute to start, and this a second; clients cannot tell them apart.
"""

from __future__ import annotations

import asyncio
import subprocess
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from fastapi import Request

from deployments.push import PushApi, create_push_app
from ess_ray.core.tenant import DEFAULT_TENANT
from ess_ray.intake.listening.listening import Listening
from ess_ray.intake.listening.shapes import Meter
from ess_ray.intake.storing import Storing
from ess_ray.limits import ListenAt
from ess_ray.runtime import environment
from ess_ray.runtime.environment import RunDirs, free_ports
from tests.http_server import serving
from tests.listening import Rig
from tests.systems import wait_until

DEADLINE_S = 60.0
PROTOCOLS = ("syslog_udp", "syslog_tcp", "syslog_tls", "gelf_udp", "gelf_tcp", "forward", "otlp_grpc")
T = TypeVar("T")

_HAPROXY = """
defaults
    mode http
    timeout connect 5s
    timeout client 60s
    timeout server 60s
frontend http_frontend
    bind 127.0.0.1:{port}
    acl is_push path_beg /push/
    acl is_push path /push
    acl is_search path_beg /search/
    use_backend push if is_push
    default_backend other
backend push
    http-request set-path %[path,regsub(^/push,)]
    server one {server}
backend other
    http-request return status 404
"""


class Doors:
    """The ways in; `ports` by protocol, with `http` and `elasticsearch`. What is stored is read from any thread."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        """`settings` of the listener: those of `ListenAt` for `syslog_tls`."""
        self.ports = dict(zip((*PROTOCOLS, "http", "elasticsearch"), free_ports(len(PROTOCOLS) + 2), strict=True))
        for protocol in ("syslog", "gelf"):  # one number for both kinds of socket, as usually
            self.ports[f"{protocol}_udp"] = self.ports[f"{protocol}_tcp"]
        self.url = f"http://127.0.0.1:{self.ports['http']}"
        self._folder, self._settings = folder, settings
        self._loop = asyncio.new_event_loop()

    def run(self, doing: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine on the loop of the log."""
        return asyncio.run_coroutine_threadsafe(doing, self._loop).result(DEADLINE_S)

    def rows(self) -> list[dict[str, Any]]:
        """Give every stored event."""
        return self.run(self._rig.rows())

    def found(self, word: str, count: int = 1) -> list[dict[str, Any]]:
        """Wait until so many events are stored whose message holds a word, and give them; fails for more."""

        def enough() -> list[dict[str, Any]] | None:
            rows = [row for row in self.rows() if word in row["message"]]
            return rows if len(rows) >= count else None

        rows: list[dict[str, Any]] = wait_until(
            enough, lambda: f"{word}: {[row['message'] for row in self.rows()]}; {self._listening.status()}"
        )
        assert len(rows) == count, "more than were sent"
        return rows

    @contextmanager
    def opened(self) -> Iterator[Doors]:
        """Open them all, until the end."""
        thread = threading.Thread(target=self._loop.run_forever, name="the listener")
        thread.start()
        try:
            app = self.run(self._open())
            with serving(app) as server, self._haproxy(server.removeprefix("http://")):
                yield self
        finally:
            self.run(self._listening.stop())
            self._loop.call_soon_threadsafe(self._loop.stop)
            thread.join(DEADLINE_S)
            self._loop.close()

    async def _open(self) -> Any:
        self._rig = Rig()

        async def known_request(*_: object) -> None:
            return None

        async def tenant(_: Request | str) -> str:
            return DEFAULT_TENANT

        async def health() -> list[str]:
            return []

        def storing_for(meter: Meter) -> Storing:
            return Storing(self._rig.gatherer, known_request, on_stored=lambda events, _: meter.stored(events))

        around = replace(self._rig.around, storing_for=storing_for, tenant_of=tenant)
        wanted = [
            ListenAt(name, "127.0.0.1", self.ports[name], **(self._settings if name == "syslog_tls" else {}))
            for name in PROTOCOLS
            if name != "syslog_tls" or self._settings
        ]
        self._listening = Listening(wanted, around, lambda: False)
        await self._listening.look()
        states = {told["protocol"]: told["state"] for told in self._listening.status()}
        assert set(states.values()) == {"on"}, self._listening.status()
        return _OnLoop(create_push_app(PushApi(self._rig.gatherer, tenant, health, known_request)), self._loop)

    @contextmanager
    def _haproxy(self, server: str) -> Iterator[None]:
        """Run HAProxy as Ray Serve does, through the wrapper that writes protocols' paths anew."""
        dirs = RunDirs(self._folder)
        environment.prepare(dirs, self.ports["elasticsearch"])
        config = self._folder / "haproxy.cfg"
        config.write_text(_HAPROXY.format(port=self.ports["http"], server=server))
        process = subprocess.Popen([str(dirs.haproxy / "haproxy"), "-db", "-f", str(config)])
        try:
            wait_until(lambda: _listens(self.ports["elasticsearch"]) or process.poll() is not None, "no HAProxy")
            assert process.poll() is None, config.read_text()
            yield
        finally:
            process.kill()
            process.wait()


class _OnLoop:
    """An application whose requests are answered on another event loop: that of its log."""

    def __init__(self, app: Any, loop: asyncio.AbstractEventLoop) -> None:
        self._app, self._loop = app, loop

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        here = asyncio.get_running_loop()

        def on(loop: asyncio.AbstractEventLoop, call: Callable[..., Any]) -> Callable[..., Any]:
            async def passed(*arguments: Any) -> Any:
                return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(call(*arguments), loop))

            return passed

        await on(self._loop, self._app)(scope, on(here, receive), on(here, send))


def _listens(port: int) -> bool:
    return environment.port_problem("127.0.0.1", port) is not None
