"""Running systems for scenarios, driven only as a user would: the `ess` command and HTTP."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.systems import System, running


@pytest.fixture
def new_system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., System]]:
    """Give a maker of systems, (data_dir=a new one, **settings): all are taken down at the end of the test, since each
    takes a gigabyte of memory."""

    def make(data_dir: Path | None = None, **settings: str) -> System:
        return made.enter_context(running(data_dir or tmp_path_factory.mktemp("ess") / "data", **settings))

    with ExitStack() as made:
        yield make


@pytest.fixture(scope="module")
def own_system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """One system for a whole module, which does with it what it likes."""
    with running(tmp_path_factory.mktemp("ess") / "data") as made:
        yield made
