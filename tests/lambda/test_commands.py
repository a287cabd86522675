"""`ess lambda`: it becomes the program that it names, with its options and its signals."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import boto3
import orjson
import psutil

from ess_ray.core.query import Query
from ess_ray.ports import ScanTask
from ess_ray.search.wire import encode_task
from tests.lambda_rigs import need_runtime_client
from tests.systems import free_port

ESS = [sys.executable, "-m", "ess_ray.cli", "lambda"]
STOP_S = 60.0


def test_options_are_those_of_the_program() -> None:
    told = subprocess.run([*ESS, "package", "--help"], check=True, capture_output=True, text=True).stdout
    assert "lambda package" in told
    assert "--output" in told
    assert subprocess.run([*ESS, "package"], check=False, capture_output=True).returncode == 2


def test_a_service_runs_the_function_until_it_is_told_to_end(tmp_path: Path) -> None:
    need_runtime_client()
    url = tmp_path.as_uri()
    command = [*ESS, "serve", "--table-url", f"{url}/events", "--answers-url", f"{url}/answers", "--port"]
    with subprocess.Popen([*command, str(free_port())], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            told = dict(pair.split("=", 1) for pair in process.stdout.readline().split())
            client = boto3.client(
                "lambda",
                endpoint_url=told["ESS_LAMBDA__ENDPOINT"],
                region_name="us-east-1",
                aws_access_key_id="made-up",
                aws_secret_access_key="made-up",
            )
            payload = orjson.dumps(encode_task(ScanTask("default", Query(), ())))
            answer = client.invoke(FunctionName=told["ESS_LAMBDA__FUNCTION"], Payload=payload)
            assert orjson.loads(answer["Payload"].read())["rows_matched"] == 0
            client.close()
            environments = psutil.Process(process.pid).children()
            assert len(environments) == 1
        finally:
            process.send_signal(signal.SIGTERM)
        assert process.wait(STOP_S) == 0
    assert not environments[0].is_running()
