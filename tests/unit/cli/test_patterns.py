"""Patterns on the command line."""

from __future__ import annotations

import json
from typing import Any

import click
import pytest

from ess_ray.cli.patterns_cmd import _print
from ess_ray.cli.tables import _chart
from ess_ray.cli.when import LOCAL, Range
from tests.cli_contract import Contract, Ess, page

NAMES = ("pattern", "count", "share", "first", "last", "example", "query", "new", "trend")
TYPES = ("text", "number", "number", "time", "time", "text", "text", "boolean", "numbers")
COLUMNS = [{"name": name, "type": kind} for name, kind in zip(NAMES, TYPES, strict=True)]
FIRST, LAST = "2026-11-24T10:00:00.000000Z", "2026-11-24T10:05:00.000000Z"
ROW: list[Any] = ["took <num> ms", 1200, 0.75, FIRST, LAST, "took 5 ms", "/took/", True, [0, 1, 7]]


def patterns_page(**more: Any) -> dict[str, Any]:
    return {**page("done"), "columns": COLUMNS, "rows": [ROW], "rows_total": 1, "patterns_total": 3, **more}


def test_patterns_are_lines_with_tabs(ess: Ess, server: Contract) -> None:
    server.pages = [page("running"), patterns_page()]
    done = ess("patterns", "level:ERROR", "--since", "1d", "--new-since", "15m", "--limit", "1", "--tz", "UTC")
    assert done.exit_code == 0
    (line,) = done.stdout.splitlines()
    assert line.split("\t")[:3] == ["took <num> ms", "1200", "0.75"]
    assert line.split("\t")[5:] == ["took 5 ms", "/took/", "yes", "0,1,7"]
    assert "1 of 3 patterns: --limit shows more" in done.stderr
    assert server.queries == [{"query": "level:ERROR", "start": "-1d", "limit": 1, "new_since": "-15m"}]


def test_as_json_it_is_one_object_and_an_incomplete_one_says_so(ess: Ess, server: Contract) -> None:
    server.pages = [patterns_page(incomplete=["virtual node 3 has no owner"], complete=False)]
    done = ess("patterns", "--json", "--executor", "auto")
    assert done.exit_code == 3
    told = json.loads(done.stdout)
    assert (told["columns"], told["rows"], told["patterns_total"]) == (COLUMNS, [ROW], 3)
    assert "virtual node 3" in done.stderr
    assert server.queries == [{"query": "*", "start": "-1h", "limit": 100, "executor": "auto"}]


def test_a_terminal_shows_what_it_has_room_for(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    _print(patterns_page(), Range("1h", None, LOCAL), with_new=True)
    shown = click.unstyle(capsys.readouterr().out)
    assert [line.split() for line in shown.splitlines()] == [
        ["count", "share", "trend", "new", "pattern"],
        ["1,200", "75.0", "%", "▁▂█", "yes", "took", "<num>", "ms"],
    ]


def test_a_chart_has_its_least_bar_for_nothing_alone() -> None:
    assert _chart([0, 1, 1000, 500]) == "▁▂█▅"
    assert _chart([0, 0]) == "▁▁"
    assert _chart([]) == ""
