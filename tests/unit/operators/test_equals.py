"""A field that is a text, or an attribute that is a number."""

from __future__ import annotations

import pytest

from ess_ray.core.literals import ANYTHING, AnyOf, Holds, Text
from ess_ray.core.operators import Contains, Equals
from ess_ray.core.query import Field
from tests.unit.operators.asked import rows_of, sought, travels_as, words

MESSAGE, LEVEL, N = Field("message"), Field("level"), Field("n", attribute=True)


@pytest.mark.parametrize(
    ("node", "rows"),
    [
        (Equals(LEVEL, "error", True), [1]),
        (Equals(LEVEL, "error", False), []),
        (Equals(MESSAGE, "", False), [2]),
        (Equals(Field("severity_number"), "17", False), [1]),
        (Equals(N, "1.5", False), [0, 1]),
        (Equals(N, "1.500", False), [0]),  # the other one is no number
        (Equals(Field("tags", attribute=True), "2", False), [0]),
        (Equals(Field("tags", attribute=True), "a", False), [0]),
        (Equals(Field("k", attribute=True), "", False), []),
    ],
)
def test_it_finds(node: Equals, rows: list[int]) -> None:
    assert rows_of(node) == rows


def test_a_block_must_hold_the_value_however_it_is_written() -> None:
    assert Equals(LEVEL, "ERROR", True).needs() == Holds(LEVEL, b"error")
    assert Equals(N, "1.50", False).needs() == AnyOf((Holds(N, b"1.5"), Holds(N, b"1.50")))
    assert Equals(N, "1.5", False).needs() == Holds(N, b"1.5")
    assert Equals(MESSAGE, "Whole", False).needs() == Text(b"whole")
    assert Equals(Field("severity_number"), "17", False).needs() == ANYTHING


def test_its_bytes_are_sought_in_messages_alone() -> None:
    assert sought(Equals(MESSAGE, "Whole", False)) == [([b"Whole"], False)]
    assert sought(Equals(LEVEL, "ERROR", True)) == []


def test_it_costs_less_than_to_seek_a_text() -> None:
    assert Equals(LEVEL, "a", False).cost() < Contains(LEVEL, "a", False).cost()
    assert Equals(LEVEL, "a", True).cost() == Contains(LEVEL, "a", True).cost()


def test_in_words() -> None:
    assert words(Equals(LEVEL, "INFO", False)) == "level is <INFO>"
    assert words(Equals(LEVEL, "INFO", True)) == "level is <INFO> (any case)"


def test_its_json_is_for_ever() -> None:
    assert travels_as(Equals(LEVEL, "INFO", True), ["equals", "level", False, "INFO", True])
