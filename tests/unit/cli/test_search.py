"""`ess search`, `count` and `fields`: what is asked, what is printed of the answers, and the exit codes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import click
import pytest

from ess_ray.cli.output import print_counts
from ess_ray.cli.when import Zone
from tests.cli_contract import Contract, Ess, page

DEADLINE_S = 30.0


# ------------------------------------------------------------------------------------------------------ search
def test_search_prints_rows_as_they_come(ess: Ess, server: Contract) -> None:
    server.pages = [page("running"), page("running", "one"), page("done", "two\x1b[31m"), page("done")]
    done = ess(
        "search",
        "error",
        "--since",
        "15m",
        "--until",
        "2026-11-24T10:00:00Z",
        "--limit",
        "7",
        "--order",
        "oldest",
        "--executor",
        "auto",
    )
    assert done.exit_code == 0
    assert done.stdout.splitlines() == [
        "2026-11-24T10:00:00.000000Z ERROR s one region=eu",
        "2026-11-24T10:00:00.000000Z ERROR s two\x1b[31m region=eu",
    ]
    assert server.queries == [
        {"query": "error", "start": "-15m", "end": "2026-11-24T10:00:00.000000Z", "limit": 7}
        | {"order": "oldest", "executor": "auto"}
    ]


@pytest.mark.parametrize("limit", [2, 1])  # fewer rows than asked for, and exactly as many
def test_a_search_that_ends_soon_is_one_request(ess: Ess, server: Contract, limit: int) -> None:
    server.pages = [page("done", "one"), page("done", "never asked for")]
    done = ess("search", "x", "--limit", str(limit))
    assert (done.exit_code, len(done.stdout.splitlines()), server.requests) == (0, 1, 1)


def test_a_count_that_ends_soon_is_one_request(ess: Ess, server: Contract) -> None:
    server.pages = [counted("done", bucket(None, 9), interval_s=None)]
    assert (ess("count").stdout, server.requests) == ("9\n", 1)


def test_search_json_is_one_event_a_line_whatever_it_holds(ess: Ess, server: Contract) -> None:
    message = "a\nb\u2028c\x85d\x0be \x00"
    server.pages = [page("done", message), page("done")]
    done = ess("search", "--since", "all", "--json")
    assert [json.loads(line)["message"] for line in done.stdout.splitlines()] == [message]
    assert server.queries[0]["start"] == 0
    assert "end" not in server.queries[0]


@pytest.mark.parametrize(
    ("last", "code", "said"),
    [
        (page("done", incomplete=("virtual node 3 has no owner",)), 3, "virtual node 3 has no owner"),
        (page("truncated", complete=True), 3, "cap"),
        (page("cancelled", complete=False), 3, "cancelled"),
        (page("done", complete=False), 3, "complete"),
        (page("failed", incomplete=("the store is gone",)), 1, "the store is gone"),
    ],
)
def test_an_answer_that_is_not_whole_says_so(
    ess: Ess, server: Contract, last: dict[str, Any], code: int, said: str
) -> None:
    server.pages = [page("running", "kept"), last]
    done = ess("search", "x", "--json")
    assert done.exit_code == code
    assert said in done.stderr
    assert "kept" in done.stdout


def test_a_wrong_query_is_pointed_at(ess: Ess) -> None:
    done = ess("search", "a AND (b")
    assert done.exit_code == 2
    lines = done.stderr.splitlines()
    assert lines[0] == "Error: a closing bracket is missing"
    assert lines[1][lines[2].index("^")] == "("


def test_a_wrong_time_is_2(ess: Ess) -> None:
    done = ess("search", "a", "--since", "last tuesday")
    assert done.exit_code == 2
    assert '"last tuesday" is no time' in done.stderr
    assert "today" in done.stderr
    done = ess("search", "a", "--tz", "Europe/Berlim")
    assert done.exit_code == 2
    assert "did you mean Europe/Berlin?" in done.stderr


@pytest.mark.parametrize(
    ("options", "asked"),
    [
        (["--since", "1h30m"], {"start": "-1h30m"}),
        (["--since", "1.5h"], {"start": "-1.5h"}),
        (["--since", "-15m"], {"start": "-15m"}),
        (["--since", "now-1h", "--until", "now"], {"start": "now-1h", "end": "now"}),
        (["--since", "500ms"], {"start": "-500ms"}),
        (["--since", "2026-07-20", "--tz", "UTC"], {"start": "2026-07-20T00:00:00.000000Z"}),
        (["--since", "2026-07-20", "--tz", "Europe/Berlin"], {"start": "2026-07-19T22:00:00.000000Z"}),
        (["--since", "2026-12-20 10:00", "--tz", "europe/berlin"], {"start": "2026-12-20T09:00:00.000000Z"}),
        (["--since", "2026-12-20 10:00", "--tz", "+05:30"], {"start": "2026-12-20T04:30:00.000000Z"}),
        (["--since", "2026-12-20 10:00", "--tz", "-3"], {"start": "2026-12-20T13:00:00.000000Z"}),
        (["--since", "2026-12-20 10:00Z", "--tz", "-3"], {"start": "2026-12-20T10:00:00.000000Z"}),
        (["--since", "0", "--until", "2026-12-20T10:00:00.000000999Z"], {"end": "2026-12-20T10:00:00.000001Z"}),
    ],
)
@pytest.mark.parametrize("command", ["search", "count"])
def test_ranges_are_asked_as_they_are_meant(
    ess: Ess, server: Contract, command: str, options: list[str], asked: dict[str, Any]
) -> None:
    server.pages = [counted("done", interval_s=None)]
    assert ess(command, "x", *options).exit_code == 0
    assert asked.items() <= server.queries[0].items()


def test_times_without_an_offset_are_this_machine_s(
    ess: Ess, server: Contract, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    try:
        done = ess("search", "x", "--since", "2026-07-20 10:00", "--until", "2026-07-21")
        named = Zone().name
    finally:
        monkeypatch.undo()
        time.tzset()
    assert server.queries[0]["start"] == "2026-07-20T14:00:00.000000Z"
    assert f"from 2026-07-20 10:00:00 to 2026-07-21 00:00:00 ({named})" in done.stderr
    assert named in ("local time, UTC-05:00", "local time, UTC-04:00")


def test_a_given_zone_is_that_of_what_is_shown_too(ess: Ess, server: Contract) -> None:
    server.pages = [page("done", "one"), page("done")]
    done = ess("search", "--tz", "Asia/Kolkata")
    assert done.stdout == "2026-11-24T15:30:00.000000+05:30 ERROR s one region=eu\n"
    assert "(Asia/Kolkata)" in done.stderr
    assert json.loads(ess("search", "--tz", "Asia/Kolkata", "--json").stdout)["timestamp"].endswith("10:00:00.000000Z")


@pytest.mark.parametrize(
    ("pages", "options", "says"),
    [
        ([page("done")], [], "nothing matches from 2026-11-24 10:00:00 to now (UTC)"),
        ([page("done", incomplete=("x",))], [], "nothing was found from"),
        ([page("done", "a"), page("done")], [], "1 row from 2026-11-24 10:00:00 to now (UTC), all that match"),
        ([page("done", "a"), page("done")], ["--limit", "1"], "there may be more: raise --limit 1"),
        ([page("done", "a"), page("done")], ["--since", "all"], "1 row from the beginning to now (UTC)"),
        ([page("done")], ["--until", "2026-11-25"], "to 2026-11-25 00:00:00 (UTC)"),
    ],
)
def test_what_was_looked_at_is_told(
    ess: Ess, server: Contract, pages: list[dict[str, Any]], options: list[str], says: str
) -> None:
    server.pages = pages
    done = ess("search", "--tz", "UTC", "--since", "2026-11-24 10:00", *options)
    assert says in done.stderr


def test_hints_come_with_the_command_to_copy(ess: Ess, server: Contract, data_dir: Path) -> None:
    hints = [
        {"kind": "empty_range", "text": "nothing lies there", "query": None, "start": "2026-11-20T10:00:00.000000Z"},
        {"kind": "no_such_field", "text": "no field db01", "query": None, "start": None},
        {"kind": "search_text", "text": "quote it", "query": '"db01:5432"', "start": None},
    ]
    server.pages = [{**counted("done", interval_s=None), "hints": hints}]
    options = ["--until", "2026-11-25", "--tz", "UTC"]
    done = ess("search", "db01:5432", *options, "--limit", "7", "--order", "oldest")
    here = f"--data-dir {data_dir}"
    assert done.stderr.splitlines()[1:] == [
        "hint: nothing lies there",
        f"  ess search db01:5432 --since 2026-11-20T10:00:00.000000Z --tz UTC --order oldest --limit 7 {here}",
        "hint: no field db01",
        "hint: quote it",
        f"""  ess search '"db01:5432"' --since 1h --until 2026-11-25 --tz UTC --order oldest --limit 7 {here}""",
    ]
    done = ess("count", "db01:5432", "--by", "level")
    assert f"""  ess count '"db01:5432"' --since 1h --by level --top 10 {here}""" in done.stderr.splitlines()


def _start(data_dir: Path, *arguments: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "ess_ray.cli", *arguments, "--data-dir", str(data_dir)]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment)


def test_an_interruption_cancels_the_query(server: Contract, data_dir: Path) -> None:
    server.pages = [page("running")]
    process = _start(data_dir, "search", "x", "--json")
    assert server.polled.wait(DEADLINE_S)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 3, errors
    assert server.cancelled.is_set()


def test_a_reader_that_leaves_cancels_the_query(server: Contract, data_dir: Path) -> None:
    server.pages = [page("running", "x" * 100_000)]
    process = _start(data_dir, "search", "x", "--json")
    assert process.stdout is not None
    process.stdout.read(10)
    process.stdout.close()
    assert process.wait(DEADLINE_S) == 0
    assert server.cancelled.is_set()
    assert process.stderr is not None
    assert process.stderr.read() == b""
    process.stderr.close()


# ------------------------------------------------------------------------------------------------------- counts
def counted(state: str, *buckets: dict[str, Any], interval_s: int | None = 60) -> dict[str, Any]:
    return {**page(state), "buckets": list(buckets), "interval_s": interval_s}


def bucket(start: str | None, count: int, other: bool = False, **by: str | None) -> dict[str, Any]:
    return {"start": start, "by": by, **({"other": True} if other else {}), "count": count}


def test_count_prints_what_was_counted_at_the_end(ess: Ess, server: Contract) -> None:
    one, two = bucket("10:00", 7, level="ERROR", host=None), bucket("10:00", 2, True, level=None, host=None)
    server.pages = [counted("running", one), counted("done", one, two)]
    options = ["--by", "level", "--by", "host", "--interval", "1m", "--top", "1", "--since", "2h", "--executor", "ray"]
    done = ess("count", "x", *options)
    assert done.exit_code == 0
    assert done.stdout.splitlines() == ["10:00\tERROR\t-\t7", "10:00\tother\tother\t2"]
    body = {"query": "x", "start": "-2h", "interval": "1m", "by": ["level", "host"], "top": 1, "executor": "ray"}
    assert server.queries == [body]
    done = ess("count", "--json")
    assert [json.loads(line) for line in done.stdout.splitlines()] == [one, two]
    server.pages = [counted("done", bucket(None, 9), interval_s=None)]
    assert ess("count").stdout == "9\n"


@pytest.mark.parametrize(
    ("last", "code"),
    [({"complete": False, "incomplete": ["an object is gone"]}, 3), ({"state": "failed", "complete": False}, 1)],
)
def test_a_count_that_is_not_whole_says_so(ess: Ess, server: Contract, last: dict[str, Any], code: int) -> None:
    server.pages = [{**counted("done", bucket(None, 9), interval_s=None), **last}]
    done = ess("count", "x")
    assert (done.exit_code, done.stdout) == (code, "9\n")
    assert "incomplete: " in done.stderr
    assert ess("count", "a AND (b").exit_code == 2


def test_fields_and_values(ess: Ess, server: Contract) -> None:
    assert ess("fields").stdout == "level\tcolumn\t30\n"
    assert server.queries == [{"query": "", "start": "-1h"}]
    assert ess("fields", "k8s.io/pod ü", "--query", "x", "--prefix", "a", "--until", "1m").stdout == "a\\tb\\n\t30\n"
    assert server.queries[1] == {"query": "x", "start": "-1h", "end": "-1m", "top": "10", "prefix": "a"}
    assert json.loads(ess("fields", "k8s.io/pod ü", "--json").stdout)["field"] == "k8s.io/pod ü"
    server.reasons = ["there is more"]
    assert ess("fields").exit_code == 3
    assert ess("fields", "--query", "(").exit_code == 2
    assert ess("fields", "--prefix", "a").exit_code == 2


def test_a_terminal_gets_a_table_that_values_cannot_drive(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "80")
    print_counts(["[bold]field"], [(["a\x1b[31m[red]"], 1200), (["b" * 500], 600)])
    shown = click.unstyle(capsys.readouterr().out)
    assert "[bold]field" in shown
    assert "a\\x1b[31m[red]" in shown
    assert "1,200" in shown
    assert max(len(line) for line in shown.splitlines()) <= 80


@pytest.mark.parametrize(
    ("options", "zone", "shown"),
    [
        ([], None, "2026-10-24T22:00:00.000000Z"),
        (["--tz", "europe/berlin"], "Europe/Berlin", "2026-10-25T00:00:00.000000+02:00"),
        (["--tz", "+05:30"], "UTC+05:30", "2026-10-25T03:30:00.000000+05:30"),
        (["--tz", "local"], "Asia/Tokyo", "2026-10-25T07:00:00.000000+09:00"),
    ],
)
def test_days_are_counted_and_shown_in_the_zone_that_was_asked_for(
    ess: Ess, server: Contract, monkeypatch: pytest.MonkeyPatch, options: list[str], zone: str | None, shown: str
) -> None:
    bucket = {"start": "2026-10-24T22:00:00.000000Z", "by": {}, "count": 3}
    server.pages = [{**page("done"), "buckets": [bucket], "interval_s": 86_400}]
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        done = ess("count", "--interval", "1d", *options)
    finally:
        monkeypatch.undo()
        time.tzset()
    assert done.exit_code == 0
    assert server.queries[0].get("time_zone") == zone
    assert done.stdout == f"{shown}\t3\n"
