"""`ess search`: start a query, print rows as they arrive, tell what is missing.

May live here: the command and its polling. May not: the query language, or how rows look (`output`).
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from typing import Any, Final

import click

from ess_ray.cli.client import Client, Target
from ess_ray.cli.options import json_option, with_target
from ess_ray.cli.output import end_without_reader, event_text, json_line, progress, tell, write
from ess_ray.cli.question import Asked, pointed_out, with_question
from ess_ray.core.query import MAX_LIMIT

PAGE_ROWS: Final = 10_000
"""Rows in a page: the most that the contract gives."""
POLL_FIRST_S: Final = 0.01
POLL_MOST_S: Final = 0.25
"""A small search is done in milliseconds; a long one is not asked for more than four times a second."""
RETRY_PAGE_S: Final = 5.0
"""A stored answer does not outlive its owner: what is not back by then is gone."""
INCOMPLETE: Final = 3


@click.command()
@with_question
@click.option("--limit", type=click.IntRange(1, MAX_LIMIT), default=100, show_default=True, help="Rows at the most.")
@json_option
@with_target
def search(target: Target, asked: Asked, /, *, limit: int, as_json: bool) -> None:
    """Search for QUERY and print what matches as it is found (--json: one JSON object a line).

    \b
    timeout "Connection reset"      words (any case) and exact text
    /user=\\d+7/ level:ERROR         a regex, a field
    a AND (b OR NOT c)              as in Kibana and Quickwit

    Times without an offset are UTC. Exit codes: 0 all is there, 1 failed, 2 the query is wrong, 3 the answer is
    incomplete (what is missing is told on standard error). Ctrl-C cancels the query.
    """
    with Client(target) as client:
        with pointed_out(asked.query):
            query_id = str(client.call("POST", "/search/v1/queries", json=asked.body(limit=limit))["id"])
        page = _follow(client, query_id, as_json)
    reasons = _missing(page)
    for reason in reasons:
        tell(f"incomplete: {reason}")
    if page["state"] == "failed":
        sys.exit(1)
    if reasons:
        sys.exit(INCOMPLETE)


def _follow(client: Client, query_id: str, as_json: bool) -> dict[str, Any]:
    """Print all rows; gives the last page. An interruption or a closed pipe cancels the query."""
    path = f"/search/v1/queries/{query_id}"
    terminal = sys.stdout.isatty()
    try:
        with progress("searching", None, enabled=not terminal) as bar:
            for page in _pages(client, path):
                told = page.get("progress", {})
                done = told.get("objects_done", 0) + told.get("objects_pruned", 0)
                bar(done, f"{told.get('rows_matched', 0):,} found", told.get("objects_total") or None)
                print_events(page["events"], as_json=as_json, terminal=terminal)
    except KeyboardInterrupt:
        client.call("DELETE", path)
        tell("incomplete: the query was cancelled")
        sys.exit(INCOMPLETE)
    except BrokenPipeError:  # `ess search ... | head`
        client.call("DELETE", path)
        end_without_reader()
    return page


def _pages(client: Client, path: str) -> Iterator[dict[str, Any]]:
    cursor, wait_s = "", POLL_FIRST_S
    while True:
        # The same cursor gives the same rows, so a lost answer is asked for again.
        page: dict[str, Any] = client.call_patiently(
            "GET", path, params={"cursor": cursor, "limit": PAGE_ROWS}, stop=threading.Event(), for_s=RETRY_PAGE_S
        )
        yield page
        cursor = page["cursor"]
        if page["events"]:
            wait_s = POLL_FIRST_S
        elif page["state"] != "running":
            return
        else:
            time.sleep(wait_s)
            wait_s = min(wait_s * 2, POLL_MOST_S)


def print_events(events: list[dict[str, Any]], *, as_json: bool, terminal: bool) -> None:
    """Print events as lines: JSON, or for people."""
    if not events:
        return
    if as_json:
        data = b"".join(json_line(event) for event in events)
    else:
        lines = "".join(event_text(event, terminal=terminal) + "\n" for event in events)
        data = lines.encode("utf-8", "replace")
    write(data)


def _missing(page: dict[str, Any]) -> list[str]:
    reasons = [str(reason) for reason in page.get("incomplete", ())]
    if page["state"] == "truncated":
        reasons.append("the stored answer reached its cap: narrow the query or the time range")
    elif page["state"] != "done" and not reasons:
        reasons.append(f"the query {page['state']}")
    elif not page["complete"] and not reasons:
        reasons.append("the system does not call it complete")
    return reasons
