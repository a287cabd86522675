"""One system for all reports; see `usual`."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.systems import System, running


@pytest.fixture(scope="package")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """A system with the usual settings, which however slow the machine takes its time to find hints.

    Each module pushes events of its own, and asks for these alone.
    """
    with running(tmp_path_factory.mktemp("ess") / "data", TZ="Europe/Berlin", ESS_SEARCH__HINTS_WITHIN_S="30") as made:
        yield made
