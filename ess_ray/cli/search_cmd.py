"""`ess search`: start a query, print rows as they arrive, tell what is missing.

May live here: the command. May not: polling (`follow`), the query language, or how rows look (`output`).
"""

from __future__ import annotations

import sys
from typing import Any

import click

from ess_ray.cli.client import Client, Target
from ess_ray.cli.follow import cancelling, end, pages, show_progress, started
from ess_ray.cli.options import json_option, with_target
from ess_ray.cli.output import event_text, json_line, progress, write
from ess_ray.cli.question import Asked, with_question
from ess_ray.core.query import MAX_LIMIT


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
        path = f"/search/v1/queries/{started(client, '/search/v1/queries', asked.body(limit=limit))}"
        page = _follow(client, path, as_json)
    end(page)


def _follow(client: Client, path: str, as_json: bool) -> dict[str, Any]:
    """Print all rows; gives the last page."""
    terminal = sys.stdout.isatty()
    with cancelling(client, path), progress("searching", None, enabled=not terminal) as bar:
        for page in pages(client, path):
            show_progress(bar, page)
            print_events(page["events"], as_json=as_json, terminal=terminal)
    return page


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
