"""`ess completion` and `ess man`: all commands, as shells and troff take them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest
from click.testing import CliRunner

from ess_ray.cli import COMMANDS, main
from tests.servers import or_skip
from tests.unit.cli.test_columns import commands

AS_ESS = "from ess_ray.cli import main; main(prog_name='ess')"
LOADED = """
import sys
from ess_ray.cli import main
print([name for name in sys.modules if name.startswith("ess_ray.cli.") and name.endswith("_cmd")])
"""


def completed(*words: str) -> list[str]:
    """What is offered for the last of these words."""
    asked = {"_ESS_COMPLETE": "bash_complete", "COMP_WORDS": " ".join(words), "COMP_CWORD": str(len(words) - 1)}
    command = [sys.executable, "-c", AS_ESS]
    done = subprocess.run(command, env={**os.environ, **asked}, capture_output=True, text=True, check=True)
    return [line.partition(",")[2] for line in done.stdout.splitlines()]


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (("ess", "se"), ["search"]),
        (("ess", "keys", "c"), ["create"]),
        (("ess", "search", "--ord"), ["--order"]),
        (("ess", "search", "--order", "n"), ["newest"]),
        (("ess", "completion", ""), ["bash", "zsh", "fish"]),
    ],
)
def test_commands_options_and_choices_are_completed(words: tuple[str, ...], offered: list[str]) -> None:
    assert completed(*words) == offered


def test_all_commands_are_offered() -> None:
    assert completed("ess", "") == sorted(COMMANDS)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_has_its_script(shell: str) -> None:
    done = CliRunner().invoke(main, ["completion", shell])
    assert done.exit_code == 0
    assert f"_ESS_COMPLETE={shell}_complete" in done.stdout
    if shutil.which(shell) is not None and shell != "fish":
        subprocess.run([shell, "-n"], input=done.stdout, text=True, check=True)


def test_every_command_is_in_the_manual_page() -> None:
    page = CliRunner().invoke(main, ["man"]).stdout
    for path in commands():
        if path and path not in (("keys",), ("lambda",)):
            assert f'.SS "ess {" ".join(path)} ' in page


def test_troff_takes_the_manual_page_without_complaint() -> None:
    if shutil.which("groff") is None:
        or_skip("there is no groff")
    page = CliRunner().invoke(main, ["man"]).stdout
    done = subprocess.run(
        ["groff", "-man", "-Tascii", "-ww", "-P-cbou"], input=page, capture_output=True, text=True, check=True
    )
    assert done.stderr == ""
    assert "tenant's" in done.stdout
    assert "/user=\\d+7/ level:ERROR" in done.stdout  # as it is written


def test_a_command_is_loaded_alone() -> None:
    command = [sys.executable, "-c", LOADED]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "[]\n"
