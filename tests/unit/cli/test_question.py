"""Queries that begin with `-`, as options do: which are refused with advice, and that the advice works."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner

from ess_ray.cli import main
from tests.cli_contract import Contract, Ess, page


@pytest.mark.parametrize("command", ["search", "export", "explain", "count", "patterns", "tail"])
@pytest.mark.parametrize("query", ["-level:INFO", "-host:web-1", "-Code:5", "-timeout", "-t", "-(a OR b)"])
def test_a_query_that_looks_like_an_option_says_how_it_is_written(ess: Ess, command: str, query: str) -> None:
    for words in ((command, query), (command, "--since", "1d", query)):
        done = ess(*words)
        assert done.exit_code == 2
        assert done.stdout == ""
        assert f"ess {command} -- {shlex.quote(query)}`" in done.stderr
        assert f"ess {command} {shlex.quote('NOT ' + query[1:])}`" in done.stderr


def test_the_advice_works(ess: Ess, server: Contract, data_dir: Path) -> None:
    # `ess` puts its --data-dir last, which would stand behind the `--`.
    assert ess("search", "--data-dir", str(data_dir), "NOT level:INFO").exit_code == 0
    assert ess("search", "--since", "-1h", "-C5", "x").exit_code == 0
    assert ess("search", "-C", "5", "x", "--context=7").exit_code == 0
    assert ess("search", "-h").stdout.startswith("Usage:")
    assert [asked["query"] for asked in server.queries][:3] == ["NOT level:INFO", "x", "x"]


def test_behind_two_dashes_a_query_may_begin_with_one(
    server: Contract, contract: tuple[Contract, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ESS_URL", contract[1])
    done = CliRunner().invoke(main, ["search", "--since", "1d", "--", "-level:INFO"])
    assert done.exit_code == 0
    assert [asked["query"] for asked in server.queries] == ["-level:INFO"]


def test_hints_for_such_a_query_are_commands_that_run(
    server: Contract, contract: tuple[Contract, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ESS_URL", contract[1])
    hint = {"kind": "range", "text": "there are older ones", "query": None, "start": "2026-11-01T00:00:00Z"}
    server.pages = [{**page("done"), "hints": [hint]}]
    done = CliRunner().invoke(main, ["search", "--", "-level:INFO"])
    printed = done.stderr.splitlines()[-1].split()
    assert printed[-2:] == ["--", "-level:INFO"]
    assert CliRunner().invoke(main, shlex.split(" ".join(printed))[1:]).exit_code == 0
    assert server.queries[-1]["query"] == "-level:INFO"
