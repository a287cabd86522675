"""The wheel, as `make dist` makes it, in an environment of its own and far from the checkout: `pip install` is enough.

What it needs besides is taken from this environment, so that nothing is fetched.
"""

from __future__ import annotations

import os
import shutil
import site
import subprocess
import sys
import venv
from collections.abc import Iterator
from pathlib import Path

import pytest

from deployments.ui import DIST, INDEX
from tests.servers import or_skip
from tests.systems import System, free_port

ROOT = Path(__file__).parents[2]
UV = Path(sys.executable).with_name("uv")


def run(*command: str | Path, **more: object) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [str(word) for word in command],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
        **more,  # type: ignore[call-overload]
    )
    assert done.returncode == 0, f"{command}: {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `bin` of an environment in which the wheel is installed."""
    if not (DIST / INDEX).exists():
        or_skip("the web page is not built: make web")
    built, home = tmp_path_factory.mktemp("dist"), tmp_path_factory.mktemp("elsewhere")
    isolated = ("--offline", "--no-build-isolation", "--python", sys.executable)
    run(UV, "build", "--quiet", *isolated, "--out-dir", built, ROOT)
    venv.create(home / "venv", with_pip=False, symlinks=True)
    python = home / "venv" / "bin" / "python"
    (wheel,) = built.glob("*.whl")
    run(UV, "pip", "install", "--quiet", "--offline", "--no-deps", "--python", python, wheel)
    (own,) = (home / "venv" / "lib").glob("python*/site-packages")
    # What leads from there to the checkout is a file like this one, and is not read where such a file points to.
    (own / "others.pth").write_text("\n".join(site.getsitepackages()) + "\n")
    return python.parent


@pytest.fixture(scope="module")
def elsewhere(installed: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """A place to run the wheel's `ess` from. What was started there is ended."""
    system = System(tmp_path_factory.mktemp("ess") / "data")
    unset = {name for name in os.environ if name.startswith("ESS_") or name == "PYTHONPATH"}
    kept = {name: value for name, value in os.environ.items() if name not in unset}
    system.environment = {**kept, "PATH": f"{installed}:{os.environ['PATH']}"}
    yield system
    run(installed / "ess", "down", "--data-dir", system.data_dir, env=system.environment)
    system.http.close()


def test_the_wheel_alone_runs_a_system_whose_hints_work_with_keys(installed: Path, elsewhere: System) -> None:
    if shutil.which("curl") is None:
        or_skip("there is no curl")
    folder, environment = elsewhere.data_dir.parent, elsewhere.environment

    def ess(*arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        where = ("--data-dir", str(elsewhere.data_dir))
        return run(installed / "ess", *arguments, *where, cwd=folder, env={**environment, **more})

    found = run(
        installed / "python", "-c", "import deployments; print(deployments.__file__)", cwd=folder, env=environment
    )
    assert Path(found.stdout.strip()).is_relative_to(installed.parent)
    key = ess("keys", "create", "--scope", "push", "--scope", "search").stdout.strip()
    up = ess("up", "--detach", "--port", str(free_port()), "--demo-events", "300", ESS_KEY=key)
    assert "starting Ray" in up.stderr  # also where no terminal looks
    url = next(line.split()[1] for line in up.stdout.splitlines() if line.strip().startswith("page"))
    assert "/assets/index-" in elsewhere.http.get(url).text
    assert elsewhere.http.get(f"{url}search/docs").status_code == 200

    commands = up.stdout.partition("try:\n")[2]
    copied = run("bash", "-ec", commands, cwd=folder, env={**environment, "ESS_KEY": key})
    lines = copied.stdout.splitlines()
    assert "ERROR" in lines[0]  # of what was made up
    assert '{"accepted":1' in copied.stdout
    assert "hello" in lines[-1]
    assert ess("keys", "show", ESS_KEY=key).stdout.startswith("tenant default\n")
