"""`ess tail` against a real HTTP server with prepared streams: what is printed, told and sent again."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from click.testing import CliRunner
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from ess_ray.cli import main
from tests.http_server import DEADLINE_S, serving


def sent(kind: str, event_id: str = "", **data: Any) -> bytes:
    head = f"event: {kind}\n" + (f"id: {event_id}\n" if event_id else "")
    return f"{head}data: {json.dumps(data, ensure_ascii=False)}\n\n".encode()


def event(message: str, event_id: str = "") -> bytes:
    return sent("event", event_id, timestamp="2026-11-24T10:00:00.000000Z", level="INFO", message=message)


def progress(event_id: str, skipped: int = 0, *incomplete: str) -> bytes:
    return sent("progress", event_id, skipped=skipped, incomplete=incomplete)


class Streams:
    """A server whose next stream is the next of `prepared`; the last one stays open until the client goes."""

    def __init__(self) -> None:
        self.prepared: list[list[bytes] | Response] = []
        self.asked: list[tuple[str, str | None]] = []
        self.app = Starlette(routes=[Route("/search/v1/tail", self.tail)])

    async def tail(self, request: Request) -> Response:
        self.asked.append((request.query_params["query"], request.headers.get("last-event-id")))
        parts = self.prepared.pop(0)
        if isinstance(parts, Response):
            return parts
        return StreamingResponse(self._sent(parts, last=not self.prepared), media_type="text/event-stream")

    async def _sent(self, parts: list[bytes], *, last: bool) -> AsyncIterator[bytes]:
        for part in parts:
            yield part
        if last:
            await asyncio.Event().wait()


@pytest.fixture
def streams() -> Iterator[tuple[Streams, str]]:
    made = Streams()
    with serving(made.app) as url:
        yield made, url


def follow(url: str, lines: int, *arguments: str) -> tuple[list[str], str]:
    """Run `ess tail` until it has printed so many lines, interrupt it; gives them and what it told."""
    command = [sys.executable, "-m", "ess_ray.cli", "tail", *arguments, "--url", url]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    found = [process.stdout.readline().rstrip("\n") for _ in range(lines)]
    process.send_signal(signal.SIGINT)
    rest, told = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 0, told
    assert rest == ""
    return found, told


def test_rows_are_printed_as_search_prints_them(streams: tuple[Streams, str]) -> None:
    server, url = streams
    server.prepared = [[progress("c0"), event("one"), event("two", "c1")]]
    lines, told = follow(url, 2, "level:INFO")
    assert lines == [f"2026-11-24T10:00:00.000000Z INFO  {name}" for name in ("one", "two")]
    assert (told, server.asked) == ("", [("level:INFO", None)])


def test_a_lost_connection_is_made_again_and_goes_on_from_the_last_cursor(streams: tuple[Streams, str]) -> None:
    server, url = streams
    half = event("three\u2028\x85", "c2")
    server.prepared = [
        [progress("c0"), event("one", "c1"), event("two"), half[:30]],  # cut off within a look: it comes again
        JSONResponse({"detail": "not yet"}, 503),
        [progress("c1"), event("two"), half[:40], half[40:], sent("error", detail="about to end", reconnect=True)],
        [progress("c2"), event("four", "c3")],
    ]
    lines, told = follow(url, 4, "--json")
    assert [json.loads(line)["message"] for line in lines] == ["one", "two", "three\u2028\x85", "four"]
    assert [cursor for _, cursor in server.asked] == [None, "c1", "c1", "c2"]
    assert told.count("connecting again") == 2
    assert told.count("connected again: nothing was missed") == 2
    assert "about to end" in told


def test_what_is_not_shown_is_told_once(streams: tuple[Streams, str]) -> None:
    server, url = streams
    late = "virtual node 3 is late"
    told_twice = [progress("c1", 1200, late), progress("c1", 1200, late)]
    server.prepared = [[progress("c0"), *told_twice, event("one", "c2")]]
    _, told = follow(url, 1)
    assert told.count("skipped 1,200 events") == 1
    assert told.count(late) == 1


def test_a_wrong_query_is_usage_and_is_pointed_at(streams: tuple[Streams, str]) -> None:
    server, url = streams
    server.prepared = [JSONResponse({"detail": "a bracket is missing", "position": 2}, 400)]
    done = CliRunner().invoke(main, ["tail", "a (b", "--url", url])
    assert done.exit_code == 2
    assert "\n    ^" in done.stderr


@pytest.mark.parametrize(("reconnect", "code"), [(False, 3), (True, 1)])
def test_a_tail_that_cannot_go_on_says_so(streams: tuple[Streams, str], reconnect: bool, code: int) -> None:
    server, url = streams
    server.prepared = [
        [progress("c0"), sent("error", detail="the log was replaced", reconnect=reconnect)],
        JSONResponse({"detail": "the log was replaced"}, 401),
    ]
    done = CliRunner().invoke(main, ["tail", "--url", url])
    assert done.exit_code == code
    assert "the log was replaced" in done.stderr


def test_nobody_there_at_the_start_is_a_failure(streams: tuple[Streams, str]) -> None:
    server, url = streams
    server.prepared = [JSONResponse({"detail": "too many tails"}, 429)]
    done = CliRunner().invoke(main, ["tail", "--url", url])
    assert (done.exit_code, "too many tails" in done.stderr) == (1, True)
