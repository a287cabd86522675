"""Run the local Lambda service with one function until Ctrl-C: `python -m lambda_compat.local --help`."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from pathlib import Path

from lambda_compat.local.environment import Function
from lambda_compat.local.service import local_lambda

PASSED_ON = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_REGION", "AWS_ENDPOINT_URL_S3")


def main() -> None:
    parser = argparse.ArgumentParser(prog="ess lambda serve", description="Run the scan function on this machine.")
    parser.add_argument("--name", default="ess-scan", help="the function's name")
    parser.add_argument("--task-root", type=Path, default=Path(__file__).parents[2], help="an unzipped package")
    parser.add_argument("--table-url", required=True, help="s3://BUCKET/PREFIX/events or file:///DIR/events")
    parser.add_argument("--answers-url", required=True, help="where answers over 6 MB go")
    parser.add_argument("--port", type=int, default=3001)
    parser.add_argument("--memory-mb", type=int, default=1_769)
    parser.add_argument("--timeout-s", type=float, default=60.0)
    parser.add_argument("--concurrency", type=int, default=10)
    given = parser.parse_args()
    function = Function(
        given.name,
        "lambda_compat.handler.handler",
        given.task_root.resolve(),
        {name: os.environ[name] for name in PASSED_ON if name in os.environ}
        | {"TABLE_URL": given.table_url, "ANSWERS_URL": given.answers_url},
        given.memory_mb,
        given.timeout_s,
        given.concurrency,
    )
    # Blocked, for all threads and processes from here on: they are waited for.
    ends = {signal.SIGINT, signal.SIGTERM}
    signal.pthread_sigmask(signal.SIG_BLOCK, ends)
    with local_lambda(function, port=given.port) as service:
        print(f"ESS_LAMBDA__FUNCTION={given.name} ESS_LAMBDA__ENDPOINT={service.endpoint}", flush=True)
        signal.sigwait(ends)
    sys.exit(0)


if __name__ == "__main__":
    main()
