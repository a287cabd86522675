"""The filter against the oracle, and questions as text against what they say."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ess_ray.core.errors import BadRequest
from ess_ray.core.event import EVENT_SCHEMA
from ess_ray.core.filter import filter_batch
from ess_ray.core.query import All, And, Contains, Equals, Exists, Field, Node, Not, Query, Range, Regex
from ess_ray.language import parse
from tests.examples import examples
from tests.property.oracle import (
    ALONE,
    ALPHABET,
    BOUNDS,
    LEVELS,
    ORBITS,
    PATTERNS,
    PYTHON,
    ROWS,
    T0_US,
    TEXTS,
    TREES,
    Pattern,
    fold,
    holds,
    regex_leaf,
    table_of,
    tables,
    value_holds,
    wanted,
)

MANY = settings(max_examples=examples(400), suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])


def agrees(query: Query, rows: list[dict[str, Any]], cuts: list[int]) -> None:
    expected = [index for index, row in enumerate(rows) if wanted(query, row)]
    whole = table_of(rows)
    assert filter_batch(whole, query).to_pylist() == expected
    needed = whole.select([name for name in EVENT_SCHEMA.names if name in query.columns()])
    assert filter_batch(needed, query).to_pylist() == expected
    bounds = [0, *sorted(min(cut, len(rows)) for cut in cuts), len(rows)]
    pieces = [whole.slice(a, b - a) for a, b in itertools.pairwise(bounds)]
    assert filter_batch(pa.concat_tables(pieces), query).to_pylist() == expected
    for start, piece in zip(bounds, pieces, strict=False):
        batch = piece.combine_chunks().to_batches()[0] if len(piece) else pa.RecordBatch.from_pylist([], EVENT_SCHEMA)
        inside = [index - start for index in expected if start <= index < start + len(piece)]
        assert filter_batch(batch, query).to_pylist() == inside


@MANY
@given(TREES, BOUNDS, BOUNDS, tables())
def test_the_filter_agrees_with_the_oracle(
    root: Node, start_us: int | None, end_us: int | None, table: tuple[list[dict[str, Any]], list[int]]
) -> None:
    agrees(Query(root, start_us, end_us), *table)


@MANY
@given(PATTERNS, st.booleans(), st.lists(TEXTS, min_size=1, max_size=8))
def test_regexes_agree_with_the_oracle(pattern: Pattern, ignore_case: bool, texts: list[str]) -> None:
    leaf = regex_leaf(Field("message"), pattern, ignore_case)
    found = filter_batch(pa.record_batch({"message": texts}), Query(leaf)).to_pylist()
    assert found == [i for i, text in enumerate(texts) if value_holds(leaf, text)]


@pytest.mark.parametrize("orbit", [*ORBITS, *ALONE])
def test_every_member_of_a_fold_orbit_finds_its_orbit_alone(orbit: str) -> None:
    batch = pa.record_batch({"message": list(ALPHABET)})
    expected = [i for i, char in enumerate(ALPHABET) if char in orbit]
    for char in orbit:
        for leaf in (Contains(Field("message"), char, True), Equals(Field("message"), char, True)):
            assert filter_batch(batch, Query(leaf)).to_pylist() == expected
        for leaf in (Contains(Field("message"), char, False), Equals(Field("message"), char, False)):
            assert filter_batch(batch, Query(leaf)).to_pylist() == [ALPHABET.index(char)]


# -------------------------------------------------------------------------------------------------- text to rows
Test = Callable[[dict[str, Any]], bool]
PLAIN = st.text(st.sampled_from("sSſkKaAåσςß1_.東\\"), min_size=1, max_size=3)


def in_order(pieces: list[str], text: str) -> bool:
    """Tell whether the pieces stand in the text one after the other: what `*` between them means."""
    at = 0
    for piece in pieces:
        found = text.find(piece, at)
        if found < 0:
            return False
        at = found + len(piece)
    return True


def word_term(pieces: list[str]) -> tuple[str, Test]:
    return "*".join(pieces), lambda row: in_order([fold(piece) for piece in pieces], fold(row["message"]))


def phrase_term(text: str) -> tuple[str, Test]:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"', lambda row: text in row["message"]


def prefix_term(text: str) -> tuple[str, Test]:
    return f"service:{text}*", lambda row: row["service"] is not None and row["service"].startswith(text)


def equal_term(text: str) -> tuple[str, Test]:
    leaf = Equals(Field("service", attribute=True), text, ignore_case=False)
    return f"attributes.service:{text}", lambda row: holds(leaf, row)


def range_term(low: int, high: int) -> tuple[str, Test]:
    def test(row: dict[str, Any]) -> bool:
        return holds(Range(Field("n", attribute=True), low, True, high, True), row)

    return f"n:[{low} TO {high}]", test


TERMS: st.SearchStrategy[tuple[str, Test]] = st.one_of(
    st.sampled_from(
        [
            ("*", lambda row: True),
            ("level:error", lambda row: row["level"] == "ERROR"),
            ("level:Warning", lambda row: row["level"] == "WARN"),
            ("severity_number:>=17", lambda row: row["severity_number"] is not None and row["severity_number"] >= 17),
            ("trace_id:*", lambda row: row["trace_id"] is not None),
            ("k:*", lambda row: holds(Exists(Field("k", attribute=True)), row)),
            (r"/^\d|a$/", lambda row: row["message"][:1] == "1" or row["message"][-1:] == "a"),
            ("/[sk]/i", lambda row: any(char in "sSſkK\u212a" for char in row["message"])),
        ]
    ),
    st.lists(PLAIN, min_size=1, max_size=2).map(word_term),
    TEXTS.map(phrase_term),
    PLAIN.map(prefix_term),
    PLAIN.map(equal_term),
    st.builds(range_term, st.integers(-4, 6), st.integers(5, 2000)),
)
QUESTIONS = st.recursive(
    TERMS,
    lambda inner: st.one_of(
        inner.map(lambda q: (f"NOT ({q[0]})", lambda row: not q[1](row))),
        inner.map(lambda q: (f"-({q[0]})", lambda row: not q[1](row))),
        st.tuples(inner, inner).map(lambda q: (f"({q[0][0]}) ({q[1][0]})", lambda row: q[0][1](row) and q[1][1](row))),
        st.tuples(inner, inner).map(
            lambda q: (f"({q[0][0]}) OR ({q[1][0]})", lambda row: q[0][1](row) or q[1][1](row))
        ),
    ),
    max_leaves=5,
)


@MANY
@given(QUESTIONS, st.lists(ROWS, max_size=10))
def test_text_finds_the_rows_it_means(question: tuple[str, Test], rows: list[dict[str, Any]]) -> None:
    text, test = question
    found = filter_batch(table_of(rows), Query(parse(text))).to_pylist()
    assert found == [index for index, row in enumerate(rows) if test(row)]


# ------------------------------------------------------------------------------------------------------ named cases
def test_integers_compare_exactly_where_floats_no_longer_can() -> None:
    batch = pa.record_batch({"offset": [2**53, 2**53 + 1, 2**63 - 1]})
    assert filter_batch(batch, Query(parse(f"_ess.offset:>{2**53}"))).to_pylist() == [1, 2]
    assert filter_batch(batch, Query(parse(f"_ess.offset:[{2**53 + 1} TO {2**63 - 2}]"))).to_pylist() == [1]
    assert filter_batch(batch, Query(parse("_ess.offset:<1e19"))).to_pylist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("n:>9007199254740992", ["9007199254740993", "9007199254740993.5", "1e300", "1e999"]),
        ("n:<=9007199254740992", ["9007199254740992", "0.1", "0.10000000000000000555", "-5"]),
        ("n:>=9007199254740993", ["9007199254740993", "9007199254740993.5", "1e300", "1e999"]),
        (
            "n:>0.1",
            ["9007199254740992", "9007199254740993", "9007199254740993.5", "0.10000000000000000555", "1e300", "1e999"],
        ),
        ("n:<=0.1", ["0.1", "-5"]),
        ("n:[9007199254740993 TO 9007199254740993]", ["9007199254740993"]),
        ("n:{1e300 TO *]", ["1e999"]),
        (
            "n:[* TO *]",
            [
                "9007199254740992",
                "9007199254740993",
                "9007199254740993.5",
                "0.1",
                "0.10000000000000000555",
                "-5",
                "1e300",
                "1e999",
            ],
        ),
    ],
)
def test_texts_that_are_numbers_compare_by_all_of_their_digits(query: str, found: list[str]) -> None:
    values = ["9007199254740992", "9007199254740993", "9007199254740993.5", "0.1", "0.10000000000000000555", "-5"]
    values += ["12ms", "", "1e300", "1e999"]
    batch = table_of([{"attributes": [("n", value)]} for value in values])
    assert [values[row] for row in filter_batch(batch, Query(parse(query))).to_pylist()] == found


def test_narrowing_changes_nothing_on_many_rows() -> None:
    messages = [f"{'err' if i % 7 == 0 else 'ok'} {i} {'x' if i % 3 else 'y'}" for i in range(5_000)]
    rows = [
        {"timestamp": T0_US + i, "message": m, "level": LEVELS[i % 4], "attributes": [("n", str(i))] if i % 2 else None}
        for i, m in enumerate(messages)
    ]
    root = parse("err level:error (n:>2500 OR y) -/1\\d*1/ OR NOT (ok OR x) n:[* TO 4000]")
    PYTHON[r"1\d*1", False] = re.compile(r"1\d*1", re.ASCII)
    query = Query(root, T0_US + 100, T0_US + 4_900)
    expected = [i for i, row in enumerate(rows) if wanted(query, row)]
    assert 10 < len(expected) < 1_000
    assert filter_batch(table_of(rows), query).to_pylist() == expected


@pytest.mark.parametrize("many", [2, 3, 1_200])
def test_many_alternatives_and_exclusions_mean_what_few_mean(many: int) -> None:
    numbers = [f"{n:04}" for n in range(many)]
    messages = [f"<{n:04}>" for n in range(many + 50)] + ["<", "s\u212a", ""]
    batch = pa.record_batch({"message": messages})
    hits = list(range(many))
    assert filter_batch(batch, Query(parse(" OR ".join(numbers)))).to_pylist() == hits
    excluding = " ".join(f"-{number}" for number in numbers)
    assert filter_batch(batch, Query(parse(f"{excluding} <"))).to_pylist() == list(range(many, many + 51))
    assert filter_batch(batch, Query(parse(f"ſk OR {' OR '.join(numbers)}"))).to_pylist() == [*hits, many + 51]
    assert filter_batch(batch, Query(parse('"a" OR "b" OR ""'))).to_pylist() == list(range(len(messages)))


def test_a_pattern_that_explodes_elsewhere_is_one_more_pattern_here() -> None:
    long = "a" * 200_000
    batch = pa.record_batch({"message": [long + "!", long, "!", ""]})
    assert filter_batch(batch, Query(Regex(Field("message"), "^(a+)+$", ignore_case=False))).to_pylist() == [1]
    assert filter_batch(batch, Query(Regex(Field("message"), "(a|aa)*(a|b)+!$", ignore_case=True))).to_pylist() == [0]


def test_a_pattern_that_re2_refuses_is_a_bad_request() -> None:
    with pytest.raises(BadRequest, match="RE2"):
        filter_batch(pa.record_batch({"message": ["x"]}), Query(Regex(Field("message"), "(", ignore_case=False)))


@pytest.mark.parametrize(
    "text", ["service:x", "service:x*", "service:/x/", "service:>1", "service:*", "k:x", "k:*", "k:>1"]
)
def test_a_field_that_is_null_does_not_match_and_its_negation_does(text: str) -> None:
    batch = table_of([{"timestamp": T0_US, "observed_timestamp": T0_US, "message": ""}] * 3)
    assert filter_batch(batch, Query(parse(text))).to_pylist() == []
    assert filter_batch(batch, Query(parse(f"NOT {text}"))).to_pylist() == [0, 1, 2]
    assert filter_batch(batch, Query(parse(f"NOT ({text} *)"))).to_pylist() == [0, 1, 2]
    for ignore_case in (False, True):
        leaf = Contains(Field("service"), "", ignore_case)
        assert filter_batch(batch, Query(leaf)).to_pylist() == []
        assert filter_batch(batch, Query(Not(leaf))).to_pylist() == [0, 1, 2]
        assert filter_batch(batch, Query(And((Not(leaf), Not(leaf))))).to_pylist() == [0, 1, 2]


def test_a_key_given_twice_has_its_last_value_and_a_null_map_has_none() -> None:
    pairs = pa.array(["k"] * 5), pa.array(["1", "2", "3", "4", None])
    # The second map is null, though the arrays below it hold pairs for it: Arrow allows that.
    maps = pa.MapArray.from_arrays([0, 2, 3, 5, 5], *pairs, mask=pa.array([False, True, False, False]))
    batch = pa.record_batch({"attributes": maps, "attribute_types": pa.nulls(4, pa.string())})
    for text, expected in (("k:2", [0]), ("k:1", []), ("k:3", []), ("k:4", []), ("k:*", [0, 2]), ("k:>0", [0])):
        assert filter_batch(batch, Query(parse(text))).to_pylist() == expected, text


def test_a_column_that_is_missing_is_named() -> None:
    with pytest.raises(KeyError, match="message"):
        filter_batch(pa.record_batch({"level": ["x"]}), Query(Contains(Field("message"), "x", ignore_case=False)))


def test_rows_without_columns_are_counted() -> None:
    table = pa.table({"message": ["a", "b", "c"]})
    assert filter_batch(table.select([]), Query()).to_pylist() == [0, 1, 2]
    assert filter_batch(table, Query(Not(All()))).to_pylist() == []
    assert filter_batch(table.slice(0, 0), Query()).type == pa.int64()
