"""Running systems for scenarios, driven only as a user would: the `ess` command and HTTP."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.systems import System


@pytest.fixture(scope="module")
def new_system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], System]]:
    """Give a maker of systems; all are taken down at the end."""
    made: list[System] = []

    def make() -> System:
        system = System(tmp_path_factory.mktemp("ess") / "data")
        made.append(system)
        system.up()
        return system

    yield make
    for system in made:
        system.down()
        system.http.close()


@pytest.fixture(scope="module")
def system(new_system: Callable[[], System]) -> System:
    """One system for a whole module."""
    return new_system()
