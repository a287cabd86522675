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
try:
    main(prog_name="ess")
finally:
    print(*sys.modules, file=sys.stderr)
"""
OF_A_SYSTEM = frozenset(
    {
        *("ray", "pyarrow", "numpy", "lark", "fastapi", "starlette", "deltalake", "obstore", "boto3"),
        *("aiokafka", "confluent_kafka", "redis", "uvloop"),
    }
)
"""What takes long to import, and only a system needs, or a command that reads its folders."""
OF_A_CLIENT = frozenset(["httpx", "pydantic", "rich", "tenacity", "yaml", "psutil"])
"""What a command needs that asks a system."""


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


def loaded(*words: str) -> frozenset[str]:
    """Which modules and packages a command has loaded at its end."""
    done = subprocess.run([sys.executable, "-c", LOADED, *words], capture_output=True, text=True, check=True)
    names = done.stderr.splitlines()[-1].split()
    return frozenset({*names, *(name.partition(".")[0] for name in names)})


def test_listing_the_commands_loads_none_of_them_and_nothing_that_they_need() -> None:
    names = loaded("--help")
    assert not names & (OF_A_SYSTEM | OF_A_CLIENT)
    assert [name for name in names if name.startswith("ess_ray.cli.") and name.endswith("_cmd")] == []


@pytest.mark.parametrize("name", ["search", "count", "fields", "tail", "export", "status", "explain", "delete"])
def test_a_command_that_asks_a_system_loads_nothing_of_one(name: str) -> None:
    names = loaded(name, "--help")
    assert not names & OF_A_SYSTEM
    assert "ess_ray.cli.system" not in names


def test_each_command_has_a_line_of_its_own_in_the_list() -> None:
    listed = CliRunner().invoke(main, ["--help"]).stdout.splitlines()
    for name, command in COMMANDS.items():
        assert f"  {name:<10}  {command.summary}" in listed
        assert command.summary[0].isupper()
        assert command.summary.endswith(".")
