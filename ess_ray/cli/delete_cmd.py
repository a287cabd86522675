"""`ess delete`: has events deleted for good, after asking, and waits until no answer has them any more."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from typing import Any, Final

import click

from ess_ray.cli.client import Client, Target
from ess_ray.cli.follow import INCOMPLETE, asking
from ess_ray.cli.options import json_option, with_target
from ess_ray.cli.output import print_json, progress, tell
from ess_ray.cli.question import QueryCommand, pointed_out
from ess_ray.cli.when import ALL, TIME_FORMS, Range, Zone, tz_option
from ess_ray.client.endpoints import reasons_of

PATH: Final = "/search/v1/deletions"
POLL_S: Final = 0.25
"""Between two looks: a small deletion takes a second or two."""


@click.command(cls=QueryCommand)
@click.argument("query")
@click.option("--until", required=True, metavar="TIME", help=f"Up to (exclusive): {TIME_FORMS}, or now.")
@click.option("--since", metavar="TIME", help="From: as --until, or all.  [default: the first event]")
@tz_option
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
@with_target
def delete(
    target: Target, /, *, query: str, until: str, since: str | None, zone: Zone, yes: bool, as_json: bool
) -> None:
    """Delete the events that QUERY matches, for good: from the store, from what is buffered, and from kept answers.

    \b
    ess delete 'user_id:4711' --until now
    ess delete '*' --since 2026-01-01 --until 2026-02-01 --yes

    Asks first, with the number of events. An empty query (or '*') needs --since too. It goes on without this command,
    which may be ended; it needs a key of scope admin. Exit codes: 0 deleted, 1 failed or not wanted, 2 usage, 3 some
    of it could not be looked at.
    """
    range_ = Range(ALL if since is None else since, until, zone)
    body: dict[str, Any] = {"query": query, **range_.bounds()}
    if since is None:
        del body["start"]
    with Client(target) as client:
        if not yes:
            _ask(client, query, range_)
        with pointed_out(query):
            deletion_id = client.call("POST", PATH, json=body)["id"]
        tell(f"deletion {deletion_id} has begun")
        with progress("deleting", None) as bar:
            for page in _looks(client, deletion_id):
                told = page["progress"]
                bar(told["objects_done"], f"{page['rows_deleted']:,} deleted", told["objects_total"] or None)
    if as_json:
        print_json(page)
    else:
        click.echo(f"{page['rows_deleted']:,} events deleted, {page['objects_rewritten']:,} objects rewritten")
    _end(page)


def _ask(client: Client, query: str, range_: Range) -> None:
    """Ask with the number of events that match just now; ends the command unless the answer is yes."""
    body = {"query": query, **range_.bounds(), "interval": None}
    with asking(client, "/search/v1/aggregations", body) as pages:
        for page in pages:
            counted = page
    count = sum(bucket["count"] for bucket in counted["buckets"])
    number = f"{count:,} events" if not reasons_of(counted) else f"at least {count:,} events"
    question = f"Delete {number} {range_.in_words()}, for good?"
    if not click.confirm(question, err=True):
        tell("nothing was deleted")
        sys.exit(1)


def _looks(client: Client, deletion_id: str) -> Iterator[dict[str, Any]]:
    """Give the pages of a deletion as it goes on, up to the last."""
    while True:
        page: dict[str, Any] = client.call_patiently("GET", f"{PATH}/{deletion_id}", stop=threading.Event())
        yield page
        if page["state"] != "running":
            return
        time.sleep(POLL_S)


def _end(page: dict[str, Any]) -> None:
    """Tell what is left of the events, and exit unless all was looked at."""
    if page["gone_by"] is not None and not page["bytes_gone"]:
        tell(f"no object in the store holds them any more by {page['gone_by']}")
    for where in page["beyond"]:
        tell(f"out of reach: {where}")
    for reason in page["incomplete"]:
        tell(f"incomplete: {reason}")
    if page["state"] == "failed":
        sys.exit(1)
    if not page["complete"]:
        sys.exit(INCOMPLETE)
