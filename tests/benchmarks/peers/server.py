"""The two sides: servers that take events and questions over HTTP."""

from __future__ import annotations

import subprocess
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import httpx
import orjson
import psutil

from tests.benchmarks.peers.questions import Question
from tests.systems import System, free_port, wait_until

START_TIMEOUT_S: Final = 30.0
ANSWER_TIMEOUT_S: Final = 60.0
WAIT_S: Final = 30
"""The most that a search may keep its client waiting (docs/http.md)."""
NDJSON: Final = {"content-type": "application/x-ndjson"}


class Server(ABC):
    """A running server and its processes. `push_url` takes NDJSON."""

    name: str
    push_url: str

    @abstractmethod
    def processes(self) -> Sequence[psutil.Process]: ...

    @abstractmethod
    def store(self) -> None:
        """Bring everything that was taken to where it stays."""

    @abstractmethod
    def ask(self, question: Question, start: str, end: str) -> int:
        """Ask in one request; gives the rows found, or the events counted."""


class Ours(Server):
    name = "ess_ray"

    def __init__(self, system: System) -> None:
        self._system = system
        self._http = httpx.Client(base_url=system.url, timeout=ANSWER_TIMEOUT_S)
        self.push_url = f"{system.url}/push/v1/events"

    def processes(self) -> Sequence[psutil.Process]:
        return self._system.processes()

    def store(self) -> None:
        self._system.ess("flush")
        self._system.ess("compact")

    def ask(self, question: Question, start: str, end: str) -> int:
        asked: dict[str, Any] = {"start": start, "end": end, "wait": WAIT_S}
        if question.ours is None:
            asked |= {"interval": "1m", "by": ["level"]}
            return sum(bucket["count"] for bucket in self._page("/search/v1/aggregations", asked)["buckets"])
        asked |= {"query": question.ours, "limit": question.limit, "page": question.limit}
        return len(self._page("/search/v1/queries", asked)["events"])

    def _page(self, path: str, asked: dict[str, Any]) -> dict[str, Any]:
        page: dict[str, Any] = self._http.post(path, json=asked).raise_for_status().json()
        if page["state"] != "done" or not page["complete"]:
            raise AssertionError(f"{asked}: {page['state']}, {page['incomplete']}")
        return page


class VictoriaLogs(Server):
    name = "VictoriaLogs"

    def __init__(self, url: str, process: psutil.Process) -> None:
        self._http, self._process = httpx.Client(base_url=url, timeout=ANSWER_TIMEOUT_S), process
        fields = "_time_field=timestamp&_msg_field=message&_stream_fields=service,level"
        self.push_url = f"{url}/insert/jsonline?{fields}"

    def processes(self) -> Sequence[psutil.Process]:
        return [self._process]

    def store(self) -> None:
        self._http.get("/internal/force_flush").raise_for_status()
        self._http.get("/internal/force_merge").raise_for_status()

    def ask(self, question: Question, start: str, end: str) -> int:
        asked = {"query": question.logs_ql, "start": start, "end": end}
        if question.ours is None:
            found = self._http.get("/select/logsql/hits", params={**asked, "step": "1m", "field": "level"})
            return sum(hits["total"] for hits in orjson.loads(found.raise_for_status().content)["hits"])
        found = self._http.get("/select/logsql/query", params={**asked, "limit": question.limit})
        return len(list(map(orjson.loads, found.raise_for_status().content.splitlines())))


@contextmanager
def ours(folder: Path) -> Iterator[Ours]:
    """Run our system as it is when nobody sets anything, until the context ends."""
    system = System(folder / "ours")
    system.up()
    try:
        yield Ours(system)
    finally:
        system.down()


@contextmanager
def victoria_logs(binary: str, folder: Path) -> Iterator[VictoriaLogs]:
    """Run the binary with its defaults until the context ends; events of any time are kept."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    options = [f"-httpListenAddr=127.0.0.1:{port}", f"-storageDataPath={folder / 'victoria'}"]
    command = [binary, *options, "-retentionPeriod=100y", "-loggerLevel=ERROR"]
    with subprocess.Popen(command) as process:
        try:
            wait_until(lambda: _answers(url, process), f"nobody answers at {url}", START_TIMEOUT_S)
            yield VictoriaLogs(url, psutil.Process(process.pid))
        finally:
            process.terminate()


def _answers(url: str, process: subprocess.Popen[bytes]) -> bool:
    assert process.poll() is None, f"the server ended with {process.returncode}"
    try:
        return httpx.get(f"{url}/health").is_success
    except httpx.TransportError:
        return False
