"""The local Lambda service through boto3's real client: many at a time, cold starts, and every refusal as AWS's."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from ess_ray.adapters.lambda_function import FunctionLocation
from lambda_compat.local.environment import MAX_PAYLOAD_BYTES, Function
from lambda_compat.local.service import LambdaService, local_lambda
from tests.servers import or_skip

HANDLER = """
import os, threading, time
BARRIER = None
def handler(event, context):
    kind = event.get("kind")
    print("said", kind)
    if kind == "meet":
        # Ends only when another invocation runs at the same time.
        mine = event["folder"] + "/" + event["who"]
        open(mine, "w").close()
        while len(os.listdir(event["folder"])) < event["count"]:
            time.sleep(0.01)
    if kind == "exit":
        os._exit(3)
    if kind == "raise":
        raise ValueError("no good")
    if kind == "hang":
        time.sleep(3600)
    if kind == "grow":
        hold = [b"x" * (64 << 20) + os.urandom(1) for _ in range(20)]
        time.sleep(3600)
    if kind == "large":
        return "x" * event["bytes"]
    return {"pid": os.getpid(), "left_ms": context.get_remaining_time_in_millis(), "memory": context.memory_limit_in_mb}
"""


class Client:
    def __init__(self, service: LambdaService) -> None:
        location = FunctionLocation(
            "echo", "us-east-1", endpoint=service.endpoint, access_key="made-up", secret_key="made-up"
        )
        self._client = location.client(16)

    def invoke(self, name: str = "echo", **event: Any) -> Any:
        answer = self._client.invoke(FunctionName=name, LogType="Tail", Payload=json.dumps(event).encode())
        return answer, json.loads(answer["Payload"].read())

    def refusal(self, name: str = "echo", payload: bytes = b"{}") -> tuple[int, str]:
        with pytest.raises(ClientError) as caught:
            self._client.invoke(FunctionName=name, Payload=payload)
        return caught.value.response["ResponseMetadata"]["HTTPStatusCode"], caught.value.response["Error"]["Code"]

    def close(self) -> None:
        self._client.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "echo.py").write_text(HANDLER)
    (tmp_path / "broken.py").write_text("import no_such_module\n")
    return tmp_path


@pytest.fixture
def service(folder: Path) -> Iterator[LambdaService]:
    try:
        import awslambdaric  # noqa: F401
    except ImportError:
        or_skip("awslambdaric is not installed: pip install awslambdaric")
    functions = (
        Function("echo", "echo.handler", folder, memory_mb=512, concurrency=3),
        Function("brief", "echo.handler", folder, memory_mb=512, timeout_s=0.3),
        Function("small", "echo.handler", folder, memory_mb=200),
        Function("broken", "broken.handler", folder),
        Function("lost", "echo.no_such_handler", folder),
    )
    with local_lambda(*functions) as running:
        yield running


@pytest.fixture
def client(service: LambdaService) -> Iterator[Client]:
    made = Client(service)
    yield made
    made.close()


def test_a_warm_environment_is_used_again_and_the_bill_tells_the_cold_start(client: Client) -> None:
    answer, first = client.invoke()
    assert answer["StatusCode"] == 200
    assert "FunctionError" not in answer
    assert first["memory"] in (512, "512")
    assert 0 < first["left_ms"] <= 60_000
    cold = base64.b64decode(answer["LogResult"]).decode()
    assert "said None" in cold
    assert "Init Duration" in cold
    answer, second = client.invoke(kind="again")
    assert second["pid"] == first["pid"]
    warm = base64.b64decode(answer["LogResult"]).decode()
    assert "said again" in warm
    assert "said None" not in warm
    assert "Init Duration" not in warm


def test_many_run_at_a_time_and_one_too_many_is_throttled(
    client: Client, service: LambdaService, tmp_path: Path
) -> None:
    meeting = tmp_path / "meeting"
    meeting.mkdir()
    with ThreadPoolExecutor(3) as pool:
        told = [
            pool.submit(client.invoke, kind="meet", folder=str(meeting), who=str(number), count=4)
            for number in range(3)
        ]
        waited = threading.Event()
        while len(list(meeting.iterdir())) < 3 and not waited.wait(0.02):
            assert not any(each.done() for each in told)
        assert client.refusal() == (429, "TooManyRequestsException")
        (meeting / "the test").touch()
        assert len({each.result()[1]["pid"] for each in told}) == 3
    assert service.functions["echo"].most_busy == 3
    assert client.invoke(kind="after")[1]["pid"] in {each.result()[1]["pid"] for each in told}


def test_an_exception_of_the_function_leaves_its_environment(client: Client) -> None:
    _, before = client.invoke()
    answer, told = client.invoke(kind="raise")
    assert answer["FunctionError"] == "Unhandled"
    assert (told["errorType"], told["errorMessage"]) == ("ValueError", "no good")
    assert client.invoke()[1]["pid"] == before["pid"]


@pytest.mark.parametrize(
    ("name", "kind", "error_type", "message"),
    [
        ("echo", "exit", "Runtime.ExitError", "exit status 3"),
        ("brief", "hang", "Sandbox.Timedout", "Task timed out after 0.30 seconds"),
        ("small", "grow", "Runtime.ExitError", "signal: killed"),
        ("broken", "", "Runtime.ImportModuleError", "no_such_module"),
        ("lost", "", "Runtime.HandlerNotFound", "no_such_handler"),
    ],
)
def test_what_ends_an_environment(client: Client, name: str, kind: str, error_type: str, message: str) -> None:
    answer, told = client.invoke(name, kind=kind)
    assert answer["FunctionError"] == "Unhandled"
    assert told["errorType"] == error_type
    assert message in told["errorMessage"]
    if name in ("echo", "brief", "small"):
        assert client.invoke(name)[1]["pid"] > 0


def test_payloads_have_limits(client: Client) -> None:
    assert client.refusal(payload=b'"' + b"x" * MAX_PAYLOAD_BYTES + b'"') == (413, "RequestTooLargeException")
    assert client.refusal(payload=b"no json") == (400, "InvalidRequestContentException")
    most = MAX_PAYLOAD_BYTES - 2  # its quotes
    assert client.invoke(kind="large", bytes=most)[1] == "x" * most
    answer, told = client.invoke(kind="large", bytes=most + 1)
    assert answer["FunctionError"] == "Unhandled"
    assert told["errorType"] == "Function.ResponseSizeTooLarge"


def test_a_function_that_is_not_there_is_not_found(client: Client) -> None:
    assert client.refusal("nobody") == (404, "ResourceNotFoundException")


def test_no_process_is_left(service: LambdaService, client: Client) -> None:
    import psutil

    pid = client.invoke()[1]["pid"]
    service.functions["echo"].close()
    assert not psutil.pid_exists(pid)
