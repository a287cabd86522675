"""Talking to a running system: where a command finds it, and what its refusals mean for the exit code."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import httpx

from ess_ray.client.http import Http
from ess_ray.core.errors import Unavailable
from ess_ray.runtime.processes import RUN_FILE, read_end, read_run_file
from ess_ray.settings import Settings


@dataclass(frozen=True, slots=True)
class Target:
    """Where the system of a command is: its data directory (maybe of another machine) and its address."""

    settings: Settings
    url: str
    known_by: str
    """Where the address comes from, for errors."""
    arguments: tuple[str, ...] = ()
    """The options that lead here again, for commands that we print."""

    @property
    def data_dir(self) -> Path:
        return self.settings.data_dir

    @property
    def key(self) -> str | None:
        """The API key of the settings."""
        key = self.settings.key
        return None if key is None else key.get_secret_value()


def locate(settings: Settings, data_dir: Path | None, url: str | None) -> Target:
    """Find the address: `--url`, then the run file of `--data-dir`, then ESS_URL or ess.yaml, then ESS_DATA_DIR.

    `data_dir` and `url` are what the command line gave. A data directory that was named but where nothing was started
    raises Unavailable: never is another system taken instead.
    """
    given = ("--data-dir", str(data_dir)) if data_dir is not None else ()
    if url is not None:
        return Target(settings, settings.url, "--url", (*given, "--url", settings.url))
    if data_dir is None and "url" in settings.model_fields_set:
        return Target(settings, settings.url, "ESS_URL or the settings file")
    run = read_run_file(settings.data_dir)
    if run is not None:
        return Target(settings, run.url, str(settings.data_dir / RUN_FILE), given)
    if "data_dir" in settings.model_fields_set:
        raise Unavailable(
            f"{read_end(settings.data_dir) or f'no system has been started in {settings.data_dir}'}: start it with "
            f"`ess up --data-dir {settings.data_dir}`, or say where one is with --url"
        )
    return Target(settings, settings.url, "the default")


class Client(Http):
    """HTTP to the system of a command."""

    def __init__(self, target: Target, transport: httpx.BaseTransport | None = None) -> None:
        super().__init__(target.url, target.key, known_by=target.known_by, transport=transport)

    def __enter__(self) -> Client:
        return self
