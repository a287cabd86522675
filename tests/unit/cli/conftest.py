"""The commands' server, a data directory that leads to it, and an environment without settings."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from ess_ray.cli import main
from ess_ray.runtime.processes import RunFile, boot_id
from tests.cli_contract import Contract, Ess
from tests.http_server import serving


@pytest.fixture
def contract() -> Iterator[tuple[Contract, str]]:
    """A server on a free loopback port, and its address."""
    contract = Contract()
    with serving(contract.app) as url:
        yield contract, url


@pytest.fixture
def server(contract: tuple[Contract, str]) -> Contract:
    return contract[0]


@pytest.fixture
def data_dir(contract: tuple[Contract, str], tmp_path: Path) -> Path:
    """A data directory whose system is the server."""
    folder = tmp_path / "data"
    folder.mkdir()
    RunFile(os.getsid(0), 0.0, contract[1], 1, "", "", boot_id()).write(folder)
    return folder


@pytest.fixture(autouse=True)
def _called_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """However pytest was called, printed commands are written for somebody who called `ess`."""
    monkeypatch.setattr("sys.argv", ["ess"])


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in os.environ if name.startswith("ESS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def ess(data_dir: Path) -> Ess:
    def run(*arguments: str, stdin: str | None = None) -> Result:
        return CliRunner().invoke(main, [*arguments, "--data-dir", str(data_dir)], input=stdin, catch_exceptions=False)

    return run
