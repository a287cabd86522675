"""What `ess up` prints once a system is ready: every line works when it is copied, with keys too."""

from __future__ import annotations

import shlex
import sys
from dataclasses import replace
from pathlib import Path

import click
import pytest

from ess_ray.cli import main
from ess_ray.cli.again import command_line
from ess_ray.cli.welcome import Ready, commands_to_try, told_to_try, told_where

OPEN = Ready(
    url="http://127.0.0.1:8000",
    dashboard_url="http://127.0.0.1:23109",
    token=Path("/tmp/ess-12345678/auth_token"),
    data_dir=Path("/home/somebody/ess-data"),
    closed=False,
    has_key=False,
    has_page=True,
    took_s=23.6,
)


def parsed(command: str) -> click.Context:
    """Read a printed `ess` command as click does; fails where it would be refused."""
    words = shlex.split(command)
    assert words[0] == "ess"
    found = main.get_command(click.Context(main), words[1])
    assert found is not None
    return found.make_context(words[1], words[2:], resilient_parsing=False)


def test_the_commands_are_ones_that_there_are() -> None:
    commands = list(commands_to_try(replace(OPEN, demo_events=20_000)))
    for command in commands:
        if not command.startswith("curl "):
            parsed(command)
    assert [command.partition(" ")[0] for command in commands] == ["ess", "ess", "curl", "ess"]


def test_what_is_tried_first_finds_what_was_made_up() -> None:
    first = next(commands_to_try(replace(OPEN, demo_events=1)))
    assert "level:ERROR" in first
    assert "hello" in next(command for command in commands_to_try(OPEN) if command.startswith("ess"))


def test_where_keys_are_wanted_the_commands_show_one() -> None:
    told = told_to_try(replace(OPEN, closed=True))
    assert "Authorization: Bearer $ESS_KEY" in told
    create = next(line for line in told.splitlines() if "keys create" in line)
    assert create.strip().startswith("export ESS_KEY=$(ess keys create --scope push --scope search")
    assert "keys create" not in told_to_try(replace(OPEN, closed=True, has_key=True))
    assert "ESS_KEY" not in told_to_try(OPEN)


def test_a_folder_with_spaces_is_one_word() -> None:
    told = told_to_try(replace(OPEN, closed=True, data_dir=Path("/home/some body/x")))
    assert "--data-dir '/home/some body/x'" in told


@pytest.mark.parametrize("ready", [OPEN, replace(OPEN, has_page=False)])
def test_80_columns_are_enough(ready: Ready) -> None:
    lines = [*told_where(ready).splitlines(), *told_to_try(replace(ready, demo_events=5)).splitlines()]
    assert max(map(len, lines)) <= 80


@pytest.mark.parametrize(
    ("called", "on_path", "words"),
    [
        ("ess", True, ["ess"]),
        ("ess", False, ["{folder}/ess"]),
        ("ess_ray/cli/__main__.py", True, [sys.executable, "-m", "ess_ray.cli"]),
        ("pytest", True, ["ess"]),
    ],
)
def test_a_printed_command_calls_the_program_that_printed_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, called: str, on_path: bool, words: list[str]
) -> None:
    script = tmp_path / called
    script.parent.mkdir(parents=True, exist_ok=True)
    script.touch(0o755)
    monkeypatch.setattr(sys, "argv", [str(script), "up"])
    monkeypatch.setenv("PATH", str(tmp_path) if on_path else "/nowhere")
    wanted = [word.format(folder=tmp_path) for word in words]
    assert command_line("search", "a b") == shlex.join([*wanted, "search", "a b"])
