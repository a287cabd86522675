"""The Invoke API over functions: warm environments, concurrency, refusals, as AWS answers them."""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final
from urllib.parse import unquote, urlsplit
from uuid import uuid4

from lambda_compat.local.environment import MAX_PAYLOAD_BYTES, Ended, Environment, Function

IDLE_S: Final = 300.0
"""A warm environment that nobody used for so long is ended, as AWS does after some minutes."""
CLOSE_POLL_S: Final = 0.01
_PREFIX: Final = "/2015-03-31/functions/"


class Refused(Exception):
    """An invocation that Lambda does not take: the status, and AWS's name for it."""

    def __init__(self, status: int, kind: str, message: str, **more: str) -> None:
        super().__init__(message)
        self.status, self.kind = status, kind
        self.body = {**more, "Type": "User", "message": message, "Message": message}


class Deployed:
    """A function and its environments. For many threads."""

    def __init__(self, function: Function) -> None:
        self.function = function
        self._lock = threading.Lock()
        self._warm: list[Environment] = []
        self._running: set[Environment] = set()
        self._busy = 0
        self.most_busy = self.cold_starts = self.throttled = 0

    def invoke(self, payload: bytes) -> Ended:
        """Run one invocation in a warm environment, or in a new one. Raises Refused."""
        function = self.function
        self._check(payload)
        with self._lock:
            if self._busy >= function.concurrency:
                self.throttled += 1
                reason = "ReservedFunctionConcurrentInvocationLimitExceeded"
                raise Refused(429, "TooManyRequestsException", "Rate Exceeded.", Reason=reason)
            self._busy += 1
            self.most_busy = max(self.most_busy, self._busy)
            old = [each for each in self._warm if time.monotonic() - each.idle_since_s > IDLE_S]
            self._warm = [each for each in self._warm if each not in old]
            environment = self._warm.pop() if self._warm else None
            self.cold_starts += environment is None
        for each in old:
            each.close()
        try:
            return self._run(environment, payload)
        finally:
            with self._lock:
                self._busy -= 1

    def _run(self, environment: Environment | None, payload: bytes) -> Ended:
        if environment is None:
            environment = Environment(self.function)
        with self._lock:
            self._running.add(environment)
        try:
            return environment.invoke(str(uuid4()), payload)
        finally:
            with self._lock:
                self._running.discard(environment)
                if not environment.broken:
                    self._warm.append(environment)
            if environment.broken:
                environment.close()

    def _check(self, payload: bytes) -> None:
        if len(payload) > MAX_PAYLOAD_BYTES:
            raise Refused(
                413,
                "RequestTooLargeException",
                f"{len(payload)} byte payload is too large for the RequestResponse invocation type "
                f"(limit {MAX_PAYLOAD_BYTES} bytes)",
            )
        try:
            json.loads(payload or b"{}")
        except ValueError as error:
            told = f"Could not parse request body into json: {error}"
            raise Refused(400, "InvalidRequestContentException", told) from None

    def close(self) -> None:
        """End all environments, and with them what runs in them. Idempotent."""
        while self._kill_running():
            time.sleep(CLOSE_POLL_S)
        with self._lock:
            environments, self._warm = self._warm, []
        for environment in environments:
            environment.close()

    def _kill_running(self) -> bool:
        """Tell whether anything runs, after ending it: the thread that waits for it then closes its environment."""
        with self._lock:
            for environment in self._running:
                environment.kill()
            return self._busy > 0


class LambdaService:
    """A running service, at `endpoint`."""

    def __init__(self, functions: Iterable[Function], port: int = 0) -> None:
        self.functions = {function.name: Deployed(function) for function in functions}
        self._server = _Server(self, port)
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def find(self, name: str) -> Deployed:
        """Find a function by name or ARN. Raises Refused."""
        plain = name.rpartition(":function:")[2].partition(":")[0]
        if plain not in self.functions:
            arn = f"arn:aws:lambda:us-east-1:000000000000:function:{plain}"
            raise Refused(404, "ResourceNotFoundException", f"Function not found: {arn}")
        return self.functions[plain]

    def close(self) -> None:
        """Stop listening and end all environments."""
        self._server.shutdown()
        self._server.server_close()
        for deployed in self.functions.values():
            deployed.close()


@contextmanager
def local_lambda(*functions: Function, port: int = 0) -> Iterator[LambdaService]:
    """Run a service until the context ends."""
    service = LambdaService(functions, port)
    try:
        yield service
    finally:
        service.close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 1024

    def __init__(self, service: LambdaService, port: int) -> None:
        super().__init__(("127.0.0.1", port), _InvokeApi)
        self.service = service

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away does not want to know."""


class _InvokeApi(BaseHTTPRequestHandler):
    """AWS's REST Invoke."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def log_message(self, format: str, *args: Any) -> None:
        """Stay silent: answers tell."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        path = urlsplit(self.path).path
        try:
            if not (path.startswith(_PREFIX) and path.endswith("/invocations")):
                raise Refused(404, "ResourceNotFoundException", f"only Invoke is spoken here, not {path}")
            self._invoke(unquote(path.removeprefix(_PREFIX).removesuffix("/invocations")), body)
        except Refused as refused:
            body = json.dumps(refused.body).encode()
            self._reply(refused.status, body, {"x-amzn-ErrorType": refused.kind, "Content-Type": "application/json"})

    def _invoke(self, name: str, payload: bytes) -> None:
        deployed = self.server.service.find(name)
        match self.headers.get("X-Amz-Invocation-Type", "RequestResponse"):
            case "DryRun":
                self._reply(204, b"", {})
            case "RequestResponse":
                ended = deployed.invoke(payload)
                headers = {"X-Amz-Executed-Version": "$LATEST", "Content-Type": "application/json"}
                if ended.failed:
                    headers["X-Amz-Function-Error"] = "Unhandled"
                if self.headers.get("X-Amz-Log-Type") == "Tail":
                    headers["X-Amz-Log-Result"] = base64.b64encode(ended.log_tail).decode()
                self._reply(200, ended.payload, headers)
            case other:
                raise Refused(400, "InvalidParameterValueException", f"invocation type {other} is not spoken here")

    def _reply(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response_only(status)
        for name, value in {**headers, "x-amzn-RequestId": str(uuid4())}.items():
            self.send_header(name, value)
        if status != 204:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
