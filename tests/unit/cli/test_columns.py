"""What every terminal shows: 80 columns are enough for the help of each command."""

from __future__ import annotations

from collections.abc import Iterator

import click
import pytest
from click.testing import CliRunner

from ess_ray.cli import main

COLUMNS = 80


def commands(command: click.Command = main, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Name every command, groups too."""
    yield path
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            found = command.get_command(context, name)
            assert found is not None
            yield from commands(found, (*path, name))


@pytest.mark.parametrize("path", [*commands()], ids=" ".join)
def test_help_holds_in_80_columns_however_wide_the_terminal_is(path: tuple[str, ...]) -> None:
    done = CliRunner(env={"COLUMNS": "200"}).invoke(main, [*path, "--help"])
    assert done.exit_code == 0
    assert max(map(len, done.stdout.splitlines())) <= COLUMNS
