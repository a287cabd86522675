"""Running systems for scenarios, driven only as a user would: the `ess` command and HTTP."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from tests.systems import System


@contextmanager
def _made(factory: pytest.TempPathFactory) -> Iterator[Callable[..., System]]:
    made: list[System] = []

    def make(**settings: str) -> System:
        system = System(factory.mktemp("ess") / "data", **settings)
        made.append(system)
        system.up()
        return system

    try:
        yield make
    finally:
        for system in made:
            system.down()
            system.http.close()


@pytest.fixture
def new_system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., System]]:
    """Give a maker of systems; all are taken down at the end of the test, since each takes a gigabyte of memory."""
    with _made(tmp_path_factory) as make:
        yield make


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """One system for a whole module."""
    with _made(tmp_path_factory) as make:
        yield make()
