"""Fields that no event has, as a name written wrong: said, beside an answer that is empty or has an empty column."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.cli_contract import Contract, Ess, page

RANGE = ("--since", "2026-11-24", "--until", "2026-11-25", "--tz", "UTC")
NONE = "from 2026-11-24 00:00:00 to 2026-11-25 00:00:00 (UTC) has a field nosuch"


def test_a_field_without_values_is_said_to_be_none(ess: Ess, server: Contract) -> None:
    done = ess("fields", "nosuch", *RANGE)
    assert done.exit_code == 0
    assert done.stdout == ""
    assert f"no event {NONE}: `ess fields --since 2026-11-24 --until 2026-11-25 --tz UTC`" in done.stderr
    assert f"no event that matches {NONE}" in ess("fields", "nosuch", "--query", "x", *RANGE).stderr
    assert f"{NONE} with a value that begins with a" in ess("fields", "nosuch", "--prefix", "a", *RANGE).stderr
    done = ess("fields", "nosuch", "--json", *RANGE)
    assert json.loads(done.stdout)["values"] == []
    assert NONE in done.stderr
    assert "no event" not in ess("fields", "level", *RANGE).stderr
    server.reasons = ["an object is missing"]
    done = ess("fields", "nosuch", *RANGE)
    assert done.exit_code == 3
    assert f"{NONE} in what could be read" in done.stderr


@pytest.mark.parametrize(
    ("columns", "absent"),
    [
        (["nosuch"], ["nosuch"]),
        (["level", "timestamp", "host"], []),
        (["region", "attributes.region", "attributes.nosuch"], ["attributes.nosuch"]),
    ],
)
def test_a_column_that_no_event_has_is_said(ess: Ess, server: Contract, columns: list[str], absent: list[str]) -> None:
    server.named_fields = [{"name": "region", "kind": "attribute", "count": 3}]
    options = [part for column in columns for part in ("--column", column)]
    done = ess("export", "x", "--format", "csv", *options, *RANGE)
    assert done.exit_code == 0
    assert done.stdout == "level\nx\n"
    said = [line for line in done.stderr.splitlines() if line.startswith("no event")]
    assert [line.partition(" has a field ")[2].partition(":")[0] for line in said] == absent


def test_what_is_not_known_of_columns_is_not_said_and_stops_nothing(ess: Ess, server: Contract) -> None:
    server.reasons = ["there are more fields"]
    done = ess("export", "--format", "csv", "--column", "nosuch", *RANGE)
    assert (done.exit_code, done.stdout) == (0, "level\nx\n")
    assert "no event" not in done.stderr


def test_a_group_that_no_event_has_is_said(ess: Ess, server: Contract) -> None:
    def answer(**by: str | None) -> list[dict[str, Any]]:
        return [{**page("done"), "buckets": [{"start": None, "by": by, "count": 7}], "interval_s": None}]

    server.pages = answer(nosuch=None, level="INFO")
    done = ess("count", "--by", "nosuch", "--by", "level", *RANGE)
    assert NONE in done.stderr
    assert "field level" not in done.stderr
