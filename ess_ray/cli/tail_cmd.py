"""`ess tail`: print what is pushed from now on and matches, as it comes, whatever happens to the connection.

May live here: the command, and going on after a lost connection. May not: how rows look (`output`).
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from typing import Any, Final

import click
import httpx
import orjson

from ess_ray.cli.client import RETRY_FOR_S, Client, Target
from ess_ray.cli.follow import INCOMPLETE
from ess_ray.cli.options import json_option, with_target
from ess_ray.cli.output import end_without_reader, tell
from ess_ray.cli.question import pointed_out
from ess_ray.cli.search_cmd import print_events
from ess_ray.core.errors import BadRequest, EssError, Forbidden, Unauthenticated, Unavailable

SILENCE_S: Final = 15.0
"""A living tail says something every second: after so long without a word, the connection is dead."""
TIMEOUT: Final = httpx.Timeout(SILENCE_S, connect=5.0)
RETRY_FIRST_S: Final = 0.2
RETRY_MOST_S: Final = 5.0
"""A replica that ended is replaced in two seconds, a system restarts in thirty."""


@click.command()
@click.argument("query", default="*")
@json_option
@with_target
def tail(target: Target, /, *, query: str, as_json: bool) -> None:
    """Print what is pushed from now on and matches QUERY, as it comes (--json: one JSON object a line).

    The query is that of `ess search`. When the connection is lost, it is made again and goes on where it was, without a
    gap. What is too much to show, or cannot be read just now, is told on standard error. Ctrl-C ends it.
    """
    with Client(target) as client:
        following = _Tail(client, query, as_json)
        try:
            following.run()
        except KeyboardInterrupt:
            sys.exit(0)
        except BrokenPipeError:  # `ess tail ... | head`
            end_without_reader()


class _Tail:
    """One tail over as many connections as it takes."""

    def __init__(self, client: Client, query: str, as_json: bool) -> None:
        self._client, self._query, self._as_json = client, query, as_json
        self._terminal = sys.stdout.isatty()
        self._cursor = ""
        self._waiting: list[dict[str, Any]] = []  # rows whose cursor has not come: a lost connection brings them again
        self._skipped = 0
        self._incomplete: list[str] = []

    def run(self) -> None:
        """Follow until interrupted. Raises what the first connection fails with, later what no repeat can mend."""
        heard_s, wait_s, lost = time.monotonic(), RETRY_FIRST_S, False
        while True:
            try:
                for kind, data, event_id in self._events():
                    if lost:
                        tell("connected again: nothing was missed")
                    heard_s, wait_s, lost = time.monotonic(), RETRY_FIRST_S, False
                    self._take(kind, data, event_id)
                raise Unavailable("the connection was closed")
            except BadRequest as error:
                if not self._cursor:
                    with pointed_out(self._query):
                        raise
                tell(f"incomplete: {error.message}")
                sys.exit(INCOMPLETE)
            except (Unauthenticated, Forbidden):
                raise
            except EssError as error:
                if not self._cursor or time.monotonic() - heard_s > RETRY_FOR_S:
                    raise
                if not lost:
                    tell(f"{error.message}; connecting again")
                lost = True
                time.sleep(wait_s)
                wait_s = min(2 * wait_s, RETRY_MOST_S)

    def _events(self) -> Iterator[tuple[str, dict[str, Any], str]]:
        self._waiting, self._skipped = [], 0
        headers = {"Last-Event-ID": self._cursor} if self._cursor else {}
        asked = {"params": {"query": self._query}, "headers": headers, "timeout": TIMEOUT}
        with self._client.stream("/search/v1/tail", **asked) as lines:
            yield from server_sent(lines)

    def _take(self, kind: str, data: dict[str, Any], event_id: str) -> None:
        if kind == "error":
            raise Unavailable(data["detail"]) if data["reconnect"] else BadRequest(data["detail"])
        if kind == "event":
            self._waiting.append(data)
        if event_id:
            print_events(self._waiting, as_json=self._as_json, terminal=self._terminal)
            self._waiting, self._cursor = [], event_id
        if kind == "progress":
            self._tell(data)

    def _tell(self, progress: dict[str, Any]) -> None:
        if progress["skipped"] > self._skipped:
            more = progress["skipped"] - self._skipped
            tell(f"skipped {more:,} events that match: they come faster than they are shown, `ess search` finds them")
        self._skipped = progress["skipped"]
        for reason in progress["incomplete"]:
            if reason not in self._incomplete:
                tell(f"incomplete: {reason}")
        self._incomplete = progress["incomplete"]


def server_sent(lines: Iterable[str]) -> Iterator[tuple[str, dict[str, Any], str]]:
    """Read server-sent events: kind, data, id (empty: none)."""
    fields: dict[str, str] = {}
    for line in lines:
        if line:
            name, _, value = line.partition(": ")
            fields[name] = value
        elif fields:
            yield fields.get("event", ""), orjson.loads(fields.get("data", "{}")), fields.get("id", "")
            fields = {}
