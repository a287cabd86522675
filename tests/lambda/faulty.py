"""The scan function with faults on order: each file `FAULTS/NAME-*` makes one invocation end so, and is taken by it."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from lambda_compat import handler as real


def handler(event: Any, context: Any) -> dict[str, Any]:
    fault = _take()
    if fault == "hang":
        time.sleep(3600)
    if fault == "memory":
        hold = [bytearray(16 << 20) for _ in range(64)]
        time.sleep(3600 + len(hold))
    answer = real.handler(event, context)
    if fault == "crash":
        os._exit(1)  # after the scan: the answer is lost, not the work
    if fault == "error":
        raise RuntimeError("a fault that was ordered")
    if fault == "large":
        answer = {**answer, "padding": "x" * (7 << 20)}
    return answer


def _take() -> str | None:
    for path in sorted(Path(os.environ["FAULTS"]).iterdir()):
        try:
            path.unlink()
        except FileNotFoundError:
            continue  # another invocation took it
        return path.name.partition("-")[0]
    return None
