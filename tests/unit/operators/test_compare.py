"""A field compared with a number."""

from __future__ import annotations

import math
from decimal import Decimal

import pyarrow as pa
import pytest

from ess_ray.core.literals import ANYTHING, Holds
from ess_ray.core.operators import Compare, Equals
from ess_ray.core.operators.compare import Comparison, Number, compare_integers
from ess_ray.core.query import Field
from tests.unit.operators.asked import rows_of, sought, travels_as, words

NUMBER, N = Field("severity_number"), Field("n", attribute=True)


@pytest.mark.parametrize(
    ("node", "rows"),
    [
        (Compare(NUMBER, ">=", 17), [1]),
        (Compare(NUMBER, "<", Decimal("16.5")), [0]),
        (Compare(N, ">", 1), [0, 1]),
        (Compare(N, ">", Decimal("1.5")), []),
        (Compare(Field("tags", attribute=True), ">=", 2), [0]),
        (Compare(Field("message"), ">", 0), []),
        (Compare(Field("k", attribute=True), ">", -math.inf), []),
    ],
)
def test_it_finds(node: Compare, rows: list[int]) -> None:
    assert rows_of(node) == rows


@pytest.mark.parametrize(
    ("op", "number", "passed"),
    [
        (">", 2**53, [False, True, True, None]),
        (">=", Decimal("9007199254740992.5"), [False, True, True, None]),
        ("<", 2**63, [True, True, True, None]),
        (">", -(10**30), [True, True, True, None]),
        ("<=", -math.inf, [False, False, False, None]),
    ],
)
def test_integers_are_compared_exactly(op: Comparison, number: Number, passed: list[bool | None]) -> None:
    values = pa.array([2**53, 2**53 + 1, 2**63 - 1, None], pa.int64())
    assert [bool(one) for one in compare_integers(values, op, number).to_pylist()] == [bool(one) for one in passed]


def test_a_block_must_have_the_field_and_no_bytes_are_sought() -> None:
    assert Compare(N, ">", 1).needs() == Holds(N, None)
    assert Compare(NUMBER, ">", 1).needs() == ANYTHING
    assert sought(Compare(Field("message"), ">", 1)) == []


def test_it_costs_less_than_a_comparison_of_texts() -> None:
    assert Compare(N, ">", 1).cost() < Equals(N, "1", False).cost()


def test_in_words() -> None:
    assert words(Compare(NUMBER, ">=", Decimal("17.50"))) == "severity_number >= 17.50"


def test_its_json_is_for_ever() -> None:
    assert travels_as(Compare(N, ">=", Decimal("17.50")), ["compare", "n", True, ">=", "17.50"])
    assert travels_as(Compare(NUMBER, "<", math.inf), ["compare", "severity_number", False, "<", "Infinity"])
