"""How `ess up` starts the driver: which code it runs, in whose folder."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ess_ray.cli import system

TELLS = "import os, json; print(json.__name__, os.getcwd(), os.environ.get('ESS_CONFIG'))\n"
PLANTED = "print('planted')\n"


@pytest.mark.parametrize(("mode", "shared"), [(0o755, False), (0o1777, True), (0o775, True)])
def test_no_code_is_run_from_a_folder_that_others_can_write_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: int, shared: bool
) -> None:
    ours, here, data = (tmp_path / name for name in ("ours", "here", "data"))
    for folder in (ours, here, data):
        folder.mkdir(0o700)
    (ours / "our_driver.py").write_text(TELLS)
    (here / "ess.yaml").write_text("log_level: DEBUG\n")
    if shared:
        (here / "our_driver.py").write_text(PLANTED)
        (here / "json.py").write_text(PLANTED)
    here.chmod(mode)
    monkeypatch.chdir(here)
    monkeypatch.setenv("PYTHONPATH", str(ours))
    monkeypatch.setattr(system, "DRIVER", "our_driver")
    assert system.start_driver(data, None, data / "system.log", detach=True).wait() == 0
    told = (data / "system.log").read_text().split()
    assert told == (["json", str(data), str(here / "ess.yaml")] if shared else ["json", str(here), "None"])
    assert os.getcwd() == str(here)
