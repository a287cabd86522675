"""`ess patterns`: the templates of the messages that match, with how many events each has."""

from __future__ import annotations

import sys
from typing import Any, Final

import click

from ess_ray.cli.client import Client, Target
from ess_ray.cli.follow import end
from ess_ray.cli.options import executor_option, json_option, with_target
from ess_ray.cli.output import tell
from ess_ray.cli.piped import print_table_json, table_page
from ess_ray.cli.question import QueryCommand
from ess_ray.cli.tables import print_table
from ess_ray.cli.told import tell_hints
from ess_ray.cli.when import TIME_FORMS, Range, with_range

MAX_PATTERNS: Final = 10_000
DEFAULT_LIMIT: Final = 100
_FOR_PEOPLE: Final = ("count", "share", "trend", "new", "pattern")
"""What a terminal has room for."""


@click.command(cls=QueryCommand)
@click.argument("query", default="*")
@click.option(
    "--limit", type=click.IntRange(1, MAX_PATTERNS), default=DEFAULT_LIMIT, show_default=True, help="At the most."
)
@click.option("--new-since", metavar="TIME", help=f"New patterns first, and which are: {TIME_FORMS}.")
@with_range
@executor_option
@json_option
@with_target
def patterns(
    target: Target,
    range_: Range,
    /,
    *,
    query: str,
    limit: int,
    new_since: str | None,
    executor: str | None,
    as_json: bool,
) -> None:
    """Group the messages of the events that match QUERY by their template, the most frequent first.

    \b
    ess patterns level:ERROR --since 1d
    ess patterns --since 1d --new-since 15m     what is new since a deployment
    ess patterns service:payments --json        with examples and their queries

    Numbers, identifiers, addresses, times and quoted text are placeholders (<num>, <id>, <ip>, "<str>"), and words at a
    place that has many different ones are <*>. Counts are exact. A pattern is new if its first event in the range is
    not before --new-since. Without a terminal there is a line with tabs for each: pattern, count, share, first, last,
    example, query, new, trend. Exit codes as for search.
    """
    body: dict[str, Any] = {"query": query, **range_.bounds(), "limit": limit}
    if new_since is not None:
        body["new_since"] = range_.zone.bound(new_since)
    if executor is not None:
        body["executor"] = executor
    with Client(target) as client:
        page = table_page(client, "/search/v1/patterns", body)
    if as_json:
        print_table_json(page)
    else:
        _print(page, range_, with_new=new_since is not None)
    limited = [] if limit == DEFAULT_LIMIT else ["--limit", str(limit)]
    since = [] if new_since is None else ["--new-since", new_since]
    tell_hints(page, "patterns", query, range_, [*limited, *since, *target.arguments])
    end(page)


def _print(page: dict[str, Any], range_: Range, *, with_new: bool) -> None:
    columns, rows = page.get("columns", []), page.get("rows", [])
    if sys.stdout.isatty():
        names = [column["name"] for column in columns]
        places = [names.index(name) for name in _FOR_PEOPLE if name in names and (with_new or name != "new")]
        share = names.index("share") if "share" in names else -1
        rows = [[_percent(row[at]) if at == share else row[at] for at in places] for row in rows]
        columns = [columns[at] for at in places]
    print_table(columns, rows, range_.zone)
    total = page.get("patterns_total")
    if total is not None and total > len(rows):
        tell(f"{len(rows):,} of {total:,} patterns: --limit shows more")


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"
