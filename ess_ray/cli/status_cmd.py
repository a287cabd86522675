"""`ess status` and `ess flush`: one request each.

May live here: these commands. May not: what the numbers mean.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from typing import Any

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ess_ray.cli.client import Client, Target
from ess_ray.cli.options import json_option, with_target
from ess_ray.cli.output import flat, print_json, tell
from ess_ray.core.errors import Unavailable
from ess_ray.runtime.processes import driver, read_run_file, stopped


@click.command()
@json_option
@with_target
def status(target: Target, as_json: bool) -> None:
    """Tell how the system is. Exit code 0 when complete answers are possible and events are taken, else 1."""
    problems = []
    with Client(target) as client:
        try:
            found = client.call("GET", "/search/v1/status")
        except Unavailable as error:
            raise Unavailable("; ".join([*_seen_from_outside(target), error.message])) from error
        for part in ("push", "search"):
            try:
                client.call("GET", f"/{part}/healthz")
            except Unavailable as error:
                problems.append(f"{part}: {error.message}")
    if as_json:
        print_json({**found, "url": target.url, "healthy": not problems, "problems": problems})
    else:
        _print(target.url, found)
        for warning in found.get("warnings", ()):
            tell(click.style(f"warning: {warning}", fg="yellow"))
        for problem in problems:
            tell(click.style(f"not healthy: {problem}", fg="red"))
    if problems:
        sys.exit(1)


def _seen_from_outside(target: Target) -> list[str]:
    """Tell what the processes on this machine show of a system that does not answer."""
    run = read_run_file(target.data_dir)
    if run is None or run.url != target.url or driver(run) is None:
        return []
    again = [f"the system is being started again, since {run.restarting}"] if run.restarting else []
    return again + stopped(run.session_id)


def _print(url: str, found: Mapping[str, Any]) -> None:
    """Print the figures by part; what this version does not know of a part is shown by name."""
    rest = {name: value for name, value in found.items() if name not in ("problems", "warnings", "nodes")}
    pool = dict(rest.get("pool", {}))
    log = dict(rest.get("log", {}))
    actors, vnodes = pool.pop("actors", {}), log.pop("vnodes", {})
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_row("address", url)
    for name, value in flat({**rest, "log": log, "pool": pool}):
        table.add_row(name, Text(f"{value:,}" if isinstance(value, int) else str(value)))
    console = Console()
    console.print(table)
    if isinstance(actors, Mapping) and actors:
        console.print(_actors(actors, vnodes))
    if found.get("nodes"):
        console.print(_nodes(found["nodes"]))


def _actors(actors: Mapping[str, Any], vnodes: Mapping[str, Any]) -> Table:
    table = Table("persist actor", "host", "virtual nodes", "lag", "buffered", "oldest", "stored rows", box=None)
    for name, actor in actors.items():
        owned = [str(vnode) for vnode in actor.get("vnodes", ())]
        lag = sum(vnodes.get(vnode, {}).get("lag", 0) for vnode in owned)
        table.add_row(
            Text(str(actor.get("actor", name))),
            Text(str(actor.get("host", "?"))),
            " ".join(owned),
            f"{lag:,}",
            f"{actor.get('buffered_bytes', 0):,} B",
            f"{actor.get('oldest_s', 0):.0f} s",
            f"{actor.get('counts', {}).get('rows_stored', 0):,}",
        )
    return table


def _nodes(nodes: Iterable[Mapping[str, Any]]) -> Table:
    table = Table("Ray node", "state", "CPUs", "metrics", box=None)
    for node in nodes:
        state = "alive" if node["alive"] else "dead"
        table.add_row(Text(str(node["host"])), state, f"{node['cpus']:g}", f"http://{node['metrics']}/metrics")
    return table


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
