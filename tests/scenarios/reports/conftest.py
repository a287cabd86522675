"""One system for all reports; see `usual`."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.systems import System, running


@pytest.fixture(scope="package")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """A system with the usual settings. Each module pushes events of its own, and asks for these alone."""
    with running(tmp_path_factory.mktemp("ess") / "data", TZ="Europe/Berlin") as made:
        yield made
