"""A file that is pushed again and again, by the command."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from ess_ray.cli import file_push
from tests.cli_contract import Contract, Ess

ELEVEN = [f"line {number}" for number in range(10)]


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_push, "BATCH_EVENTS", 1_000)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "app.log"


@pytest.fixture
def push(ess: Ess, file: Path) -> Callable[..., dict[str, Any]]:
    """Push the file; gives what --json tells, with the exit code and what was told beside."""

    def run(*options: str, path: Path | None = None, exit_code: int = 0) -> dict[str, Any]:
        done: Result = ess("push", str(path or file), "--json", *options)
        assert done.exit_code == exit_code, done.output
        return {**json.loads(done.stdout), "told": done.stderr}

    return run


Push = Callable[..., dict[str, Any]]


def messages(server: Contract) -> list[str]:
    return [event["message"] for event in server.pushed]


def append(file: Path, *lines: str, end: str = "\n") -> None:
    with file.open("a", newline="") as out:
        out.write("\n".join(lines) + end)
