"""The unit for systemd: it restarts what failed, stops in good order, and is walled in."""

from __future__ import annotations

import shutil
import subprocess
from collections import defaultdict
from pathlib import Path

import pytest

from ess_ray.cli.system import STOP_TIMEOUT_S

UNIT = Path(__file__).parents[2] / "infra/systemd/ess.service"
WALLS = {
    "NoNewPrivileges",
    "ProtectHome",
    "PrivateDevices",
    "ProtectKernelTunables",
    "ProtectKernelModules",
    "ProtectControlGroups",
    "RestrictNamespaces",
    "RestrictSUIDSGID",
    "LockPersonality",
}


@pytest.fixture(scope="module")
def unit() -> dict[str, dict[str, str]]:
    """Give section -> key -> value. (Not configparser, which joins what systemd does not.)"""
    found: dict[str, dict[str, str]] = defaultdict(dict)
    section = ""
    for line in UNIT.read_text().splitlines():
        if line.startswith("["):
            section = line.strip("[]")
        elif line and not line.startswith("#"):
            key, _, value = line.partition("=")
            assert key not in found[section], f"{key} is said twice"
            found[section][key] = value
    return found


def test_it_is_started_again_when_it_failed(unit: dict[str, dict[str, str]]) -> None:
    service = unit["Service"]
    assert service["Restart"] == "on-failure"
    assert service["ExecStart"].endswith("/ess up"), "in the foreground, so that its exit code is seen"
    assert unit["Install"]["WantedBy"] == "multi-user.target"


def test_it_stops_in_good_order(unit: dict[str, dict[str, str]]) -> None:
    service = unit["Service"]
    assert service["ExecStop"].endswith("/ess down")
    assert float(service["TimeoutStopSec"]) > STOP_TIMEOUT_S


def test_it_is_walled_in(unit: dict[str, dict[str, str]]) -> None:
    service = unit["Service"]
    assert {key for key in WALLS if service.get(key) == "yes"} == WALLS
    assert service["User"] == "ess"
    assert service["ProtectSystem"] == "strict"
    assert service["StateDirectoryMode"] == "0700"
    assert service["UMask"] == "0077"


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not there")
def test_systemd_takes_it(tmp_path: Path) -> None:
    """With programs that are there: it is not installed in /opt."""
    text = UNIT.read_text().replace("/opt/ess/bin/ess", shutil.which("true") or "/bin/true")
    (tmp_path / "ess.service").write_text(text)
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(tmp_path / "ess.service")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "ess.service" not in done.stderr, done.stderr
