"""`ess status` and `ess flush`: one request each.

May live here: these commands. May not: what the numbers mean.
"""

from __future__ import annotations

import sys

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ess_ray.cli.client import Client, Target
from ess_ray.cli.options import json_option, with_target
from ess_ray.cli.output import flat, print_json, tell
from ess_ray.core.errors import Unavailable


@click.command()
@json_option
@with_target
def status(target: Target, as_json: bool) -> None:
    """Tell how the system is. Exit code 0 when complete answers are possible and events are taken, else 1."""
    problems = []
    with Client(target) as client:
        found = client.call("GET", "/search/v1/status")
        for part in ("push", "search"):
            try:
                client.call("GET", f"/{part}/healthz")
            except Unavailable as error:
                problems.append(f"{part}: {error.message}")
    if as_json:
        print_json({"url": target.url, "healthy": not problems, "problems": problems, **found})
    else:
        table = Table(show_header=False, box=None, pad_edge=False)
        table.add_row("address", target.url)
        for name, value in flat(found):
            table.add_row(name, Text(f"{value:,}" if isinstance(value, int) else str(value)))
        Console().print(table)
        for problem in problems:
            tell(click.style(f"not healthy: {problem}", fg="red"))
    if problems:
        sys.exit(1)


@click.command()
@json_option
@with_target
def flush(target: Target, as_json: bool) -> None:
    """Store everything that is buffered; returns when it is durable in the object store."""
    with Client(target) as client:
        done = client.call("POST", "/search/v1/flush")
    if as_json:
        print_json(done)
    else:
        click.echo(", ".join(f"{name} {value:,}" for name, value in done.items() if isinstance(value, int)))
