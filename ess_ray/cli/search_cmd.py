"""`ess search`: start a query, print rows as they arrive, tell what is missing."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final

import click

from ess_ray.cli.client import Client, Target
from ess_ray.cli.follow import asking, end, show_progress
from ess_ray.cli.options import json_option, with_target
from ess_ray.cli.output import Marked, print_events, print_groups, progress
from ess_ray.cli.piped import is_pipe, search_table
from ess_ray.cli.question import NEWEST, Asked, QueryCommand, with_question
from ess_ray.cli.told import tell_hints, tell_rows
from ess_ray.core.answer import MAX_LIMIT

DEFAULT_LIMIT: Final = 100
MAX_CONTEXT_HITS: Final = 1_000
"""Rows that get a context: each asks two searches, a few milliseconds each."""
MAX_CONTEXT_ROWS: Final = 1_000
"""On either side: more is a search of its own."""


@click.command(cls=QueryCommand)
@with_question
@click.option(
    "--limit", type=click.IntRange(1, MAX_LIMIT), default=DEFAULT_LIMIT, show_default=True, help="Rows at the most."
)
@click.option(
    "--context",
    "-C",
    "around",
    type=click.IntRange(1, MAX_CONTEXT_ROWS),
    metavar="N",
    help="Also the N events before and after each row, of the same service and host.",
)
@json_option
@with_target
def search(target: Target, asked: Asked, /, *, limit: int, around: int | None, as_json: bool) -> None:
    """Search for QUERY and print what matches as it is found (--json: one JSON object a line).

    \b
    timeout "Connection reset"      words (any case) and exact text
    /user=\\d+7/ level:ERROR         a regex, a field
    "user agent":curl ms>500        a field of any name, a comparison
    a AND (b OR NOT c)              as in Kibana and Quickwit
    a | stats count() as n, p95(ms) by service every 5m | top 10 by n

    With stages behind the query (stats or patterns, then sort, top, limit, fields) the answer is a table (--json: one
    object).

    Which range was looked at, and whether there is more, is told on standard error. With --context, rows that match are
    marked by `>` (--json: `hit`, and `group` for those that belong together) and groups are parted by `--`; a context
    also shows what lies outside the range.

    Exit codes: 0 all is there, 1 failed, 2 the query is wrong, 3 the answer is incomplete (what is missing is told on
    standard error). Ctrl-C cancels the query.
    """
    if is_pipe(asked.query):
        if around is not None or limit != DEFAULT_LIMIT or asked.order != NEWEST:
            raise click.UsageError("--context, --limit and --order are for rows: use stages, `| sort by n | limit 5`")
        with Client(target) as client:
            search_table(client, asked, as_json=as_json)
        return
    if around is not None and limit > MAX_CONTEXT_HITS:
        raise click.UsageError(f"--context is for at most {MAX_CONTEXT_HITS:,} rows: lower --limit")
    zone = asked.range.zone
    hits: list[dict[str, Any]] = []
    with Client(target) as client:
        show = hits.extend if around is not None else partial(print_events, as_json=as_json, zone=zone)
        rows, page = _follow(client, asked.body(limit=limit), show)
        if around is not None:
            groups, missing = _around(client, hits, around, asked)
            print_groups(groups, as_json=as_json, zone=zone)
            page = {**page, "incomplete": [*page["incomplete"], *missing]}
    tell_rows(page, rows, limit, asked.range)
    limited = [] if limit == DEFAULT_LIMIT else ["--limit", str(limit)]
    tell_hints(page, "search", asked.query, asked.range, [*asked.options(), *limited, *target.arguments])
    end(page)


def _around(
    client: Client, hits: list[dict[str, Any]], rows: int, asked: Asked
) -> tuple[Sequence[Marked], Sequence[str]]:
    """Look for the rows around each hit; gives them in groups, and what is missing from them."""
    from ess_ray.cli.context import Surroundings  # only here: it writes queries, and most searches write none

    surroundings = Surroundings(client, rows, asked.executor)
    with progress("looking around", None) as bar:
        groups = surroundings.groups(hits, asked.order, lambda done: bar(done, total=len(hits)))
    return groups, surroundings.incomplete


def _follow(
    client: Client, body: dict[str, Any], show: Callable[[list[dict[str, Any]]], object]
) -> tuple[int, dict[str, Any]]:
    """Show all rows as they come; gives their number and the last page."""
    rows = 0
    with (
        asking(client, "/search/v1/queries", body) as pages,
        progress("searching", None, enabled=not sys.stdout.isatty()) as bar,
    ):
        for page in pages:
            show_progress(bar, page)
            show(page["events"])
            rows += len(page["events"])
    return rows, page
