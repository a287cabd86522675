"""One system for all modules here, since each start takes 25 s of CPU time and each idle system a fifth of a CPU."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.systems import System, running


@pytest.fixture(scope="package")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """A system with the usual settings.

    Who uses it gives its events a message or a service that nobody else searches for, and leaves it healthy.
    """
    with running(tmp_path_factory.mktemp("ess") / "data") as made:
        yield made
