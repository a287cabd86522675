"""`ess keys`: what is told of the first key, and whose a key is."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from ess_ray.cli import main
from ess_ray.cli.client import Client, Target
from ess_ray.core.errors import BadRequest
from ess_ray.settings import Settings
from tests.cli_contract import Contract, Ess


def create(folder: Path, *arguments: str) -> Result:
    command = ["keys", "create", "--data-dir", str(folder), *arguments]
    return CliRunner().invoke(main, command, catch_exceptions=False)


def test_the_first_key_tells_whose_the_events_are_that_are_there(tmp_path: Path) -> None:
    first = create(tmp_path, "--scope", "search", "--scope", "push")
    assert first.exit_code == 0
    assert len(first.stdout.splitlines()) == 1  # so that ESS_KEY=$(...) is the key alone
    assert "It is the first key" in first.stderr
    assert "belong to the tenant default, and this key finds them." in first.stderr
    second = create(tmp_path, "--scope", "search")
    assert "first key" not in second.stderr


@pytest.mark.parametrize("arguments", [("--tenant", "shop", "--scope", "search"), ("--scope", "push")])
def test_a_first_key_that_does_not_find_them_names_the_command_for_one_that_does(
    tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    first = create(tmp_path, *arguments)
    assert "belong to the tenant default." in first.stderr
    command = shlex.split(next(line for line in first.stderr.splitlines() if "ess keys create" in line))
    made = CliRunner().invoke(main, command[1:], catch_exceptions=False)
    assert made.exit_code == 0
    assert "for search of tenant default" in made.stderr


def test_whose_a_key_is(server: Contract, ess: Ess) -> None:
    assert ess("keys", "show").stdout == "tenant default; no key is needed here\n"
    server.whose = {"tenant": "shop", "key": {"id": "0123456789ab", "name": "agents", "scopes": ["push", "search"]}}
    assert ess("keys", "show").stdout == "tenant shop\nkey 0123456789ab (agents) for push, search\n"


def test_a_list_of_keys_holds_in_80_columns_and_its_ids_can_be_copied(tmp_path: Path) -> None:
    scopes = ("--scope", "push", "--scope", "search", "--scope", "admin")
    assert (
        create(tmp_path, *scopes, "--tenant", "t" * 63, "--name", "the agents of all shops of the north").exit_code == 0
    )
    where = ["--data-dir", str(tmp_path)]
    (key,) = json.loads(CliRunner().invoke(main, ["keys", "list", "--json", *where]).stdout)
    assert CliRunner().invoke(main, ["keys", "revoke", key["id"], *where]).exit_code == 0
    listed = CliRunner().invoke(main, ["keys", "list", *where]).stdout
    assert max(map(len, listed.splitlines())) <= 80
    assert key["id"] in listed


@pytest.mark.parametrize("around", ["{}\r", "{}\r\n", " \t{}\n", "{} ", "\ufeff{}", "{}\u00a0"])
def test_white_space_around_a_key_is_no_part_of_it(
    ess: Ess, server: Contract, monkeypatch: pytest.MonkeyPatch, around: str
) -> None:
    monkeypatch.setenv("ESS_KEY", around.format("ess_secret"))
    assert ess("keys", "show").exit_code == 0
    assert server.authorizations == ["Bearer ess_secret"]


@pytest.mark.parametrize("blank", ["", "\r\n", "  "])
def test_an_empty_key_is_none(ess: Ess, server: Contract, monkeypatch: pytest.MonkeyPatch, blank: str) -> None:
    monkeypatch.setenv("ESS_KEY", blank)
    assert ess("keys", "show").exit_code == 0
    assert server.authorizations == [None]


@pytest.mark.parametrize(
    ("key", "what"),
    [
        ("ess_kéy_rest", "not ASCII"),
        ("ess_k\udce9y_rest", "not ASCII"),
        ("ess_k\r\nX-Other: rest", "a control character"),
        ("ess_k y_rest", "white space"),
        ("ess_k\x7fy_rest", "a control character"),
    ],
)
@pytest.mark.parametrize("command", [("count",), ("push", "-"), ("keys", "show"), ("doctor",)])
def test_what_can_be_no_key_is_refused_with_what_is_wrong_and_never_printed(
    ess: Ess, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...], key: str, what: str
) -> None:
    monkeypatch.setenv("ESS_KEY", key)
    done = ess(*command, stdin="x\n")
    assert done.exit_code == 2
    assert what in done.stderr
    assert "key" in done.stderr
    assert "ess_k" not in done.output
    assert "rest" not in done.output
    assert "nothing answers" not in done.stderr


def test_a_header_that_cannot_be_sent_is_not_printed(contract: tuple[Contract, str]) -> None:
    with Client(Target(Settings(), contract[1], "--url")) as client, pytest.raises(BadRequest) as raised:
        client.call("GET", "/search/v1/key", headers={"Authorization": "Bearer ess_secret\r"})
    assert "ess_secret" not in raised.value.message
    assert raised.value.__cause__ is None
