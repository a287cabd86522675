"""A text in a field."""

from __future__ import annotations

import pytest

from ess_ray.core.literals import ANYTHING, Holds, Text
from ess_ray.core.operators import Contains, Not, Or, Regex
from ess_ray.core.operators.contains import MAX_ALTERNATION_CHARS, joined
from ess_ray.core.query import Field
from tests.unit.operators.asked import rows_of, sought, travels_as, words

MESSAGE, SERVICE, N = Field("message"), Field("service"), Field("n", attribute=True)


@pytest.mark.parametrize(
    ("node", "rows"),
    [
        (Contains(MESSAGE, "Orders", False), [1]),
        (Contains(MESSAGE, "Orders", True), [0, 1]),
        (Contains(MESSAGE, "", False), [0, 1, 2]),
        (Contains(SERVICE, "a", True), [0, 2]),
        (Not(Contains(SERVICE, "a", True)), [1]),
        (Contains(N, "1.5", False), [0, 1]),
        (Contains(Field("tags", attribute=True), "2.0", False), [0]),
        (Contains(MESSAGE, "x" * 5_000, False), []),
    ],
)
def test_it_finds(node: Contains, rows: list[int]) -> None:
    assert rows_of(node) == rows


def test_a_block_must_hold_its_folded_text_or_its_field() -> None:
    assert Contains(MESSAGE, "TimeOut", False).needs() == Text(b"timeout")
    assert Contains(MESSAGE, "", False).needs() == ANYTHING
    assert Contains(SERVICE, "a", True).needs() == Holds(SERVICE, None)
    assert Contains(Field("log_id"), "a", True).needs() == ANYTHING


def test_its_bytes_are_sought_in_messages_alone() -> None:
    assert sought(Contains(MESSAGE, "Reset", False)) == [([b"Reset"], False)]
    assert sought(Contains(MESSAGE, "diSk", True)) == [([b"di"], False), ([b"disk"], True)]
    assert sought(Contains(MESSAGE, "né", False)) == [(["né".encode()], False), ([], True)]
    assert sought(Contains(SERVICE, "Reset", False)) == []


def test_ignoring_case_and_long_texts_cost_more() -> None:
    exact, any_case = Contains(SERVICE, "a", False), Contains(SERVICE, "a", True)
    assert exact.cost() < any_case.cost() < Contains(MESSAGE, "a", True).cost()
    assert exact.cost() < Contains(N, "a", False).cost()


def test_alternatives_of_one_field_become_one_pattern() -> None:
    leaves = [Contains(MESSAGE, text, True) for text in ("a", "b.", "c")]
    other = Contains(SERVICE, "a", True)
    assert joined([*leaves, other]) == [Regex(MESSAGE, r"a|b\.|c", True), other]
    assert joined(leaves[:2]) == leaves[:2]
    long = Contains(MESSAGE, "x" * (MAX_ALTERNATION_CHARS + 1), True)
    assert joined([long, *leaves])[0] == long
    assert rows_of(Or((Contains(MESSAGE, "17", False), Contains(MESSAGE, "out", False)))) == [0, 1]


def test_in_words() -> None:
    assert words(Contains(SERVICE, "a b", False)) == "service contains <a b>"
    assert words(Contains(SERVICE, "a b", True)) == "service contains <a b> (any case)"


def test_its_json_is_for_ever() -> None:
    assert travels_as(Contains(N, "a", True), ["contains", "n", True, "a", True])
