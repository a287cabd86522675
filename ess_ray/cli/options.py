"""Options that all commands share, and the group that turns errors into messages and exit codes.

May live here: click plumbing. May not: what a command does.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, cast

import click
from click.shell_completion import CompletionItem

from ess_ray.cli.client import Refused, Target, locate
from ess_ray.cli.files import not_usable
from ess_ray.core.errors import EssError
from ess_ray.settings import Settings, load

P = ParamSpec("P")

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")

executor_option = click.option(
    "--executor", type=click.Choice(["ray", "lambda", "auto"]), help="Who scans; else as the system is set."
)


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


class LazyGroup(Group):
    """A group whose commands are loaded when they are called: of many, one is."""

    def __init__(self, *arguments: Any, lazy: Mapping[str, str], **more: Any) -> None:
        """`lazy`: by name, `module:attribute` within `ess_ray.cli`."""
        super().__init__(*arguments, **more)
        self._lazy = lazy

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted({*super().list_commands(ctx), *self._lazy})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self._lazy:
            return super().get_command(ctx, cmd_name)
        module, _, attribute = self._lazy[cmd_name].partition(":")
        found = getattr(import_module(f"ess_ray.cli.{module}"), attribute)
        assert isinstance(found, click.Command)
        return found

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Name commands without their help, which would load them all at each press of a key."""
        names = [name for name in self.list_commands(ctx) if name.startswith(incomplete)]
        return [*map(CompletionItem, names), *click.Command.shell_complete(self, ctx, incomplete)]


def _system_options(function: Callable[..., None]) -> Callable[..., None]:
    function = click.option(
        "--url", metavar="URL", help="Where the system answers [ESS_URL; else as the data directory says]."
    )(function)
    return click.option(
        "--data-dir",
        type=click.Path(file_okay=False, path_type=Path),
        metavar="DIR",
        help="The system's data directory [ESS_DATA_DIR; ess-data].",
    )(function)


@dataclass(frozen=True, slots=True)
class Chosen:
    """The settings, and which of --data-dir and --url the command line gave."""

    settings: Settings
    data_dir: Path | None
    url: str | None

    def target(self) -> Target:
        """Find the system. Raises Unavailable when none was started where the command line says."""
        return locate(self.settings, self.data_dir, self.url)


def with_settings(function: Callable[Concatenate[Chosen, P], None]) -> Callable[..., None]:
    """Add --data-dir and --url, and call with the Chosen first: for commands that may do without a running system."""

    @functools.wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        data_dir, url = kwargs.pop("data_dir"), kwargs.pop("url")
        assert data_dir is None or isinstance(data_dir, Path)
        assert url is None or isinstance(url, str)
        function(Chosen(load(data_dir=data_dir, url=url), data_dir, url), *args, **kwargs)

    return _system_options(run)


def with_target(function: Callable[Concatenate[Target, P], None]) -> Callable[..., None]:
    """Add --data-dir and --url, and call with the Target they lead to first."""

    @functools.wraps(function)
    def run(chosen: Chosen, /, *args: P.args, **kwargs: P.kwargs) -> None:
        function(chosen.target(), *args, **kwargs)

    return with_settings(cast(Callable[Concatenate[Chosen, P], None], run))
