"""The groups of commands: errors as messages and exit codes, and commands that are loaded when they are called."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any, NamedTuple

import click
from click.shell_completion import CompletionItem

from ess_ray.cli.files import not_usable
from ess_ray.core.errors import BadRequest, EssError


class Refused(click.ClickException):
    """An EssError as click prints it: exit code 2 when the input was wrong, else 1."""

    def __init__(self, error: EssError) -> None:
        super().__init__(error.message)
        self.exit_code = 2 if isinstance(error, BadRequest) else 1  # type: ignore[misc]


class Group(click.Group):
    """A group whose commands may raise EssError: printed without a traceback, 2 for wrong input and 1 for the rest.

    So are errors of the operating system that name a file: it is one that the user named, or can mend.
    """

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except EssError as error:
            raise Refused(error) from error
        except OSError as error:
            if error.filename is None:
                raise
            raise Refused(not_usable(error)) from error


class Lazy(NamedTuple):
    """A command that is not loaded yet."""

    at: str
    """`module:attribute` within `ess_ray.cli`."""
    summary: str
    """What it does, in a line beside its name."""


class LazyGroup(Group):
    """A group whose commands are loaded when they are called: of many, one is, and to list them none."""

    def __init__(self, *arguments: Any, lazy: Mapping[str, Lazy], **more: Any) -> None:
        """`lazy`: by name."""
        super().__init__(*arguments, **more)
        self._lazy = lazy

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted({*super().list_commands(ctx), *self._lazy})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self._lazy:
            return super().get_command(ctx, cmd_name)
        module, _, attribute = self._lazy[cmd_name].at.partition(":")
        found = getattr(import_module(f"ess_ray.cli.{module}"), attribute)
        assert isinstance(found, click.Command)
        return found

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands by what is known of them unloaded."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, self._lazy[name].summary) for name in sorted(self._lazy)])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Name commands without their help, as short as shells show it."""
        names = [name for name in self.list_commands(ctx) if name.startswith(incomplete)]
        return [*map(CompletionItem, names), *click.Command.shell_complete(self, ctx, incomplete)]
