"""Where the time of a Lambda invocation goes: requests, decompression, match; several objects in work against one.

The function runs in the local Lambda service and reads from an S3 server behind a proxy that delays every request by 15
to 40 ms, as S3 does. An invocation is a task of eight objects. "Cold" is a new environment's first one, which reads
footers; the others have them.
"""

from __future__ import annotations

import json
import statistics
from pathlib import Path
from typing import Any, Final

from ess_ray.adapters.lambda_function import FunctionLocation
from ess_ray.adapters.s3_bucket import make_bucket
from ess_ray.adapters.s3_location import S3Location
from ess_ray.core.chunk import encode_object
from ess_ray.core.query import MAX_LIMIT, Query
from ess_ray.ingest.seal import Sealed, entry_of
from ess_ray.language import parse
from ess_ray.ports import ObjectEntry, ScanTask
from ess_ray.search.wire import encode_task
from lambda_compat.local.environment import Function
from lambda_compat.local.service import local_lambda
from tests.benchmarks import workers
from tests.benchmarks.report import grid
from tests.proxy import http_proxy
from tests.servers import ADMIN, s3_server

ROOT: Final = Path(__file__).parents[2]
LEAST_MS, MOST_MS = 15, 40
OBJECTS: Final = 8
AT_ONCE: Final = (1, 4)
"""Objects in work: one GET at a time, and as the function does it."""
QUERIES: Final = (
    ("every row tested by a regex", "/[0-9a-f]{64}/"),
    ("a literal in 0.2 % of the rows", '"PaymentService.charge"'),
    ("a literal that the index rules out", '"kqxzvwjq"'),
)
HEADER: Final = ("query", "objects at once", "", "wall", "GETs", "in GETs, added up", "decompressing", "matching")


def _entries(bucket: S3Location, count: int) -> list[ObjectEntry]:
    store = bucket.open()
    entries = []
    for number in range(OBJECTS):
        encoded = encode_object(workers.table(count // OBJECTS, workers.SEED + number), ())
        entry = entry_of(Sealed("default", encoded), workers.END_US)
        store.put(entry.key, encoded.data)
        entries.append(entry)
    return entries


def _cells(query: str, at_once: int, state: str, runs: list[dict[str, Any]]) -> tuple[str, ...]:
    def ms(name: str) -> str:
        return f"{statistics.median(run[name] for run in runs) * 1000:.0f} ms"

    figures = (ms("wall_s"), str(runs[0]["gets"]), ms("get_s"), ms("decompression_s"), ms("match_s"))
    return query, str(at_once), state, *figures


def measure(directory: Path, count: int, rounds: int) -> str:
    """Store `count` events as eight objects and invoke the function over them; gives a table of medians."""
    directory.mkdir(parents=True)
    with s3_server(directory) as server, http_proxy(server.port) as proxy:
        bucket = S3Location(
            "bench", "", server.endpoint, region="us-east-1", access_key=ADMIN.access_key, secret_key=ADMIN.secret_key
        )
        make_bucket(bucket)
        entries = _entries(bucket, count)
        environment = {
            "TABLE_URL": bucket.url,
            "AWS_ENDPOINT_URL_S3": proxy.endpoint,
            "AWS_ACCESS_KEY_ID": ADMIN.access_key,
            "AWS_SECRET_ACCESS_KEY": ADMIN.secret_key,
        }
        proxy.delay(LEAST_MS, MOST_MS)
        rows = []
        for name, text in QUERIES:
            payload = encode_task(ScanTask("default", Query(parse(text), limit=MAX_LIMIT), tuple(entries)))
            found = set()
            for at_once in AT_ONCE:
                with local_lambda(Function("bench", "tests.benchmarks.measured.handler", ROOT, environment)) as service:
                    location = FunctionLocation(
                        "bench", "us-east-1", endpoint=service.endpoint, access_key="made-up", secret_key="made-up"
                    )
                    runs = _invoke(location, {**payload, "objects_at_once": at_once}, rounds + 1)
                found |= {run["rows"] for run in runs}
                rows += [_cells(name, at_once, "cold", runs[:1]), _cells(name, at_once, "warm", runs[1:])]
            assert len(found) == 1, f"{name}: {found}"
    size = sum(entry.size for entry in entries)
    told = f"{OBJECTS} objects, {count:,} events, {size / 1e6:.1f} MB; {LEAST_MS} to {MOST_MS} ms a GET. "
    told += "Decompressing and matching in CPU time; matching is all that is not decompression, the client of S3 too."
    return grid("Inside a Lambda invocation", HEADER, rows, text=told)


def _invoke(location: FunctionLocation, payload: dict[str, Any], times: int) -> list[dict[str, Any]]:
    client = location.client(1)
    runs = []
    try:
        for _ in range(times):
            answer = client.invoke(FunctionName=location.name, Payload=json.dumps(payload).encode())
            run = json.loads(answer["Payload"].read())
            if "FunctionError" in answer or run["failed"]:
                raise RuntimeError(f"the function failed: {run}")
            runs.append({**run, "match_s": run["cpu_s"] - run["decompression_s"]})
    finally:
        client.close()
    return runs
