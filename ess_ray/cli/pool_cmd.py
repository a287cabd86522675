"""`ess pool`: the persist actors with their load, and how many of them there are to be."""

from __future__ import annotations

from typing import Final

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ess_ray.cli.client import Client, Target
from ess_ray.cli.condition import in_bytes
from ess_ray.cli.options import json_option, with_target
from ess_ray.cli.output import print_json, tell

RESIZE_TIMEOUT_S: Final = 130.0
"""A little more than the system allows itself."""


@click.command()
@click.option("--actors", type=int, help="Have so many from now on, also after a restart.")
@json_option
@with_target
def pool(target: Target, actors: int | None, as_json: bool) -> None:
    """Show the persist actors, their virtual nodes and their load; change their number while they work."""
    with Client(target) as client:
        if actors is not None:
            done = client.call("POST", "/search/v1/pool", json={"actors": actors}, timeout=RESIZE_TIMEOUT_S)
            tell(f"{done['actors']} actors, {done['moved']} virtual nodes moved")
        found = client.call("GET", "/search/v1/pool")
    if as_json:
        print_json(found)
        return
    table = Table("actor", "virtual nodes", "buffered", "rows read", "rows stored", "stored", box=None, pad_edge=False)
    for name, one in sorted(found["actors"].items()):
        counts = one.get("counts", {})
        rows = (f"{counts.get(count, 0):,}" for count in ("rows_read", "rows_stored"))
        stored = in_bytes(counts.get("bytes_stored", 0))
        table.add_row(Text(name), f"{len(one['vnodes']):,}", in_bytes(one.get("buffered_bytes", 0)), *rows, stored)
    Console().print(table)
