"""`ess status` and `ess flush`: one request each."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

import click

from ess_ray.cli.client import Client, Target
from ess_ray.cli.condition import lines_of
from ess_ray.cli.options import json_option, with_target
from ess_ray.cli.output import print_json, tell, visible, wrapped
from ess_ray.core.errors import Unavailable
from ess_ray.runtime.processes import driver, read_run_file, stopped


@click.command()
@json_option
@with_target
def status(target: Target, as_json: bool) -> None:
    """Tell how the system is: events a second, lag, storage, what is wrong.

    --json has all figures: each virtual node, actor and Ray node. Exit code 0 when complete answers are possible and
    events are taken, else 1.
    """
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
        _print(target.url, found, problems)
    if problems:
        sys.exit(1)


def _seen_from_outside(target: Target) -> list[str]:
    """Tell what the processes on this machine show of a system that does not answer."""
    run = read_run_file(target.data_dir)
    if run is None or run.url != target.url or driver(run) is None:
        return []
    again = [f"the system is being started again, since {run.restarting}"] if run.restarting else []
    return again + stopped(run.session_id)


def _print(url: str, found: Mapping[str, Any], problems: Sequence[str]) -> None:
    """Print the condition; every problem and warning once, wherever it was told."""
    for name, value in lines_of(url, found, problems):
        click.echo(wrapped(f"{name:<13} {visible(value)}", 14))
    worse = [*problems, *(one for one in found.get("problems", ()) if not any(one in told for told in problems))]
    for what, colour, told in (("not healthy", "red", worse), ("warning", "yellow", found.get("warnings", ()))):
        for one in dict.fromkeys(told):
            tell(click.style(wrapped(f"{what}: {one}"), fg=colour))


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
