"""One execution environment: a process of AWS's runtime client, and the Runtime API that it asks for its next event."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

import psutil

MAX_PAYLOAD_BYTES: Final = 6_291_556
"""Of a request and of an answer, as AWS counts."""
INIT_TIMEOUT_S: Final = 60.0
"""AWS gives 10 s outside of the function's own limit; machines that run tests may do other things meanwhile."""
LOOK_S: Final = 0.02
"""How often an invocation's memory is looked at: a function that grows faster is caught a little above its limit."""
LOG_TAIL_BYTES: Final = 4 * 1024
"""What AWS gives of an invocation's log."""
STOP_S: Final = 10.0
_API: Final = "/2018-06-01/runtime"


@dataclass(frozen=True)
class Function:
    """What a function is deployed as. `python`: the interpreter, which must have `awslambdaric`."""

    name: str
    handler: str
    task_root: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    memory_mb: int = 1_769
    timeout_s: float = 60.0
    concurrency: int = 10
    """Reserved: beyond, invocations are refused."""
    python: str = sys.executable

    @property
    def arn(self) -> str:
        return f"arn:aws:lambda:us-east-1:000000000000:function:{self.name}"


@dataclass(frozen=True)
class Ended:
    """How an invocation ended: its payload, whether that is an error of the function, and the end of its log."""

    payload: bytes
    failed: bool
    log_tail: bytes


@dataclass
class _Invocation:
    request_id: str
    payload: bytes
    deadline_ms: int
    taken: threading.Event = field(default_factory=threading.Event)
    ended: threading.Event = field(default_factory=threading.Event)
    answer: bytes = b""
    failed: bool = False


class Environment:
    """A running environment. One invocation at a time; after one that left it `broken`, it is of no more use."""

    def __init__(self, function: Function) -> None:
        self._function = function
        self._changed = threading.Condition()
        self._waiting: _Invocation | None = None
        self._running: _Invocation | None = None
        self._init_error: bytes | None = None
        self._ready = threading.Event()
        self.broken = False
        self.idle_since_s = time.monotonic()
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 (closed by `close`)
        self._server = _RuntimeServer(self)
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        self._started_s = time.monotonic()
        self._init_s: float | None = None
        self._process = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        function = self._function
        inherited = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}
        environment = {
            **inherited,
            "AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{self._server.server_address[1]}",
            "AWS_LAMBDA_FUNCTION_NAME": function.name,
            "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(function.memory_mb),
            "AWS_REGION": "us-east-1",
            "AWS_EXECUTION_ENV": "AWS_Lambda_python3.11",
            "LAMBDA_TASK_ROOT": str(function.task_root),
            "PYTHONPATH": str(function.task_root),
            "_HANDLER": function.handler,
            **function.environment,
        }
        command = [function.python, "-m", "awslambdaric", function.handler]
        return subprocess.Popen(
            command,
            env=environment,
            cwd=function.task_root,
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
        )

    @property
    def pid(self) -> int:
        return self._process.pid

    def invoke(self, request_id: str, payload: bytes) -> Ended:
        """Run one invocation to its end, whatever that is."""
        started_at = self._log.seek(0, os.SEEK_END)
        cold = self._init_s is None
        error = self._init() if cold else None
        begun_s = time.monotonic()
        if error is None:
            # Rounded down, as the function rounds its clock: it is never told more than its time.
            deadline_ms = int((time.time() + self._function.timeout_s) * 1000)
            invocation = _Invocation(request_id, payload, deadline_ms)
            with self._changed:
                self._waiting = self._running = invocation
                self._changed.notify_all()
            error = self._watch(invocation, begun_s)
        duration_s = time.monotonic() - begun_s
        self.idle_since_s = time.monotonic()
        if error is not None:
            self.broken = True
            answer, failed = json.dumps(error).encode(), True
        else:
            answer, failed = invocation.answer, invocation.failed
        if len(answer) > MAX_PAYLOAD_BYTES:
            told = f"Response payload size exceeded maximum allowed payload size ({MAX_PAYLOAD_BYTES} bytes)."
            answer, failed = _error("Function.ResponseSizeTooLarge", told), True
        return Ended(answer, failed, self._log_tail(request_id, started_at, duration_s, cold=cold))

    def _init(self) -> dict[str, str] | None:
        """Wait until the runtime client asks for its first event; gives the error that it ended with instead."""
        deadline_s = self._started_s + INIT_TIMEOUT_S
        while not self._ready.wait(LOOK_S):
            if self._init_error is not None:
                return dict(json.loads(self._init_error))
            if self._process.poll() is not None:
                return _said("Runtime.ExitError", f"Runtime exited with error: {_status(self._process.returncode)}")
            if time.monotonic() > deadline_s:
                self._process.kill()
                return _said("Sandbox.Timedout", f"Init timed out after {INIT_TIMEOUT_S:.2f} seconds")
        self._init_s = time.monotonic() - self._started_s
        return None

    def _watch(self, invocation: _Invocation, begun_s: float) -> dict[str, str] | None:
        """Wait for an invocation's answer; gives the error that AWS tells when it ends in another way."""
        request = f"RequestId: {invocation.request_id} Error: "
        while not invocation.ended.wait(LOOK_S):
            if self._process.poll() is not None:
                told = f"{request}Runtime exited with error: {_status(self._process.returncode)}"
                return _said("Runtime.ExitError", told)
            if time.monotonic() - begun_s > self._function.timeout_s:
                self._process.kill()
                told = f"{request}Task timed out after {self._function.timeout_s:.2f} seconds"
                return _said("Sandbox.Timedout", told)
            if self._memory_bytes() > self._function.memory_mb * 1024 * 1024:
                self._process.kill()
                return _said("Runtime.ExitError", f"{request}Runtime exited with error: signal: killed")
        return None

    def _memory_bytes(self) -> int:
        try:
            return int(psutil.Process(self._process.pid).memory_info().rss)
        except psutil.NoSuchProcess:
            return 0  # it has ended, which is seen in a moment

    def _log_tail(self, request_id: str, started_at: int, duration_s: float, *, cold: bool) -> bytes:
        """Give the end of the function's output, and the report that Lambda adds to it."""
        duration_ms = duration_s * 1000
        end = self._log.seek(0, os.SEEK_END)
        told = os.pread(self._log.fileno(), LOG_TAIL_BYTES, max(started_at, end - LOG_TAIL_BYTES))
        init_ms = (self._init_s or 0.0) * 1000 if cold else 0.0
        # The cold start is on the bill, as it is on AWS since August 2025.
        billed_ms = -int(-(duration_ms + init_ms) // 1)
        report = (
            f"END RequestId: {request_id}\nREPORT RequestId: {request_id}\tDuration: {duration_ms:.2f} ms\t"
            f"Billed Duration: {billed_ms} ms\tMemory Size: {self._function.memory_mb} MB\t"
            f"Max Memory Used: {self._memory_bytes() // (1024 * 1024)} MB\t"
        )
        report += f"Init Duration: {init_ms:.2f} ms\t\n" if cold else "\n"
        return (told + report.encode())[-LOG_TAIL_BYTES:]

    def kill(self) -> None:
        """End the process: an invocation that runs ends with it. For any thread; idempotent."""
        self._process.kill()

    def close(self) -> None:
        """End the process and let go of everything, once; not while an invocation runs."""
        self._process.kill()
        self._process.wait(STOP_S)
        with self._changed:
            self.broken = True
            self._changed.notify_all()
        self._server.shutdown()
        self._server.server_close()
        self._log.close()

    # ------------------------------------------------------------------------------------------ for the runtime client
    def next_invocation(self) -> _Invocation | None:
        """Wait for an event, as the runtime client does; None when there will be none."""
        self._ready.set()
        with self._changed:
            while self._waiting is None and not self.broken:
                self._changed.wait()
            invocation, self._waiting = self._waiting, None
            return invocation

    def answer(self, request_id: str, body: bytes, *, failed: bool) -> None:
        running = self._running
        if running is not None and running.request_id == request_id:
            running.answer, running.failed = body, failed
            running.ended.set()

    def init_failed(self, body: bytes) -> None:
        self._init_error = body


def _status(code: int) -> str:
    return f"exit status {code}" if code >= 0 else "signal: killed"


def _said(kind: str, message: str) -> dict[str, str]:
    return {"errorType": kind, "errorMessage": message}


def _error(kind: str, message: str) -> bytes:
    return json.dumps(_said(kind, message)).encode()


class _RuntimeServer(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, environment: Environment) -> None:
        super().__init__(("127.0.0.1", 0), _RuntimeApi)
        self.environment = environment

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A runtime client that was killed while it asked: that is how environments end."""


class _RuntimeApi(BaseHTTPRequestHandler):
    """AWS's Runtime API, as far as its clients use it."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _RuntimeServer

    def log_message(self, format: str, *args: Any) -> None:
        """Stay silent: what the function logs is told."""

    def do_GET(self) -> None:
        invocation = self.server.environment.next_invocation() if self.path == f"{_API}/invocation/next" else None
        if invocation is None:
            self._reply(410, b"")
            return
        told = {
            "Lambda-Runtime-Aws-Request-Id": invocation.request_id,
            "Lambda-Runtime-Deadline-Ms": str(invocation.deadline_ms),
            "Lambda-Runtime-Invoked-Function-Arn": self.server.environment._function.arn,
            "Lambda-Runtime-Trace-Id": "Root=1-00000000-000000000000000000000000",
            "Date": datetime.now(UTC).strftime("%a, %d %b %Y %H:%M:%S GMT"),
        }
        self._reply(200, invocation.payload, told)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        steps = self.path.removeprefix(_API).strip("/").split("/")
        match steps:
            case ["init", "error"]:
                self.server.environment.init_failed(body)
            case ["invocation", request_id, "response" | "error" as kind]:
                self.server.environment.answer(request_id, body, failed=kind == "error")
        with contextlib.suppress(OSError):
            self._reply(202, b'{"status":"OK"}')

    def _reply(self, status: int, body: bytes, headers: Mapping[str, str] | None = None) -> None:
        self.send_response_only(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
