"""The `ess` command. A command is a module here (`NAME_cmd`), named below; click and rich live nowhere else.

May live here: which commands there are. May not: anything that a program would want to call without a command line.
"""

from __future__ import annotations

from typing import Final

import click

from ess_ray.cli.options import LazyGroup

COMMANDS: Final = {
    "up": "system:up",
    "down": "system:down",
    "push": "push_cmd:push",
    "search": "search_cmd:search",
    "count": "count_cmd:count",
    "fields": "fields_cmd:fields",
    "tail": "tail_cmd:tail",
    "export": "export_cmd:export",
    "sql": "sql_cmd:sql",
    "delete": "delete_cmd:delete",
    "explain": "explain_cmd:explain",
    "status": "status_cmd:status",
    "flush": "status_cmd:flush",
    "compact": "compact_cmd:compact",
    "pool": "pool_cmd:pool",
    "generate": "generate_cmd:generate",
    "verify": "verify_cmd:verify_cmd",
    "copy": "copy_cmd:copy",
    "keys": "keys_cmd:keys",
    "lambda": "lambda_cmd:lambda_group",
    "doctor": "doctor_cmd:doctor",
    "completion": "shell_cmd:completion",
    "man": "shell_cmd:man",
}
"""By name, the module of this package and what of it: loaded when it is called, since all together take a second."""


@click.group(cls=LazyGroup, lazy=COMMANDS, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="ess_ray", prog_name="ess")
def main() -> None:
    """Store log events and search them.

    Settings come from options, then ESS_ variables, then ess.yaml (or ESS_CONFIG).

    Exit codes: 0 done, 1 failed, 2 usage, 3 incomplete answer.
    """
