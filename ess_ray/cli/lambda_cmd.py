"""`ess lambda`: the package of the scan function, and a Lambda service on this machine to try it with.

May live here: starting `lambda_compat`'s programs, which stand above the command line. May not: what they do.
"""

from __future__ import annotations

import os
import sys
from typing import NoReturn

import click

_PASS_ON = {"ignore_unknown_options": True, "help_option_names": []}


@click.group("lambda")
def lambda_group() -> None:
    """Search with a Lambda function."""


@lambda_group.command("package", context_settings=_PASS_ON)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def package(arguments: tuple[str, ...]) -> None:
    """Build the function's zip: --output FILE. Its SAM template goes beside it."""
    _run("lambda_compat.package", arguments)


@lambda_group.command("serve", context_settings=_PASS_ON)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def serve(arguments: tuple[str, ...]) -> None:
    """Run the function in a Lambda service on this machine (needs awslambdaric; --help tells the options)."""
    _run("lambda_compat.local", arguments)


def _run(module: str, arguments: tuple[str, ...]) -> NoReturn:
    """Become that program, so that signals reach it and nothing stays behind."""
    os.execv(sys.executable, [sys.executable, "-m", module, *arguments])
