"""A running system, driven only as a user would: the `ess` command and HTTP."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import httpx
import psutil

from ess_ray.runtime.environment import RunDirs, free_ports

DEADLINE_S = 90.0


def free_port() -> int:
    return free_ports(1)[0]


class System:
    """One `ess up` in a folder of its own."""

    def __init__(self, data_dir: Path, **settings: str) -> None:
        # What `ess push` remembers of files is this system's as well: it is not to be found in the home of who tests.
        self.environment = {**os.environ, "XDG_STATE_HOME": str(data_dir.parent / "state"), **settings}
        self.data_dir = data_dir
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.http = httpx.Client(base_url=self.url, timeout=30)

    def begin(self, *arguments: str, stdin: IO[bytes] | None = None) -> subprocess.Popen[str]:
        """Begin a command against this system, and leave it running."""
        command = [sys.executable, "-m", "ess_ray.cli", *arguments, "--data-dir", str(self.data_dir)]
        return subprocess.Popen(
            command, stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=self.environment
        )

    def ess(
        self, *arguments: str, stdin: str | None = None, ok: tuple[int, ...] = (0,), timeout_s: float = 330
    ) -> subprocess.CompletedProcess[str]:
        """Run a command against this system; fails the test unless it ends with one of the codes in `ok`."""
        command = [sys.executable, "-m", "ess_ray.cli", *arguments, "--data-dir", str(self.data_dir)]
        done = subprocess.run(
            command, input=stdin, capture_output=True, text=True, timeout=timeout_s, check=False, env=self.environment
        )
        assert done.returncode in ok, f"ess {arguments}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    def up(self) -> None:
        self.ess("up", "--detach", "--port", str(self.port))

    def down(self) -> None:
        self.ess("down")

    def run_file(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.data_dir / "run.json").read_text())
        return found

    def run_dirs(self) -> RunDirs:
        """The folders of this run's sockets and secrets."""
        return RunDirs(Path(self.run_file()["run_dir"]))

    def processes(self) -> list[psutil.Process]:
        """Every process of this system's session."""
        session = self.run_file()["session_id"]
        found = []
        if not (self.data_dir / "run.json").exists():
            return []
        for process in psutil.process_iter():
            try:
                if os.getsid(process.pid) == session and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
            except (ProcessLookupError, psutil.NoSuchProcess):
                continue
        return found

    def kill_everything(self) -> None:
        """kill -9 every process, all at once."""
        processes = self.processes()
        assert processes, "nothing runs that could be killed"
        for process in processes:
            try:
                process.send_signal(signal.SIGKILL)
            except psutil.NoSuchProcess:
                continue

    def push(self, events: list[dict[str, Any]], **headers: str) -> None:
        """Push events; all must be acknowledged."""
        answer = self.http.post("/push/v1/events", json=events, headers=headers)
        assert answer.status_code == 202, answer.text
        told = answer.json()
        told.pop("repeats", None)  # of a request with a key: how many were there already
        assert told == {"accepted": len(events), "rejected": [], "adjusted": []}

    def search(self, query: str, **arguments: Any) -> list[dict[str, Any]]:
        """Run a query to its end; the answer must call itself complete."""
        events, page = self.try_search(query, **arguments)
        assert page["state"] == "done", page
        assert page["complete"], page["incomplete"]
        return events

    def try_search(self, query: str, **arguments: Any) -> tuple[list[dict[str, Any]], dict[str, Any]]:
        """Run a query to its end; gives its events and its last page."""
        body = {"query": query, "start": 0, "limit": 200_000, **arguments}
        created = self.http.post("/search/v1/queries", json=body)
        assert created.status_code == 201, created.text
        query_id, cursor, events = created.json()["id"], "", []
        deadline = time.monotonic() + DEADLINE_S
        while True:
            page = self.http.get(f"/search/v1/queries/{query_id}", params={"cursor": cursor, "limit": 10_000}).json()
            events += page["events"]
            cursor = page["cursor"]
            if page["state"] != "running" and not page["events"]:
                return events, page
            assert time.monotonic() < deadline, page

    def count(self, query: str = "", **arguments: Any) -> dict[str, Any]:
        """Run an aggregation to its end and give its last page; the answer must call itself complete."""
        created = self.http.post("/search/v1/aggregations", json={"query": query, "start": 0, **arguments})
        assert created.status_code == 201, created.text
        path = f"/search/v1/aggregations/{created.json()['id']}"
        page = wait_until(
            lambda: page if (page := self.http.get(path).json())["state"] != "running" else None, "it did not end"
        )
        assert (page["state"], page["complete"]) == ("done", True), page
        found: dict[str, Any] = page
        return found


@contextmanager
def running(data_dir: Path, **settings: str) -> Iterator[System]:
    """Give a system that is up; it is taken down at the end."""
    made = System(data_dir, **settings)
    made.up()
    try:
        yield made
    finally:
        made.down()
        made.http.close()


class Reader:
    """Searches over and over. `acknowledged` grows elsewhere: what it held before a search must be in the answer."""

    def __init__(self, system: System, query: str = "service:polled") -> None:
        self.system, self.query = system, query
        self.acknowledged: list[str] = []
        self.complete = self.incomplete = 0
        self.wrong: list[Any] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Reader:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.is_set():
            due = set(self.acknowledged)
            try:
                events, page = self.system.try_search(self.query)
            except (httpx.HTTPError, AssertionError, KeyError) as error:
                self.wrong.append(error)
                return
            found = Counter(event["message"] for event in events)
            self.wrong += [("doubled", name) for name, times in found.items() if times > 1]
            if page["complete"]:
                self.complete += 1
                self.wrong += [("gap", sorted(due - found.keys())[:5])] if due - found.keys() else []
            else:
                self.incomplete += 1
                assert page["incomplete"]


class Watcher:
    """A tail over HTTP, read in a thread; the last id that it saw is where another goes on."""

    def __init__(self, system: System, query: str, cursor: str | None = None) -> None:
        self.messages: list[str] = []
        self.progress: list[dict[str, Any]] = []
        self._waiting: list[str] = []
        self.last_id = cursor
        headers = {} if cursor is None else {"Last-Event-ID": cursor}
        self._http = httpx.Client(base_url=system.url, timeout=DEADLINE_S, headers=headers)
        self._query, self._stop = query, threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Watcher:
        self._thread.start()
        wait_until(lambda: self.progress, "the tail did not begin")
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(DEADLINE_S)
        self._http.close()

    def _run(self) -> None:
        with self._http.stream("GET", "/search/v1/tail", params={"query": self._query}) as answer:
            assert answer.status_code == 200
            fields: dict[str, str] = {}
            for line in answer.iter_lines():
                if line:
                    name, _, fields[name] = line.partition(": ")
                    continue
                self._take(fields)
                fields = {}
                if self._stop.is_set():
                    return

    def _take(self, fields: dict[str, str]) -> None:
        data = json.loads(fields["data"])
        if fields["event"] == "event":
            self._waiting.append(data["message"])
        else:
            self.progress.append(data)
        if "id" in fields:  # rows whose id has not come are shown again to who comes back
            self.last_id = fields["id"]
            self.messages += self._waiting
            self._waiting = []


def title(process: psutil.Process) -> str:
    """What a process calls itself; nothing of one that ended a moment ago, as Ray's spare workers do at any time."""
    try:
        return " ".join(process.cmdline())
    except psutil.NoSuchProcess:
        return ""


def titled(system: System, text: str) -> list[psutil.Process]:
    return [process for process in system.processes() if text in title(process)]


def persist_actors(system: System) -> list[psutil.Process]:
    return titled(system, "PersistActor")


def is_alive(process: psutil.Process) -> bool:
    """Tell whether it runs still: neither gone nor a zombie."""
    try:
        return process.is_running() and bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False  # it ended between the two looks


def wait_until(condition: Callable[[], Any], what: str | Callable[[], str], deadline_s: float = DEADLINE_S) -> Any:
    """Ask until the condition holds, and give what it gave; fails with `what`, which may be found out only then."""
    deadline = time.monotonic() + deadline_s
    while not (found := condition()):
        assert time.monotonic() < deadline, what if isinstance(what, str) else what()
        time.sleep(0.05)
    return found
