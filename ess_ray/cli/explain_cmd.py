"""`ess explain`: what a search would do, as a table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ess_ray.cli.client import Client, Target
from ess_ray.cli.follow import end
from ess_ray.cli.options import json_option, with_target
from ess_ray.cli.output import flat, print_json
from ess_ray.cli.question import Asked, QueryCommand, pointed_out, with_question


@click.command(cls=QueryCommand)
@with_question
@json_option
@with_target
def explain(target: Target, asked: Asked, /, *, as_json: bool) -> None:
    """Tell what `ess search QUERY` would read and cost, without running it.

    Figures are those of a search that has to read everything; one that finds enough before reads less.
    """
    with Client(target) as client, pointed_out(asked.query):
        found = client.call("POST", "/search/v1/explain", json=asked.body())
    if as_json:
        print_json(found)
    else:
        _print_table(found)
    end(found)


def _print_table(found: Mapping[str, Any]) -> None:
    table = Table(show_header=False, box=None, pad_edge=False)
    for name, value in _lines(found):
        table.add_row(name, Text(f"{value:,}" if isinstance(value, int | float) else str(value)))
    Console().print(table)


def _lines(found: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Give the lines of the table: nested values under dotted names, of lists one line each, no absent ones."""
    for name, value in flat(found):
        label = name.replace("_", " ")
        if name == "complete":
            yield label, "yes" if value else "no"
        elif isinstance(value, list):
            yield from ((label, one) for one in value if name != "incomplete")
        elif value is not None:
            yield label, value
