"""`ess push` tells at which times events are stored: those that were not theirs, and lines in which none was found."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from ess_ray.core.timestamps import format_timestamp, parse_timestamp_us
from tests.cli_contract import Contract, Ess

AHEAD = "stored at the time of receipt: timestamp is more than 600 s in the future"
OLD = "stored at the time of receipt: timestamp is more than 3650 days old"
FUTURE, PAST, KEPT = "2099-12-01T20:00:01Z", "2001-12-01T20:00:01Z", "2026-11-24T10:00:00Z"


def _reason(event: dict[str, Any]) -> str | None:
    at = str(event.get("timestamp", ""))
    return AHEAD if at.startswith("2099") else OLD if at.startswith("2001") else None


@pytest.fixture(autouse=True)
def _as_the_system_does(server: Contract) -> None:
    server.adjusts = _reason


@pytest.mark.parametrize(("at", "reason"), [(FUTURE, AHEAD), (PAST, OLD)])
@pytest.mark.parametrize("form", ["{at} ERROR x", '{{"timestamp":"{at}","message":"x"}}'])
def test_events_stored_at_the_time_of_receipt_are_told(ess: Ess, at: str, reason: str, form: str) -> None:
    before = format_timestamp(time.time_ns() // 1000)
    done = ess("push", "-", stdin=form.format(at=at))
    after = format_timestamp(time.time_ns() // 1000)
    assert done.exit_code == 0
    assert "1 accepted, 1 of them stored at the time of receipt, 0 rejected" in done.stdout
    assert f"1: {reason.partition(': ')[2]}" in done.stderr
    assert at[:10] not in done.stdout
    first, last = next(line for line in done.stdout.splitlines() if line.startswith("from")).split()[1::2]
    assert before <= first <= last <= after
    assert f"--since {first}" in done.stdout


def test_the_range_is_of_what_was_stored_also_for_programs(ess: Ess, tmp_path: Path) -> None:
    file = tmp_path / "app.log"
    file.write_text("".join(f"{at} x\n" for at in (PAST, KEPT, FUTURE)))
    told = json.loads(ess("push", str(file), "--json").stdout)
    assert (told["accepted"], told["adjusted"], told["start"]) == (3, 2, "2026-11-24T10:00:00.000000Z")
    assert told["adjustments"] == [{"position": 1, "reason": OLD}, {"position": 3, "reason": AHEAD}]
    assert abs(parse_timestamp_us(told["end"]) - time.time_ns() // 1000) < 60_000_000
    assert "2099" not in told["search"]
    assert "2001" not in told["search"]


def test_more_than_the_system_names_are_counted_and_leave_the_range(ess: Ess, server: Contract) -> None:
    server.most_named = 2
    lines = [f"{PAST} a", f"{FUTURE} a", f"2099-12-02T00:00:00Z b{KEPT}", f"{PAST} c", f"{KEPT} d"]
    told = json.loads(ess("push", "-", "--json", stdin="\n".join(lines)).stdout)
    assert (told["adjusted"], len(told["adjustments"])) == (4, 2)
    assert told["start"] == "2026-11-24T10:00:00.000000Z"
    assert told["end"] < "2099"


def test_what_was_rejected_is_not_in_the_range(ess: Ess) -> None:
    lines = [f'{{"timestamp":"{KEPT}","message":"a"}}', '{"timestamp":"2026-11-20T10:00:00Z","message":"bad"}']
    done = ess("push", "-", "--json", stdin="\n".join(lines))
    told = json.loads(done.stdout)
    assert (told["rejected"], told["start"], told["end"]) == (1, *["2026-11-24T10:00:00.000000Z"] * 2)


def test_generated_events_that_are_stored_at_the_time_of_receipt_are_told(ess: Ess) -> None:
    done = ess("generate", "--events", "5", "--end", FUTURE)
    assert "5 of them stored at the time of receipt" in done.stdout
    told = json.loads(ess("generate", "--events", "5", "--end", FUTURE, "--json").stdout)
    assert told["adjusted"] == 5


def test_lines_in_which_no_time_was_found_are_told_with_an_example(ess: Ess, tmp_path: Path) -> None:
    file = tmp_path / "app.log"
    file.write_text("05/10/2026 20:06:00 WARN a\n05/10/2026 20:06:01 WARN b\x1b\n")
    done = ess("push", str(file), "--json")
    assert done.exit_code == 0
    assert "no time was found in 2 lines, such as line 1: 05/10/2026 20:06:00 WARN a" in done.stderr
    told = json.loads(done.stdout)
    assert told["no_time"] == 2
    assert told["no_time_example"] == {"position": 1, "line": "05/10/2026 20:06:00 WARN a"}
    with file.open("a") as out:
        out.write("05/10/2026 20:06:02 WARN c\n")
    assert "no time was found in 1 line, such as line 3: 05/10/2026 20:06:02 WARN c" in ess("push", str(file)).stderr


def test_a_line_that_goes_on_with_the_one_before_is_not_told(ess: Ess) -> None:
    done = ess("push", "-", "--json", stdin=f"{KEPT} ERROR x\n\tat com.acme.Foo(Foo.java:12)\n  10 more\n{KEPT} y\n")
    told = json.loads(done.stdout)
    assert (told["no_time"], told["no_time_example"]) == (0, None)
    assert "no time" not in done.stderr


def test_times_of_an_unknown_form_between_known_ones_are_told(ess: Ess) -> None:
    lines = ["before any", f"{KEPT} a", "05/10/2026 20:06:00 b", "\tat frame", f"{KEPT} c", "20261130T0200Z d"]
    told = json.loads(ess("push", "-", "--json", stdin="\n".join(lines)).stdout)
    assert (told["no_time"], told["no_time_example"]["line"]) == (3, "before any")


def test_json_without_a_time_is_the_systems_matter(ess: Ess) -> None:
    done = ess("push", "-", "--json", stdin='{"message":"a"}\n')
    assert json.loads(done.stdout)["no_time"] == 0
    assert "no time" not in done.stderr
