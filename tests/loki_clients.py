"""Clients of Loki's read API, unmodified: `logcli`, where there is one."""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest

BINARY = "ESS_TEST_LOGCLI"
"""The variable that names the program; else it is looked for in PATH."""


def logcli() -> str:
    """Give the program; the test is skipped where there is none."""
    found = os.environ.get(BINARY) or shutil.which("logcli")
    if found is None:
        pytest.skip(f"there is no logcli: build it of Loki's sources, put it in PATH or name it by {BINARY}")
    return found


def run_logcli(address: str, *arguments: str, timeout_s: float = 120) -> str:
    """Run a command of logcli, and give what it prints."""
    environment = {**os.environ, "LOKI_ADDR": address}
    done = subprocess.run(
        [logcli(), "--quiet", *arguments],
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
        env=environment,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
