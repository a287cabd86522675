"""`ess lambda`: the package of the scan function, and a Lambda service on this machine to try it with."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any, NoReturn

import click

from ess_ray.adapters.places import EVENTS, LAMBDA_ANSWERS, places_of
from ess_ray.cli.options import Chosen, with_settings
from ess_ray.settings import Settings


@click.group("lambda")
def lambda_group() -> None:
    """Search with a Lambda function."""


@lambda_group.command("package")
@click.option("--output", type=click.Path(path_type=Path), required=True, metavar="FILE", help="The zip to write.")
@with_settings
def package(chosen: Chosen, output: Path) -> None:
    """Build the function's zip, the same bytes each time. Its SAM template goes beside it."""
    _run("lambda_compat.package", {"output": output})


@lambda_group.command("serve")
@click.option("--table-url", help="s3://BUCKET/PREFIX/events or file:///DIR/events [as the settings say].")
@click.option("--answers-url", help="Where answers over 6 MB go [beside the table].")
@click.option("--name", help="The function's name [ess-scan].")
@click.option("--task-root", type=click.Path(path_type=Path), help="An unzipped package [the sources of this command].")
@click.option("--port", type=int, help="Where the service listens on loopback [3001].")
@click.option("--memory-mb", type=int, help="Of one invocation [1769].")
@click.option("--timeout-s", type=float, help="Of one invocation [60].")
@click.option("--concurrency", type=int, help="Invocations at a time; more are refused as AWS does [10].")
@with_settings
def serve(chosen: Chosen, /, **given: Any) -> None:
    """Run the function in a Lambda service on this machine (needs awslambdaric)."""
    usual = {"table_url": _url(chosen.settings, EVENTS), "answers_url": _url(chosen.settings, LAMBDA_ANSWERS)}
    _run("lambda_compat.local", {name: usual.get(name) if value is None else value for name, value in given.items()})


def _url(settings: Settings, folder: str) -> str:
    places = places_of(settings)
    if places.bucket is not None:
        return f"{places.bucket.url}/{folder}"
    return (places.data_dir.resolve() / folder).as_uri()


def _run(module: str, options: dict[str, Any]) -> NoReturn:
    """Become that program, so that signals reach it and nothing stays behind."""
    told = [f"--{name.replace('_', '-')}={value}" for name, value in options.items() if value is not None]
    os.execv(sys.executable, [sys.executable, "-m", module, *told])
