"""Statistics on the command line: `ess count --stats`, and `ess search` with stages behind the query."""

from __future__ import annotations

import json
from typing import Any

import click
import pytest

from ess_ray.cli.tables import print_table
from ess_ray.cli.when import Zone
from tests.cli_contract import Contract, Ess, page

COLUMNS = [
    {"name": "time", "type": "time"},
    {"name": "service", "type": "text"},
    {"name": "n", "type": "number"},
    {"name": "p95(ms)", "type": "number"},
]
ROWS: list[list[Any]] = [
    ["2026-11-24T10:00:00.000000Z", "pay\tx", 1234, 1.23456789],
    ["2026-11-24T10:05:00.000000Z", None, 1, None],
    ["2026-11-24T10:05:00.000000Z", "cart", 2, 12000.0],
]
QUERY = "level:ERROR | stats count() as n, p95(ms) by service every 5m"


def table_page(**more: Any) -> dict[str, Any]:
    return {**page("done"), "columns": COLUMNS, "rows": ROWS, "ignored": {"ms": 2}, "relative_error": {}, **more}


def test_a_pipe_prints_a_table(ess: Ess, server: Contract) -> None:
    server.pages = [page("running"), table_page()]
    done = ess("search", QUERY, "--since", "15m", "--tz", "Europe/Berlin", "--executor", "auto")
    assert done.exit_code == 0
    assert [line.split("\t")[1:] for line in done.stdout.splitlines()] == [
        ["pay\\tx", "1234", "1.23456789"],
        ["-", "1", "-"],
        ["cart", "2", "12000"],
    ]
    assert done.stdout.startswith("2026-11-24T11:00:00")
    assert "ms: 2 values are no numbers and were left out" in done.stderr
    assert server.queries == [{"query": QUERY, "start": "-15m", "time_zone": "Europe/Berlin", "executor": "auto"}]


def test_a_pipe_as_json_is_one_object(ess: Ess, server: Contract) -> None:
    server.pages = [table_page(incomplete=["virtual node 3 has no owner"], complete=False)]
    done = ess("search", QUERY, "--json")
    assert done.exit_code == 3
    told = json.loads(done.stdout)
    assert (told["columns"], told["rows"], told["ignored"]) == (COLUMNS, ROWS, {"ms": 2})
    assert not {"events", "cursor"} & set(told)
    assert "virtual node 3" in done.stderr


def test_what_is_wrong_in_a_stage_is_pointed_at(ess: Ess, server: Contract) -> None:
    done = ess("search", "a | stats median(x)")
    assert done.exit_code == 2
    assert "\n  a | stats median(x)\n            ^" in done.stderr


@pytest.mark.parametrize("options", [("--limit", "5"), ("--context", "2"), ("--order", "oldest")])
def test_options_for_rows_do_not_go_with_stages(ess: Ess, server: Contract, options: tuple[str, ...]) -> None:
    done = ess("search", QUERY, *options)
    assert done.exit_code == 2
    assert "are for rows" in done.stderr
    assert server.queries == []


def test_a_bar_that_is_text_is_searched_for(ess: Ess, server: Contract) -> None:
    server.pages = [page("done", "a | b"), page("done")]
    assert ess("search", '"x | stats y" a | b').exit_code == 0
    assert server.queries[0]["query"] == '"x | stats y" a | b'
    assert "limit" in server.queries[0]


def test_counts_have_statistics_beside_them(ess: Ess, server: Contract) -> None:
    bucket = {"start": None, "by": {"service": "pay"}, "count": 3, "stats": {"p95(ms)": 12.5, "max(ms)": None}}
    server.pages = [{**page("done"), "buckets": [bucket], "interval_s": None, "ignored": {"ms": 1}}]
    asked = ("--by", "service", "--stats", "p95(ms)", "--stats", "max(ms)", "--order-by", "p95(ms)")
    done = ess("count", *asked)
    assert done.exit_code == 0
    assert done.stdout == "pay\t3\t12.5\t-\n"
    assert "ms: 1 value is no number and was left out" in done.stderr
    assert (server.queries[0]["stats"], server.queries[0]["order_by"]) == (["p95(ms)", "max(ms)"], "p95(ms)")
    server.pages = [{**page("done"), "buckets": [bucket], "interval_s": None}]
    assert json.loads(ess("count", *asked, "--json").stdout) == bucket


def test_on_a_terminal_a_table_has_a_head_and_numbers_are_short(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "120")
    print_table(COLUMNS, ROWS, Zone())
    lines = click.unstyle(capsys.readouterr().out).splitlines()
    assert lines[0].split() == ["time", "service", "n", "p95(ms)"]
    assert lines[1].split()[-2:] == ["1,234", "1.23457"]
    assert lines[3].split()[-2:] == ["2", "12,000"]
