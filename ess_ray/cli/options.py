"""Options that all commands share."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Concatenate, ParamSpec, cast

import click

from ess_ray.cli.client import Target, locate
from ess_ray.settings import Settings, load

P = ParamSpec("P")

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")

executor_option = click.option(
    "--executor", type=click.Choice(["ray", "lambda", "auto"]), help="Who scans; else as the system is set."
)


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
