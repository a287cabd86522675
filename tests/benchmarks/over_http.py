"""A search end to end: a running system, POST a query, poll until its end, as a client does it."""

from __future__ import annotations

import statistics
import time
from pathlib import Path
from typing import Any, Final

import orjson

from ess_ray.core.timestamps import format_timestamp
from ess_ray.generate import events
from tests.benchmarks.corpus import SEED
from tests.benchmarks.report import Row
from tests.systems import System

PUSH_EVENTS: Final = 5_000
SPAN_US: Final = 1_800 * 1_000_000
"""The events lie in the half hour before now, so that a search's default start covers them."""
COMMON: Final = ('"HTTP/1.1"', 100)
PAGE_ROWS: Final = 10_000
DEADLINE_S: Final = 60.0


def measure(directory: Path, count: int, rounds: int) -> list[Row]:
    """Push `count` events, flush and compact them, then ask each question `rounds` times; gives medians."""
    system = System(directory)
    system.up()
    try:
        trace_id = _push(system, count)
        system.ess("flush")
        system.ess("compact")
        questions = (
            ("one trace id", f'trace_id:"{trace_id}"', 1_000),
            ("two fields", "service:payments level:ERROR", 1_000),
            ("a number that few rows exceed", "duration_ms:>500", 1_000),
            ("newest 100 of a common term", *COMMON),
            ("a word that is nowhere", '"kqxzvwjq"', 1_000),
            ("full scan: a regex that is nowhere", r"/upstream=[a-z]+-zq[0-9]/", 1_000),
        )
        rows = []
        for what, query, limit in questions:
            asked = [_ask(system, query, limit) for _ in range(1 + rounds)][1:]  # the first one warms
            spent_s = sorted(s for s, _, _ in asked)
            _, found, page = asked[-1]
            progress = page["progress"]
            read = f"{progress['bytes_read'] / 1e6:.2f} of {progress['bytes_total'] / 1e6:.1f} MB read"
            p90_ms = spent_s[len(spent_s) * 9 // 10] * 1e3
            p50_ms = statistics.median(spent_s) * 1e3
            rows.append(Row(f"{what}, p50", f"{p50_ms:.1f} ms", f"p90 {p90_ms:.1f} ms; {found} rows, {read}"))
        return rows
    finally:
        system.down()


def _push(system: System, count: int) -> str:
    """Push events of the last half hour; gives a trace id of their middle."""
    chosen, body = "", list[dict[str, Any]]()
    for made, event in enumerate(events(count, SEED, time.time_ns() // 1000, SPAN_US), 1):
        body.append(event)
        if made >= count // 2 and not chosen:
            chosen = event.get("trace_id", "")
        if len(body) == PUSH_EVENTS or made == count:
            data = b"\n".join(map(orjson.dumps, body))
            answer = system.http.post("/push/v1/events", content=data, headers={"content-type": "application/x-ndjson"})
            if answer.status_code != 202 or answer.json() != {"accepted": len(body), "rejected": [], "adjusted": []}:
                raise AssertionError(answer.text)
            body = []
    return chosen


def _ask(system: System, query: str, limit: int) -> tuple[float, int, dict[str, Any]]:
    """Ask, and poll from page to page without a pause; gives seconds, rows, the last page."""
    began_s = time.perf_counter()
    start = format_timestamp(time.time_ns() // 1000 - 2 * SPAN_US)
    created = system.http.post("/search/v1/queries", json={"query": query, "start": start, "limit": limit})
    cursor, found = "", 0
    while True:
        answer = system.http.get(
            f"/search/v1/queries/{created.json()['id']}", params={"cursor": cursor, "limit": PAGE_ROWS}
        )
        page: dict[str, Any] = answer.json()
        found, cursor = found + len(page["events"]), page["cursor"]
        spent_s = time.perf_counter() - began_s
        if page["state"] != "running" and len(page["events"]) < PAGE_ROWS:
            break
        if spent_s > DEADLINE_S:
            raise TimeoutError(f"{query}: still {page['state']} after {DEADLINE_S} s")
    if page["state"] != "done" or not page["complete"]:
        raise AssertionError(f"{query}: {page}")
    return spent_s, found, page
