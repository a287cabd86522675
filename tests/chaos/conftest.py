"""The table at the end of a run, and the worlds that rows share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console

from tests.chaos.report import Outcome, show, write
from tests.chaos.run import EVENTS, SEED
from tests.chaos.world import Worlds

OUTCOMES = pytest.StashKey[list[Outcome]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--chaos-results", type=Path, default=None, help="Write the table of faults to this file.")


def pytest_configure(config: pytest.Config) -> None:
    config.stash[OUTCOMES] = []


def pytest_report_header() -> str:
    return f"chaos: CHAOS_SEED={SEED} CHAOS_EVENTS={EVENTS}"


@pytest.fixture
def outcomes(request: pytest.FixtureRequest) -> list[Outcome]:
    """Give the list that a row adds its outcome to."""
    return request.config.stash[OUTCOMES]


@pytest.fixture(scope="session")
def worlds(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worlds]:
    made = Worlds(tmp_path_factory.mktemp)
    try:
        yield made
    finally:
        made.close()


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    outcomes = session.config.stash[OUTCOMES]
    path: Path | None = session.config.getoption("--chaos-results")
    whole = exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED)  # not interrupted
    if outcomes and whole and path is not None:
        write(outcomes, path)


def pytest_terminal_summary(config: pytest.Config) -> None:
    if outcomes := config.stash[OUTCOMES]:
        show(outcomes, Console(width=200))
