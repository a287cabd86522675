"""A field that is there."""

from __future__ import annotations

import pytest

from ess_ray.core.literals import ANYTHING, Holds
from ess_ray.core.operators import Compare, Exists, Not
from ess_ray.core.query import Field
from tests.unit.operators.asked import rows_of, sought, travels_as, words

TRACE, K = Field("trace_id"), Field("k", attribute=True)


@pytest.mark.parametrize(
    ("node", "rows"),
    [
        (Exists(TRACE), [0]),
        (Not(Exists(TRACE)), [1, 2]),
        (Exists(Field("message")), [0, 1, 2]),
        (Exists(K), [1]),  # with a null value, even
        (Exists(Field("absent", attribute=True)), []),
    ],
)
def test_it_finds(node: Exists, rows: list[int]) -> None:
    assert rows_of(node) == rows


def test_of_attributes_it_asks_for_no_types() -> None:
    assert Exists(K).columns() == {"attributes"}
    assert Exists(TRACE).columns() == {"trace_id"}


def test_a_block_must_have_the_field_and_no_bytes_are_sought() -> None:
    assert Exists(K).needs() == Holds(K, None)
    assert Exists(Field("vnode")).needs() == ANYTHING
    assert sought(Exists(Field("message"))) == []


def test_nothing_costs_less() -> None:
    assert Exists(TRACE).cost() < Compare(TRACE, ">", 1).cost()


def test_in_words() -> None:
    assert words(Exists(TRACE)) == "trace_id is there"


def test_its_json_is_for_ever() -> None:
    assert travels_as(Exists(K), ["exists", "k", True])
