"""The `ess` command. A command is a module here (`NAME_cmd`), registered below; click and rich live nowhere else.

May live here: commands. May not: anything that a program would want to call without a command line.
"""

from __future__ import annotations

import click

from ess_ray.cli.compact_cmd import compact
from ess_ray.cli.copy_cmd import copy
from ess_ray.cli.count_cmd import count
from ess_ray.cli.doctor_cmd import doctor
from ess_ray.cli.explain_cmd import explain
from ess_ray.cli.export_cmd import export
from ess_ray.cli.fields_cmd import fields
from ess_ray.cli.generate_cmd import generate
from ess_ray.cli.keys_cmd import keys
from ess_ray.cli.lambda_cmd import lambda_group
from ess_ray.cli.options import Group
from ess_ray.cli.pool_cmd import pool
from ess_ray.cli.push_cmd import push
from ess_ray.cli.search_cmd import search
from ess_ray.cli.status_cmd import flush, status
from ess_ray.cli.system import down, up
from ess_ray.cli.tail_cmd import tail
from ess_ray.cli.verify_cmd import verify_cmd


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="ess_ray", prog_name="ess")
def main() -> None:
    """Store log events and search them.

    Settings come from options, then ESS_ variables, then ess.yaml (or ESS_CONFIG).

    Exit codes: 0 done, 1 failed, 2 usage, 3 incomplete answer.
    """


for _command in (
    *(up, down, push, search, count, fields, tail, export, explain, status, flush, compact, pool, generate),
    *(verify_cmd, copy, keys, lambda_group, doctor),
):
    main.add_command(_command)
