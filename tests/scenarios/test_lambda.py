"""A running system whose searches may run in a Lambda function: the local Lambda service over its bucket."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ess_ray.adapters.s3_bucket import make_bucket
from ess_ray.adapters.s3_location import S3Location
from lambda_compat.local.environment import Function
from lambda_compat.local.service import Deployed, local_lambda
from tests.lambda_rigs import need_runtime_client
from tests.servers import ADMIN, S3Server
from tests.systems import System, running

ROOT = Path(__file__).parents[2]
QUERIES = ("service:shop", "turn", '"turn 1 event 7"', r"/event \d*5\b/", "NOT kept", "service:nobody")


@pytest.fixture(scope="module")
def bucket(s3: S3Server) -> S3Location:
    location = S3Location(
        f"lambda-{uuid.uuid4().hex[:8]}",
        "a/prefix",
        s3.endpoint,
        region="us-east-1",
        access_key=ADMIN.access_key,
        secret_key=ADMIN.secret_key,
    )
    make_bucket(location)
    return location


@pytest.fixture(scope="module")
def deployed(bucket: S3Location) -> Iterator[tuple[str, Deployed]]:
    """The function, with what it is given on AWS by its template and its role; and where its service listens."""
    need_runtime_client()
    environment = {
        "TABLE_URL": f"{bucket.url}/events",
        "ANSWERS_URL": f"{bucket.url}/lambda-answers",
        "AWS_ENDPOINT_URL_S3": str(bucket.endpoint),
        "AWS_ACCESS_KEY_ID": ADMIN.access_key,
        "AWS_SECRET_ACCESS_KEY": ADMIN.secret_key,
    }
    function = Function("scan", "lambda_compat.handler.handler", ROOT, environment, concurrency=2)
    with local_lambda(function) as service:
        yield service.endpoint, service.functions["scan"]


@pytest.fixture(scope="module")
def system(
    tmp_path_factory: pytest.TempPathFactory, bucket: S3Location, deployed: tuple[str, Deployed]
) -> Iterator[System]:
    with running(
        tmp_path_factory.mktemp("ess") / "data",
        ESS_STORE__BUCKET=bucket.bucket,
        ESS_STORE__PREFIX=bucket.prefix,
        ESS_STORE__ENDPOINT=str(bucket.endpoint),
        ESS_STORE__ACCESS_KEY=ADMIN.access_key,
        ESS_STORE__SECRET_KEY=ADMIN.secret_key,
        ESS_SEARCH__IN_PLACE_BYTES="0",  # so that what is small goes to executors
        ESS_PERSIST__SEAL_AGE_S="3600",
        ESS_LAMBDA__FUNCTION="scan",
        ESS_LAMBDA__ENDPOINT=deployed[0],
        ESS_LAMBDA__ACCESS_KEY="made-up",
        ESS_LAMBDA__SECRET_KEY="made-up",
        ESS_LAMBDA__MAX_CONCURRENCY="4",
    ) as made:
        for turn in range(3):
            made.push([{"message": f"turn {turn} event {n}", "service": "shop"} for n in range(40)])
            made.ess("flush")
        made.push([{"message": f"turn 3 event {n}", "service": "shop", "kept": "in memory"} for n in range(40)])
        yield made


def _rows(events: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    return [(e["timestamp"], e["log_id"], e["vnode"], e["offset"], e["row"], e["message"]) for e in events]


@pytest.mark.parametrize("query", QUERIES)
@pytest.mark.parametrize("order", ["newest", "oldest"])
def test_every_executor_gives_the_same_rows(system: System, query: str, order: str) -> None:
    told: dict[str, list[tuple[Any, ...]]] = {}
    for executor in ("ray", "lambda", "auto"):
        told[executor] = _rows(system.search(query, executor=executor, order=order))
    assert told["ray"] == told["lambda"] == told["auto"]
    if query == "service:shop":
        assert len(told["lambda"]) == 4 * 40, "stored and in flight"


@pytest.mark.parametrize("by", [[], ["message"], ["attributes.kept", "service"]])
def test_every_executor_gives_the_same_counts(system: System, by: list[str]) -> None:
    told = {
        executor: system.count("event", by=by, interval="1s", executor=executor)["buckets"]
        for executor in ("ray", "lambda", "auto")
    }
    assert told["ray"] == told["lambda"] == told["auto"]
    assert sum(bucket["count"] for bucket in told["lambda"]) == 4 * 40, "stored and in flight"


def test_every_executor_gives_the_same_patterns(system: System) -> None:
    bounds = {"start": "2026-01-01", "end": "2100-01-01", "wait": 30}
    told = {
        executor: system.http.post(
            "/search/v1/patterns", json={**bounds, "query": "event", "executor": executor}
        ).json()
        for executor in ("ray", "lambda", "auto")
    }
    assert told["ray"]["rows"] == told["lambda"]["rows"] == told["auto"]["rows"]
    assert sum(row[1] for row in told["lambda"]["rows"]) == 4 * 40, "stored and in flight"


def test_progress_tells_what_invocations_cost(system: System, deployed: tuple[str, Deployed]) -> None:
    _, page = system.try_search("turn", executor="lambda")
    progress = page["progress"]
    assert progress["objects_done"] >= 3
    assert progress["in_flight_rows"] >= 40
    assert progress["invocations"] >= 1
    assert progress["gb_seconds"] > 0
    assert progress["estimated_cost_usd"] > 0
    _, page = system.try_search("turn", executor="ray")
    assert (page["progress"]["invocations"], page["progress"]["estimated_cost_usd"]) == (0, 0)
    assert deployed[1].most_busy <= 2


def test_the_command_line_chooses_it_too(system: System) -> None:
    found = system.ess("search", "turn", "--limit", "1000", "--executor", "lambda", "--json")
    assert len(found.stdout.splitlines()) == 4 * 40


def test_an_export_runs_as_invocations_too(
    system: System, deployed: tuple[str, Deployed], monkeypatch: pytest.MonkeyPatch
) -> None:
    invoke, invoked = deployed[1].invoke, []

    def counted(payload: bytes) -> Any:
        invoked.append(payload)
        return invoke(payload)

    monkeypatch.setattr(deployed[1], "invoke", counted)
    told = json.loads(system.ess("explain", "turn", "--executor", "lambda", "--since", "all", "--json").stdout)
    assert told["lambda"]["invocations"] == told["tasks"] >= 1
    assert told["lambda"]["estimated_cost_usd"] > 0
    done = system.ess("export", "turn", "--executor", "lambda", "--since", "all")
    assert invoked
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert _rows(found) == _rows(system.search("turn"))
