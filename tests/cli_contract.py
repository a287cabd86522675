"""A server that answers the commands as the contract says, and keeps what it was sent."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import orjson
from click.testing import Result
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

CONDITION: dict[str, Any] = {
    "log": {"kind": "sqlite", "brokers": None, "lag_records": 12, "backlog_bytes": 4096, "vnodes": {}},
    "disk": {"free_bytes": 120_000_000_000, "total_bytes": 500_000_000_000},
    "dead_letters": {"records": 2, "bytes": 100},
    "pool": {
        "wanted": 2,
        "events_per_s": 1234.5,
        "actors": {
            "persist-0": {"actor": "persist-0.1", "host": "[bold]x", "buffered_bytes": 2048, "oldest_s": 4.2},
            "persist-1": {"actor": "persist-1.1"},
        },
    },
    "dashboard": "http://127.0.0.1:23109",
    "nodes": [
        {"host": "one", "alive": True, "metrics": "127.0.0.1:1"},
        {"host": "two", "alive": False, "metrics": ":"},
    ],
    "replicas": {"push": {"RUNNING": 2, "STARTING": 1}, "search": {"RUNNING": 1}},
    "table": {"version": 7, "objects": 3, "rows": 999_999, "bytes": 4_096_000},
    "problems": [],
    "warnings": [],
}
"""What `/search/v1/status` answers, without what the commands do not read."""


class Contract:
    """Just enough of the HTTP contract: keeps what was pushed, and answers queries with prepared pages."""

    def __init__(self) -> None:
        self.pushed: list[dict[str, Any]] = []
        self.keys: list[str] = []
        self.routes: list[str | None] = []
        self.tenant = "default"
        self.log_id: str | None = "log-1"
        """None: as a system that does not tell."""
        self.taken: set[str] = set()
        """Keys whose events are stored: as a system does, it stores them once."""
        self.well: tuple[int, bool] | None = None
        """How many pushes go well before all fail, and whether those that fail are stored all the same."""
        self.on_push: Callable[[], object] = lambda: None
        self.on_lost: Callable[[], object] = lambda: None
        self.repeats: int | None = None
        self.adjusts: Callable[[dict[str, Any]], str | None] = lambda _: None
        """Why an event is stored at the time of receipt; None: it keeps its own."""
        self.most_named = 1_000
        self.most_at_a_time = self._under_way = 0
        self.queries: list[dict[str, Any]] = []
        """What was asked, without how long the request may wait, and for how many rows."""
        self.requests = 0
        """About queries: to ask, and for their pages."""
        self.cancelled = threading.Event()
        self.polled = threading.Event()
        self.refusals: list[Response] = []
        self.pages: list[dict[str, Any]] = [page("done")]
        self.named_fields = [{"name": "level", "kind": "column", "count": 30}]
        self.exported = b"level\nx\n"
        self.compacted: list[dict[str, Any]] = []
        self.compactions: list[dict[str, Any]] = []
        self.deletions: list[dict[str, Any]] = []
        self.deletion_pages: list[dict[str, Any]] = []
        self.healthy = True
        self.reasons: list[str] = []
        self.condition: dict[str, Any] = CONDITION
        self.authorizations: list[str | None] = []
        """Of `ess keys show`."""
        self.whose: dict[str, Any] = {"tenant": "default", "key": None}
        self.app = Starlette(
            routes=[
                Route("/push/v1/events", self.push, methods=["POST"]),
                Route("/push/v1/whoami", self.whoami),
                Route("/{part}/healthz", self.health),
                Route("/search/v1/queries", self.query, methods=["POST"]),
                Route("/search/v1/queries/q1", self.poll, methods=["GET"]),
                Route("/search/v1/queries/q1", self.cancel, methods=["DELETE"]),
                Route("/search/v1/queries/q1/export", self.export),
                Route("/search/v1/aggregations", self.query, methods=["POST"]),
                Route("/search/v1/aggregations/q1", self.poll, methods=["GET"]),
                Route("/search/v1/aggregations/q1", self.cancel, methods=["DELETE"]),
                Route("/search/v1/pipes", self.query, methods=["POST"]),
                Route("/search/v1/pipes/q1", self.poll, methods=["GET"]),
                Route("/search/v1/patterns", self.query, methods=["POST"]),
                Route("/search/v1/patterns/q1", self.poll, methods=["GET"]),
                Route("/search/v1/fields", self.fields),
                Route("/search/v1/fields/{name:path}/values", self.fields),
                Route("/search/v1/flush", self.flush, methods=["POST"]),
                Route("/search/v1/compact", self.compact, methods=["POST"]),
                Route("/search/v1/deletions", self.delete, methods=["POST"]),
                Route("/search/v1/deletions/d1", self.deletion),
                Route("/search/v1/status", self.status),
                Route("/search/v1/key", self.key),
            ]
        )

    async def push(self, request: Request) -> Response:
        self._under_way += 1
        self.most_at_a_time = max(self.most_at_a_time, self._under_way)
        try:
            return self._pushed(request, await request.body())
        finally:
            self._under_way -= 1

    def _pushed(self, request: Request, body: bytes) -> Response:
        key = request.headers["idempotency-key"]
        self.keys.append(key)
        self.routes.append(request.headers.get("ess-route"))
        if self.refusals:
            return self.refusals.pop(0)
        well, is_stored = (1, True) if self.well is None else self.well
        if not (well or is_stored):
            return problem(503, "down")
        events = [orjson.loads(line) for line in body.splitlines()]
        bad = [i for i, event in enumerate(events) if event["message"] == "bad"]
        if len(bad) == len(events):
            return problem(400, "every event is invalid")
        if key not in self.taken:
            self.pushed += [event for event in events if event["message"] != "bad"]
        self.taken.add(key)
        if not well:
            self.on_lost()
            return problem(503, "the answer was lost")
        if self.well is not None:
            self.well = (well - 1, is_stored)
        self.on_push()
        rejected = [{"index": i, "reason": "it is bad"} for i in bad]
        told: dict[str, Any] = {} if self.repeats is None else {"repeats": self.repeats}
        reasons = [(i, self.adjusts(event)) for i, event in enumerate(events) if i not in bad]
        adjusted = [{"index": i, "reason": reason} for i, reason in reasons if reason is not None]
        told["adjusted"] = adjusted[: self.most_named]
        if len(adjusted) > self.most_named:
            told["adjusted_total"] = len(adjusted)
        return JSONResponse({"accepted": len(events) - len(bad), "rejected": rejected, **told}, 202)

    async def whoami(self, _: Request) -> Response:
        if self.log_id is None:
            return problem(404, "nothing is there")
        return JSONResponse({"tenant": self.tenant, "log_id": self.log_id})

    async def health(self, request: Request) -> Response:
        return (
            JSONResponse({"status": "ok"}) if self.healthy else problem(503, f"{request.path_params['part']} is down")
        )

    async def query(self, request: Request) -> Response:
        body = await request.json()
        wait, _ = body.pop("wait", 0), body.pop("page", None)
        self.queries.append(body)
        self.requests += 1
        if body["query"] == "a AND (b":
            return problem(400, "a closing bracket is missing", position=6)
        if "median(" in body["query"]:
            return problem(400, "there is no function median", position=body["query"].index("median("))
        if body["start"] == "yesterday":
            return problem(400, "yesterday is no time")
        return JSONResponse({**self.pages[0], "cursor": "r1"} if wait else {"id": "q1", "state": "running"}, 201)

    async def poll(self, request: Request) -> Response:
        self.polled.set()
        self.requests += 1
        at = int(request.query_params["cursor"].removeprefix("r") or 0)
        return JSONResponse({**self.pages[min(at, len(self.pages) - 1)], "cursor": f"r{at + 1}"})

    async def cancel(self, _: Request) -> Response:
        self.cancelled.set()
        return JSONResponse(page("cancelled"))

    async def export(self, _: Request) -> Response:
        return Response(self.exported)

    async def fields(self, request: Request) -> Response:
        self.queries.append(dict(request.query_params))
        if request.query_params["query"] == "(":
            return problem(400, "it is never closed", position=0)
        whole = {"rows": 40, "complete": not self.reasons, "incomplete": self.reasons, "elapsed_ms": 1}
        name = request.path_params.get("name")
        if name is not None:
            if name == "nosuch":
                return JSONResponse({"field": name, "values": [], "distinct": 0, **whole, "rows": 0})
            return JSONResponse({"field": name, "values": [{"value": "a\tb\n", "count": 30}], "distinct": 1, **whole})
        return JSONResponse({"fields": self.named_fields, **whole})

    async def flush(self, _: Request) -> Response:
        return JSONResponse({"rows": 1234, "objects": 2})

    async def delete(self, request: Request) -> Response:
        self.deletions.append(await request.json())
        return JSONResponse({"id": "d1"}, 202)

    async def deletion(self, _: Request) -> Response:
        return JSONResponse(self.deletion_pages.pop(0))

    async def compact(self, request: Request) -> Response:
        self.compactions.append(await request.json())
        return JSONResponse(self.compacted.pop(0))

    async def key(self, request: Request) -> Response:
        self.authorizations.append(request.headers.get("authorization"))
        return JSONResponse(self.whose)

    async def status(self, _: Request) -> Response:
        return JSONResponse(self.condition)


def problem(status: int, detail: str, **more: Any) -> Response:
    content = {"type": "about:blank", "title": "No", "status": status, "detail": detail, **more}
    return JSONResponse(content, status, media_type="application/problem+json")


def compacted(count: int, more: bool = False, skipped: tuple[dict[str, str], ...] = ()) -> dict[str, Any]:
    merged = {"merged_objects": 3 * count, "new_objects": count, "rows": 30, "bytes_before": 300, "bytes_after": 200}
    expired = {"expired_objects": 1, "expired_rows": 10, "expired_bytes": 100}
    return {**merged, **expired, "skipped": skipped, "more": more, "before_us": 77}


def page(state: str, *messages: str, incomplete: tuple[str, ...] = (), complete: bool | None = None) -> dict[str, Any]:
    events = [
        {"timestamp": "2026-11-24T10:00:00.000000Z", "level": "ERROR", "severity_number": 17, "service": "s"}
        | {"host": None, "message": message, "attributes": {"region": "eu"}}
        for message in messages
    ]
    done = not incomplete if complete is None else complete
    told = {"objects_total": 2, "objects_done": 1, "objects_pruned": 0, "rows_matched": len(messages)}
    return {"id": "q1", "state": state, "events": events, "progress": told, "complete": done, "incomplete": incomplete}


Ess = Callable[..., Result]
"""Runs a command against the server: its arguments, and `stdin`."""
