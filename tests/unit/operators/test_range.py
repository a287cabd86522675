"""A field whose number lies between two others."""

from __future__ import annotations

import json
import math
from decimal import Decimal

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ess_ray.core.event import ATTRIBUTES
from ess_ray.core.filter import filter_batch
from ess_ray.core.literals import ANYTHING, Holds
from ess_ray.core.operators import And, Compare, Equals, Node, Range
from ess_ray.core.query import Field, Query
from tests.unit.operators.asked import rows_of, sought, travels_as, words

NUMBER, N, TAGS = Field("severity_number"), Field("n", attribute=True), Field("tags", attribute=True)


@pytest.mark.parametrize(
    ("node", "rows"),
    [
        (Range(NUMBER, 9, True, 17, False), [0]),
        (Range(NUMBER, 9, False, 17, True), [1]),
        (Range(NUMBER, Decimal("8.5"), True, Decimal("17.5"), True), [0, 1]),
        (Range(NUMBER, 17, True, 9, True), []),
        (Range(N, 1, True, Decimal("1.5"), True), [0, 1]),
        (Range(N, 1, True, Decimal("1.5"), False), []),
        (Range(TAGS, 2, True, 2, True), [0]),
        (Range(Field("message"), -math.inf, True, math.inf, True), []),
    ],
)
def test_it_finds(node: Range, rows: list[int]) -> None:
    assert rows_of(node) == rows


def found_in_arrays(node: Node, arrays: list[list[int]]) -> list[int]:
    """Give which of the arrays, each under `n` in a row of its own, are found."""
    held = pa.array([[("n", json.dumps(array))] for array in arrays], ATTRIBUTES)
    rows = pa.table({"attributes": held, "attribute_types": ["j"] * len(arrays)})
    return filter_batch(rows, Query(node)).to_pylist()


def test_of_an_array_one_value_lies_within() -> None:
    arrays = [[1, 10], [1, 5, 10], [4], [6], []]
    assert found_in_arrays(Range(N, 4, True, 6, True), arrays) == [1, 2, 3]
    assert found_in_arrays(Range(N, 4, False, 6, False), arrays) == [1]
    assert found_in_arrays(And((Compare(N, ">=", 4), Compare(N, "<=", 6))), arrays) == [0, 1, 2, 3]


SMALL = st.integers(-4, 4)


@given(st.lists(st.lists(SMALL, max_size=4), min_size=1, max_size=5), SMALL, SMALL, st.booleans(), st.booleans())
def test_arrays_are_found_as_a_naive_oracle_does(
    arrays: list[list[int]], low: int, high: int, with_low: bool, with_high: bool
) -> None:
    within = {*range(low + 1, high), *([low] * with_low * (low < high)), *([high] * with_high * (low < high))}
    within |= {low} if low == high and with_low and with_high else set()
    found = [row for row, array in enumerate(arrays) if within & set(array)]
    assert found_in_arrays(Range(N, low, with_low, high, with_high), arrays) == found


def test_a_block_must_have_the_field_and_no_bytes_are_sought() -> None:
    assert Range(N, 1, True, 2, True).needs() == Holds(N, None)
    assert Range(NUMBER, 1, True, 2, True).needs() == ANYTHING
    assert sought(Range(Field("message"), 1, True, 2, True)) == []


def test_it_costs_less_than_two_comparisons_or_one_of_texts() -> None:
    cost = Range(N, 1, True, 2, True).cost()
    assert Compare(N, ">", 1).cost() < cost < min(2 * Compare(N, ">", 1).cost(), Equals(N, "1", False).cost())


def test_in_words() -> None:
    assert words(Range(NUMBER, 9, True, Decimal("17.50"), False)) == "9 <= severity_number < 17.50"
    assert words(Range(N, 9, False, 17, True)) == "9 < n <= 17"


def test_its_json_is_for_ever() -> None:
    assert travels_as(
        Range(N, Decimal("17.50"), True, Decimal(20), False), ["range", "n", True, "17.50", True, "20", False]
    )
    assert travels_as(
        Range(NUMBER, -math.inf, False, math.inf, True),
        ["range", "severity_number", False, "-Infinity", False, "Infinity", True],
    )
