"""One system for all modules here; see `usual`."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.systems import System, running


@pytest.fixture(scope="package")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """A system that makes a Ray task of every object. To each module its own messages.

    test_observability comes first, by its name: it wants the figures of what it does itself.
    """
    with running(
        tmp_path_factory.mktemp("ess") / "data", ESS_SEARCH__IN_PLACE_BYTES="0", ESS_SEARCH__TASK_BYTES="1"
    ) as made:
        yield made
