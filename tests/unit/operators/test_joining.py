"""How operators join: everything, all of several, one of several, what does not match."""

from __future__ import annotations

import pytest

from ess_ray.core.literals import ANYTHING, MAX_DEPTH, NOTHING, AllOf, AnyOf, Text
from ess_ray.core.operators import All, And, Contains, Equals, Exists, Node, Not, Or, decode_node
from ess_ray.core.query import Field
from tests.unit.operators.asked import rows_of, sought, travels_as, words

MESSAGE, LEVEL = Field("message"), Field("level")
GET, ORDERS, OUT = (Contains(MESSAGE, text, False) for text in ("GET", "rders", "timed out"))
ERROR = Equals(LEVEL, "ERROR", False)


@pytest.mark.parametrize(
    ("node", "rows"),
    [
        (All(), [0, 1, 2]),
        (Not(All()), []),
        (And(()), [0, 1, 2]),
        (Or(()), []),
        (And((ORDERS, ERROR)), [1]),
        (And((Not(GET), Not(OUT))), [2]),
        (Or((GET, ERROR)), [0, 1]),
        (Or((GET, OUT, Contains(MESSAGE, "nothing", False))), [0, 1]),
        (Not(Or((GET, ERROR))), [2]),
        (And((Or((GET, OUT)), Not(ERROR))), [0]),
    ],
)
def test_rows(node: Node, rows: list[int]) -> None:
    assert rows_of(node) == rows


def test_what_a_block_must_hold() -> None:
    assert And((GET, ERROR, OUT)).needs() == AllOf((GET.needs(), ERROR.needs(), OUT.needs()))
    assert Or((GET, OUT)).needs() == AnyOf((Text(b"get"), Text(b"timed out")))
    assert Or((GET, Not(OUT))).needs() == ANYTHING
    assert Or(()).needs() == NOTHING
    assert All().needs() == Not(GET).needs() == ANYTHING
    assert And((GET,)).needs(MAX_DEPTH) == Or((GET,)).needs(MAX_DEPTH) == ANYTHING


def test_which_bytes_are_sought() -> None:
    assert sought(And((GET, ERROR, OUT))) == [([b"GET"], False), ([b"timed out"], False)]
    assert sought(Or((GET, OUT))) == [([b"GET", b"timed out"], False)]
    assert sought(Or((GET, ERROR))) == sought(Not(GET)) == sought(All()) == sought(Or(())) == []


def test_what_is_tested_and_read() -> None:
    node = And((GET, Or((ERROR, Not(Exists(Field("k", attribute=True))))), All()))
    assert list(node.tested()) == [GET, ERROR, Exists(Field("k", attribute=True))]
    assert node.columns() == {"message", "level", "attributes"}
    assert All().columns() == frozenset()


def test_costs_add_up() -> None:
    assert And((GET, ERROR)).cost() == Or((ERROR, GET)).cost() == GET.cost() + Not(ERROR).cost()
    assert All().cost() == 0


def test_in_words() -> None:
    get, error = words(GET), words(ERROR)
    assert words(All()) == "everything"
    assert words(And((GET, Not(ERROR)))) == f"{get} AND NOT {error}"
    assert words(Not(Or((GET, ERROR)))) == f"NOT ({get} OR {error})"
    assert words(Or((GET, And((GET, ERROR))))) == f"{get} OR ({get} AND {error})"
    assert words(Not(And((GET,)))) == f"NOT {get}"


def test_its_json_is_for_ever() -> None:
    level = ["exists", "level", False]
    node = And((All(), Or((Exists(LEVEL), Not(Exists(LEVEL)))), And(())))
    assert travels_as(node, ["and", ["all"], ["or", level, ["not", level]], ["and"]])


@pytest.mark.parametrize(
    "value",
    [
        *(None, "and", [], {}, ["all", 1], ["not"], ["not", ["all"], ["all"]], ["and", "all"], ["other"], [["all"]]),
        *(["exists", "k"], ["exists", 1, True], ["exists", "k", 1], ["contains", "k", True, "a"]),
        *(["equals", "k", True, "a", None], ["compare", "k", True, "=", "1"], ["compare", "k", True, "<", "one"]),
        ["compare", "k", True, "<", 1],
    ],
)
def test_what_is_no_node_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match=r"."):
        decode_node(value)
