"""`ess delete`: what it asks, what it sends, and what its exit code says."""

from __future__ import annotations

import json
from typing import Any

import pytest
from click.testing import CliRunner

from ess_ray.cli import main
from tests.cli_contract import Contract, Ess, page


def stands(state: str, **more: Any) -> dict[str, Any]:
    return {
        "id": "d1",
        "state": state,
        "rows_deleted": 12_345,
        "objects_rewritten": 3,
        "progress": {"objects_done": 1, "objects_total": 3},
        "complete": state == "done",
        "incomplete": [],
        "gone_by": "2026-12-01T00:00:00.000000Z",
        "bytes_gone": False,
        "beyond": ["the topic keeps it"],
        **more,
    }


@pytest.fixture(autouse=True)
def _pages(server: Contract) -> None:
    counted = {"buckets": [{"start": None, "by": {}, "count": 1_234}], "interval_s": None}
    server.pages = [{**page("done"), **counted}]
    server.deletion_pages = [stands("running", gone_by=None), stands("done")]


def test_it_asks_with_the_number_and_then_waits(ess: Ess, server: Contract) -> None:
    done = ess("delete", "user:4711", "--until", "2026-11-20", "--tz", "UTC", stdin="y\n")
    assert done.exit_code == 0, done.output
    assert "Delete 1,234 events from the beginning to 2026-11-20 00:00:00" in done.stderr
    assert done.stdout == "12,345 events deleted, 3 objects rewritten\n"
    assert "by 2026-12-01T00:00:00.000000Z" in done.stderr
    assert "out of reach: the topic keeps it" in done.stderr
    assert server.deletions == [{"query": "user:4711", "end": "2026-11-20T00:00:00.000000Z"}]


def test_without_a_yes_nothing_is_deleted(ess: Ess, server: Contract) -> None:
    for answer in ("n\n", "\n"):
        server.pages = [dict(server.pages[0])]
        assert ess("delete", "a", "--until", "now", stdin=answer).exit_code == 1
    assert server.deletions == []


def test_yes_does_not_ask_and_json_gives_the_last_page(ess: Ess, server: Contract) -> None:
    done = ess("delete", "a", "--since", "all", "--until", "now", "--yes", "--json")
    assert (done.exit_code, json.loads(done.stdout)) == (0, stands("done"))
    assert server.deletions == [{"query": "a", "start": 0, "end": "now"}]
    assert server.queries == []


@pytest.mark.parametrize(
    ("last", "code"),
    [
        (stands("done", complete=False, incomplete=["an object cannot be read"]), 3),
        (stands("failed", incomplete=["no query"]), 1),
    ],
)
def test_exit_codes(ess: Ess, server: Contract, last: dict[str, Any], code: int) -> None:
    server.deletion_pages = [last]
    done = ess("delete", "a", "--until", "now", "--yes")
    assert done.exit_code == code
    assert f"incomplete: {last['incomplete'][0]}" in done.stderr


def test_an_end_must_be_said(server: Contract) -> None:
    assert CliRunner().invoke(main, ["delete", "a", "--yes"]).exit_code == 2
    assert server.deletions == []
