"""Answers for assistants are of a bounded size, and say what was left out."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import SecretStr

from ess_ray.cli.assistants.cutting import cut_rows
from ess_ray.cli.client import Target
from ess_ray.cli.mcp_cmd import _as_asked
from ess_ray.settings import Settings


def test_rows_that_fit_are_whole() -> None:
    rows: list[Any] = [{"message": "a", "attributes": {"b": [1, None, "c"]}}, ["x", 2]]
    assert cut_rows(rows) == (rows, [])


def test_rows_beyond_the_room_are_counted() -> None:
    kept, told = cut_rows([{"message": "x" * 80}] * 10, max_chars=250)
    assert len(kept) == 2
    assert told == ["8 more rows were found but do not fit: narrow the query, the range, or ask for fewer"]


def test_a_row_behind_one_that_does_not_fit_is_left_out_too() -> None:
    """Else an answer would have holes that nobody sees."""
    kept, _ = cut_rows(["small", "x" * 100, "small"], max_chars=50)
    assert kept == ["small"]


def test_long_values_are_cut_at_any_depth() -> None:
    [row], told = cut_rows([{"a": {"b": ["y" * 30]}, "c": "z" * 10}], max_value_chars=10)
    assert row == {"a": {"b": ["y" * 10 + "[cut]"]}, "c": "z" * 10}
    assert told == ["1 values were longer than 10 characters and end in '[cut]'"]
    assert json.dumps(row)


@pytest.mark.parametrize(
    ("headers", "key"),
    [
        ({"authorization": "Bearer theirs"}, "theirs"),
        ({"authorization": "bearer  theirs "}, "theirs"),
        ({"authorization": "Basic theirs"}, None),
        ({}, None),
        (None, None),
    ],
)
def test_over_http_the_key_is_that_of_the_request(headers: dict[str, str] | None, key: str | None) -> None:
    target = Target(Settings(key=SecretStr("ours")), "http://127.0.0.1:1", "--url")
    found = _as_asked(target, headers).settings.key
    assert (None if found is None else found.get_secret_value()) == key
