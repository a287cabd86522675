"""`ess tail`: print what is pushed from now on and matches, as it comes, whatever happens to the connection."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any, Final

import click
import httpx

from ess_ray.cli.client import Client, Target
from ess_ray.cli.context import identity
from ess_ray.cli.follow import INCOMPLETE, asking
from ess_ray.cli.options import json_option, with_target
from ess_ray.cli.output import end_without_reader, print_events, tell
from ess_ray.cli.question import QueryCommand, pointed_out
from ess_ray.cli.when import TIME_FORMS, Range, Zone, tz_option
from ess_ray.client.endpoints import reasons_of
from ess_ray.client.http import RETRY_FOR_S
from ess_ray.core.errors import BadRequest, EssError, Forbidden, Unauthenticated, Unavailable

SILENCE_S: Final = 15.0
"""A living tail says something every second: after so long without a word, the connection is dead."""
TIMEOUT: Final = httpx.Timeout(SILENCE_S, connect=5.0)
RETRY_FIRST_S: Final = 0.2
RETRY_MOST_S: Final = 5.0
"""A replica that ended is replaced in two seconds, a system restarts in thirty."""
PAST_ROWS: Final = 10_000
"""Of what --since shows: a terminal's history, and little to hold until it is turned around."""


@click.command(cls=QueryCommand)
@click.argument("query", default="*")
@click.option("--since", metavar="TIME", help=f"First what is there since: {TIME_FORMS}.")
@tz_option
@json_option
@with_target
def tail(target: Target, /, *, query: str, since: str | None, zone: Zone, as_json: bool) -> None:
    """Print what is pushed from now on and matches QUERY, as it comes (--json: one JSON object a line).

    With --since, what matches since then comes first, the newest 10,000 of it. The query is that of `ess search`. When
    the connection is lost, it is made again and goes on where it was, without a gap. What is too much to show, or
    cannot be read just now, is told on standard error. Ctrl-C ends it.
    """
    with Client(target) as client:
        past = None if since is None else Range(since, None, zone)
        following = _Tail(client, query, past=past, zone=zone, as_json=as_json)
        try:
            following.run()
        except KeyboardInterrupt:
            sys.exit(0)
        except BrokenPipeError:  # `ess tail ... | head`
            end_without_reader()


class _Tail:
    """One tail over as many connections as it takes."""

    def __init__(self, client: Client, query: str, *, past: Range | None, zone: Zone, as_json: bool) -> None:
        self._client, self._query = client, query
        self._print = partial(print_events, as_json=as_json, zone=zone)
        self._past = past
        """What is to be shown first; None when it was."""
        self._shown: set[tuple[Any, ...]] = set()  # events of the past that the tail may bring again
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
            # The tail has begun by now: what is pushed while the past is read, it brings, too.
            self._show_past()
            self._print([event for event in self._waiting if not self._shown or identity(event) not in self._shown])
            self._waiting, self._cursor = [], event_id
        if kind == "progress":
            self._tell(data)

    def _show_past(self) -> None:
        if self._past is None:
            return
        past, self._past = self._past, None
        body = {"query": self._query, **past.bounds(), "limit": PAST_ROWS, "order": "newest"}
        events: list[dict[str, Any]] = []
        with asking(self._client, "/search/v1/queries", body) as pages:
            for page in pages:
                events += page["events"]
        self._print(reversed(events))
        self._shown = {identity(event) for event in events}
        for reason in reasons_of(page):
            tell(f"incomplete: {reason}")
        if len(events) == PAST_ROWS:
            tell(f"these are the newest {PAST_ROWS:,} {past.in_words()}: `ess search` and `ess export` find all")

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
            yield fields.get("event", ""), json.loads(fields.get("data", "{}")), fields.get("id", "")
            fields = {}
