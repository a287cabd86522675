"""`ess doctor`: what of this machine and of the running system will give trouble."""

from __future__ import annotations

import sys
from typing import Final

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ess_ray.cli.checks import checks
from ess_ray.cli.options import Chosen, json_option, with_settings
from ess_ray.cli.output import print_json
from ess_ray.cli.server_checks import Check

_STYLES: Final = {"ok": "green", "warning": "yellow", "failed": "bold red"}


@click.command()
@json_option
@with_settings
def doctor(chosen: Chosen, as_json: bool) -> None:
    """Check this machine and the running system, and name every port that is not on loopback.

    Exit codes: 0 nothing failed (there may be warnings), 1 a check failed.
    """
    found: list[Check] = list(checks(chosen))
    if as_json:
        print_json([{"check": c.name, "state": c.state, "found": c.found, "advice": c.advice} for c in found])
    else:
        table = Table(box=None, pad_edge=False, show_header=False)
        for check in found:
            advice = f"{check.found}\n{check.advice}" if check.advice else check.found
            table.add_row(Text(check.state, style=_STYLES[check.state]), check.name, Text(advice))
        Console(soft_wrap=False).print(table)
    if any(check.state == "failed" for check in found):
        sys.exit(1)
