"""`ess fields`: which fields events have, and which values a field has."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import click

from ess_ray.cli.client import Client, Target
from ess_ray.cli.follow import end
from ess_ray.cli.options import json_option, with_target
from ess_ray.cli.output import print_counts, print_json, tell
from ess_ray.cli.question import pointed_out
from ess_ray.cli.told import tell_no_field
from ess_ray.cli.when import Range, with_range


@click.command()
@click.argument("name", required=False)
@click.option("--query", default="", metavar="QUERY", help="Of the events that match only.")
@click.option("--top", type=click.IntRange(1, 1000), default=10, show_default=True, help="Values of NAME at the most.")
@click.option("--prefix", default="", help="Values of NAME that start so.")
@with_range
@json_option
@with_target
def fields(
    target: Target,
    range_: Range,
    /,
    *,
    name: str | None,
    query: str,
    top: int,
    prefix: str,
    as_json: bool,
) -> None:
    """Name the fields that events have; with NAME, its most frequent values.

    \b
    ess fields --since 1d
    ess fields service
    ess fields attributes.region --query level:ERROR --top 20

    Exit codes as for search.
    """
    if name is None and prefix:
        raise click.UsageError("--prefix is for the values of a field: name it")
    asked = {"query": query, **{name: str(bound) for name, bound in range_.bounds().items()}}
    path = "/search/v1/fields"
    if name is not None:
        path += f"/{quote(name, safe='')}/values"
        asked |= {"top": str(top), "prefix": prefix}
    with Client(target) as client, pointed_out(query):
        found: dict[str, Any] = client.call("GET", path, params=asked)
    if as_json:
        print_json(found)
    elif name is None:
        print_counts(["field", "kind"], [([f["name"], f["kind"]], f["count"]) for f in found["fields"]], found["rows"])
    else:
        print_counts([name], [([v["value"]], v["count"]) for v in found["values"]], found["rows"])
    if name is not None and not found["values"]:
        tell_no_field([name], range_, complete=found["complete"], query=query, prefix=prefix)
    elif name is None and not found["fields"]:
        tell(f"no event{' that matches' if query else ''} {range_.in_words()}")
    end(found)
