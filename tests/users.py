"""Another user of this machine, for tests of what he cannot do: only root can be somebody else."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from tests.servers import or_skip

NOBODY: Final = 65_534
"""A user, and a group, with no rights anywhere."""


def root_only() -> None:
    """Skip a test that needs another user; with CI=true, where everything must run, fail it."""
    if os.geteuid() != 0:
        or_skip("only root can be another user")


@contextmanager
def as_nobody() -> Iterator[None]:
    """Have this process (all its threads) be NOBODY to files and sockets, and root again afterwards."""
    root_only()
    groups = os.getgroups()
    os.setgroups([])
    os.setegid(NOBODY)
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)
        os.setgroups(groups)
