"""A regular expression in a field."""

from __future__ import annotations

import pytest

from ess_ray.core.errors import BadRequest
from ess_ray.core.literals import ANYTHING, AllOf, Holds, Text
from ess_ray.core.operators import Contains, Regex
from ess_ray.core.query import Field
from tests.unit.operators.asked import rows_of, sought, travels_as, words

MESSAGE, SERVICE = Field("message"), Field("service")


@pytest.mark.parametrize(
    ("node", "rows"),
    [
        (Regex(MESSAGE, r"took \d+", False), [0]),
        (Regex(MESSAGE, "^get", True), [0, 1]),
        (Regex(MESSAGE, "^$", False), [2]),
        (Regex(SERVICE, r"\Aa.*\z", False), [0]),
        (Regex(Field("n", attribute=True), r"^1\.5$", False), [1]),
        (Regex(Field("tags", attribute=True), "^a$", False), [0]),
    ],
)
def test_it_finds(node: Regex, rows: list[int]) -> None:
    assert rows_of(node) == rows


def test_what_re2_refuses_is_a_bad_request() -> None:
    with pytest.raises(BadRequest, match="RE2"):
        rows_of(Regex(MESSAGE, "(", False))


def test_a_block_must_hold_what_every_match_holds() -> None:
    assert Regex(MESSAGE, r"User=\d+7 ok", False).needs() == AllOf((Text(b"user="), Text(b"7 ok")))
    assert Regex(MESSAGE, "(a", False).needs() == ANYTHING
    assert Regex(SERVICE, "abc", False).needs() == Holds(SERVICE, None)


def test_the_bytes_of_every_match_are_sought_in_messages_alone() -> None:
    assert sought(Regex(MESSAGE, r"User=\d+7 ok", False)) == [([b"User="], False), ([b"7 ok"], False)]
    assert sought(Regex(MESSAGE, "time.?out", True)) == [([b"time"], False), ([b"out"], False)]
    assert sought(Regex(MESSAGE, "(a", False)) == []
    assert sought(Regex(SERVICE, "abc", False)) == []


def test_it_costs_as_much_as_a_text_that_is_sought() -> None:
    for ignore_case in (False, True):
        assert Regex(MESSAGE, "a", ignore_case).cost() == Contains(MESSAGE, "a", ignore_case).cost()


def test_in_words() -> None:
    assert words(Regex(SERVICE, r"\d+", False)) == r"service matches /\d+/"
    assert words(Regex(SERVICE, "a", True)) == "service matches /a/ (any case)"


def test_its_json_is_for_ever() -> None:
    assert travels_as(Regex(SERVICE, r"\d", False), ["regex", "service", False, r"\d", False])
