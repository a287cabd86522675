"""The `ess` command. A command is a module here (`NAME_cmd`), named below; click and rich live nowhere else."""

from __future__ import annotations

from typing import Final

import click

from ess_ray.cli.group import Lazy, LazyGroup

COMMANDS: Final = {
    "up": Lazy("system:up", "Start a system on this machine."),
    "down": Lazy("system:down", "End the system of a data directory, everything stored."),
    "push": Lazy("push_cmd:push", "Push a file, or standard input, into the system."),
    "search": Lazy("search_cmd:search", "Search, and print what matches as it is found."),
    "count": Lazy("count_cmd:count", "Count what matches, by fields and time."),
    "patterns": Lazy("patterns_cmd:patterns", "Group messages by their template."),
    "fields": Lazy("fields_cmd:fields", "Name the fields of events, or the values of one."),
    "tail": Lazy("tail_cmd:tail", "Print what is pushed from now on and matches."),
    "export": Lazy("export_cmd:export", "Write all that matches to a file, however much it is."),
    "sql": Lazy("sql_cmd:sql", "Ask by SQL, with DuckDB."),
    "delete": Lazy("delete_cmd:delete", "Delete what matches, for good."),
    "alerts": Lazy("alerts_cmd:alerts", "Rules that tell when something is found."),
    "explain": Lazy("explain_cmd:explain", "Tell what a search would read and cost."),
    "status": Lazy("status_cmd:status", "Tell how the system is."),
    "flush": Lazy("status_cmd:flush", "Store everything that is buffered."),
    "compact": Lazy("compact_cmd:compact", "Merge small stored objects, and take out what is too old."),
    "pool": Lazy("pool_cmd:pool", "Show the persist actors, or set how many there are."),
    "generate": Lazy("generate_cmd:generate", "Make realistic events, to push or to a file."),
    "verify": Lazy("verify_cmd:verify_cmd", "Check the stored events against themselves and the log."),
    "copy": Lazy("copy_cmd:copy", "Copy the stored events to the bucket of the settings."),
    "keys": Lazy("keys_cmd:keys", "Make, list and revoke API keys."),
    "lambda": Lazy("lambda_cmd:lambda_group", "Search with a Lambda function."),
    "doctor": Lazy("doctor_cmd:doctor", "Check this machine and the running system."),
    "mcp": Lazy("mcp_cmd:mcp", "Let an assistant search and count."),
    "completion": Lazy("shell_cmd:completion", "Print what makes a shell complete `ess`."),
    "man": Lazy("shell_cmd:man", "Print the manual page of all commands."),
}
"""By name; each is loaded when it is called, since all together take a second."""


@click.group(cls=LazyGroup, lazy=COMMANDS, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="ess_ray", prog_name="ess")
def main() -> None:
    """Store log events and search them.

    Settings come from options, then ESS_ variables, then ess.yaml (or ESS_CONFIG).

    Exit codes: 0 done, 1 failed, 2 usage, 3 incomplete answer.
    """
