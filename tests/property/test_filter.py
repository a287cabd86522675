"""The filter against an oracle that reads rows as Python values, one by one, and knows nothing of Arrow or RE2.

Case folding is written out as orbits over a small alphabet that has the awkward ones; regular expressions come from
the part of the syntax on which Python's `re` (told explicitly what RE2 means) and RE2 agree.
"""

from __future__ import annotations

import itertools
import math
import operator
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ess_ray.core.errors import BadRequest
from ess_ray.core.event import EVENT_SCHEMA
from ess_ray.core.filter import filter_batch
from ess_ray.core.query import All, And, Compare, Contains, Equals, Exists, Field, Node, Not, Or, Query, Regex
from ess_ray.language import parse

T0_US = 1_790_000_000_000_000

# RE2's (?i) takes the members of one orbit for the same; each other character stands alone.
ORBITS = ["sSſ", "kK\u212a", "aA", "åÅ\u212b", "σςΣ", "ßẞ", "\u01c6\u01c5\u01c4", "iI", "µμΜ", "éÉ", "𐐀𐐨"]
ALONE = 'ıİ1_-.*+?()[]{}|\\/^$" \n\0東'
# Levels, and no more, also hold ASCII letters that no orbit here has.
ALPHABET = "".join(ORBITS) + ALONE
FOLD = {char: orbit[0] for orbit in ORBITS for char in orbit}
LEVELS = ["ERROR", "WARN", "INFO", None]
NUMBER_TEXTS = ["12", "-3.5", "1e3", "+5", ".5", "5.", "-0", "1E-2", "1e999", "-1e999", "9" * 400, "1e-999"]
NO_NUMBERS = [" 5", "5 ", "5\n", "nan", "inf", "-inf", "1_0", "٣", "0x10", "", "-", ".", "1e", "e5", "12a", "1\0"]


def fold(text: str) -> str:
    return "".join(FOLD.get(char, char.lower() if char.isascii() else char) for char in text)


# ---------------------------------------------------------------------------------------------------------- oracle
def wanted(query: Query, row: dict[str, Any]) -> bool:
    time = row["timestamp"]
    in_range = (query.start_us is None or time >= query.start_us) and (query.end_us is None or time < query.end_us)
    return in_range and holds(query.root, row)


def holds(node: Node, row: dict[str, Any]) -> bool:
    match node:
        case All():
            return True
        case And(children):
            return all(holds(child, row) for child in children)
        case Or(children):
            return any(holds(child, row) for child in children)
        case Not(child):
            return not holds(child, row)
    if node.field.attribute:
        pairs = dict(row["attributes"] or ())
        if isinstance(node, Exists):
            return node.field.name in pairs
        value = pairs.get(node.field.name)
    else:
        value = row[node.field.name]
    return value is not None and value_holds(node, value)


def value_holds(node: Contains | Equals | Exists | Compare | Regex, value: str | int) -> bool:
    match node:
        case Exists():
            return True
        case Compare(_, op, number):
            compared = as_number(value)
            relations = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}
            # Against text, both sides are floats; against an integer column, the comparison is exact.
            bound = float(number) if isinstance(compared, float) else number
            return compared is not None and relations[op](compared, bound)
        case Equals(_, text, ignore_case):
            return fold(text) == fold(str(value)) if ignore_case else text == str(value)
        case Contains(_, text, ignore_case):
            return fold(text) in fold(str(value)) if ignore_case else text in str(value)
        case Regex(_, pattern, ignore_case):
            return PYTHON[pattern, ignore_case].search(str(value)) is not None


def as_number(value: str | int) -> float | int | None:
    if isinstance(value, int):
        return value
    if not value or set(value) - set("0123456789+-.eE"):
        return None
    try:
        return float(value)
    except ValueError:
        return None


# -------------------------------------------------------------------------------------------------------- patterns
@dataclass(frozen=True)
class Pattern:
    """One pattern in three spellings: RE2's, and Python's with and without the fold orbits written out."""

    re2: str
    exact: str
    folded: str


PYTHON: dict[tuple[str, bool], re.Pattern[str]] = {}
"""(RE2's pattern, ignoring case) -> Python's: filled as patterns are drawn."""


def orbit_of(char: str) -> str:
    return next((orbit for orbit in ORBITS if char in orbit), char)


def literal(char: str) -> Pattern:
    quoted = re.escape(char) if char != "\0" else r"\x00"
    return Pattern(quoted, quoted, "[" + "".join(map(re.escape, orbit_of(char))) + "]")


def char_class(chars: list[str], negated: bool) -> Pattern:
    def spelt(members: str) -> str:
        inside = "".join(f"\\x{ord(c):02x}" if ord(c) < 128 and not c.isalnum() else c for c in members)
        return f"[{'^' if negated else ''}{inside}]"

    exact = spelt("".join(chars))
    return Pattern(exact, exact, spelt("".join(map(orbit_of, chars))))


def same(re2: str, python: str | None = None, folded: str | None = None) -> Pattern:
    exact = re2 if python is None else python
    return Pattern(re2, exact, exact if folded is None else folded)


def joined(form: str, parts: list[Pattern]) -> Pattern:
    return Pattern(*(form.join(texts) for texts in zip(*((p.re2, p.exact, p.folded) for p in parts), strict=True)))


def wrapped(before: str, pattern: Pattern, after: str) -> Pattern:
    return Pattern(*(f"{before}{text}{after}" for text in (pattern.re2, pattern.exact, pattern.folded)))


CHARS = st.sampled_from(ALPHABET)
ATOMS = st.one_of(
    CHARS.map(literal),
    CHARS.map(literal),
    st.builds(char_class, st.lists(CHARS, min_size=1, max_size=4), st.booleans()),
    st.sampled_from(
        [
            same("."),
            same("^", r"\A"),
            same(r"\A"),
            same("$", r"\Z"),
            same(r"\z", r"\Z"),
            same(r"\b"),
            # No \B: RE2 also finds it between the bytes of one character, Python never in an empty text.
            same(r"\d"),
            # RE2 folds classes too: ignoring case, \w holds the long s and the Kelvin sign.
            same(r"\w", r"\w", "[0-9A-Za-z_ſ\u212a]"),
            same("(?s:.)"),
            same(r"[\s]"),
        ]
    ),
)
PATTERNS = st.recursive(
    ATOMS,
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=3).map(lambda parts: joined("", parts)),
        st.lists(inner, min_size=2, max_size=3).map(lambda parts: wrapped("(?:", joined("|", parts), ")")),
        st.builds(
            lambda part, how: wrapped("(?:", part, f"){how}"),
            inner,
            st.sampled_from(["*", "+", "?", "*?", "{2}", "{1,2}"]),
        ),
        inner.map(lambda part: wrapped("(", part, ")")),
    ),
    max_leaves=6,
)


def regex_leaf(field: Field, pattern: Pattern, ignore_case: bool) -> Regex:
    PYTHON[pattern.re2, ignore_case] = re.compile(pattern.folded if ignore_case else pattern.exact, re.ASCII)
    return Regex(field, pattern.re2, ignore_case)


# ------------------------------------------------------------------------------------------------------------ rows
TEXTS = st.text(CHARS, max_size=7)
OPTIONAL = st.none() | TEXTS
TIMES = st.integers(T0_US - 3, T0_US + 3)
KEYS = ["k", "n", "a.b", "service"]
VALUES = st.none() | TEXTS | st.sampled_from(NUMBER_TEXTS + NO_NUMBERS)
ROWS = st.fixed_dictionaries(
    {
        "timestamp": TIMES,
        "observed_timestamp": TIMES,
        "level": st.sampled_from(LEVELS),
        "severity_number": st.none() | st.integers(-2, 24),
        "service": OPTIONAL,
        "host": OPTIONAL,
        "message": TEXTS,
        "trace_id": st.sampled_from([None, "12", "5.", "x"]),
        "attributes": st.none() | st.lists(st.tuples(st.sampled_from(KEYS), VALUES), max_size=4),
        "offset": st.integers(0, 20) | st.integers(2**53 - 2, 2**53 + 3) | st.integers(2**63 - 3, 2**63 - 1),
        "log_id": st.just("log"),
        "vnode": st.integers(0, 3),
        "row": st.integers(0, 3),
    }
)


@st.composite
def tables(draw: st.DrawFn) -> tuple[list[dict[str, Any]], list[int]]:
    return draw(st.lists(ROWS, max_size=14)), draw(st.lists(st.integers(0, 14), max_size=2))


def table_of(rows: list[dict[str, Any]]) -> pa.Table:
    columns = [
        pa.array([row.get(field.name) for row in rows], pa.int64()).cast(field.type)
        if pa.types.is_timestamp(field.type)
        else pa.array([row.get(field.name) for row in rows], field.type)
        for field in EVENT_SCHEMA
    ]
    return pa.Table.from_arrays(columns, schema=EVENT_SCHEMA)


# ----------------------------------------------------------------------------------------------------------- trees
FIELDS = st.sampled_from(
    [Field("message")] * 3
    + [Field(name) for name in ("level", "service", "host", "trace_id", "severity_number", "offset", "timestamp")]
    + [Field(key, attribute=True) for key in (*KEYS, "absent")]
)
NUMBERS = (
    st.sampled_from([12.0, -3.5, 5, 0, 0.5, 10, 17, math.inf, -math.inf, math.nan, 2.0**53, 2.0**63, 1e300, T0_US])
    | st.floats(-5, 25)
    | st.integers(2**53 - 2, 2**53 + 2)
    | st.integers(2**63 - 2, 2**63)
)
EQUAL_TEXTS = TEXTS | st.sampled_from(["error", "ERROR", "12", "+5", "", str(T0_US), "x"])
LEAVES: st.SearchStrategy[Node] = st.one_of(
    st.just(All()),
    st.builds(Contains, FIELDS, st.text(CHARS, max_size=2), st.booleans()),
    st.builds(Contains, st.just(Field("message")), st.text(CHARS, max_size=2), st.booleans()),
    st.builds(Contains, st.just(Field("message")), st.text(CHARS, max_size=2), st.booleans()).map(Not),
    st.builds(Equals, FIELDS, EQUAL_TEXTS, st.booleans()),
    st.builds(regex_leaf, FIELDS, PATTERNS, st.booleans()),
    st.builds(Compare, FIELDS, st.sampled_from(["<", "<=", ">", ">="]), NUMBERS),
    st.builds(Exists, FIELDS),
)
LITERALS = st.builds(Contains, st.just(Field("message")), st.text(CHARS, max_size=2), st.booleans())
TREES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        inner.map(Not),
        st.lists(inner, max_size=4).map(lambda children: And(tuple(children))),
        st.lists(inner, max_size=4).map(lambda children: Or(tuple(children))),
        st.lists(LITERALS, max_size=4).map(lambda children: Or(tuple(children))),
        st.lists(LITERALS.map(Not), max_size=4).map(lambda children: And(tuple(children))),
    ),
    max_leaves=6,
)
BOUNDS = st.none() | TIMES
MANY = settings(
    max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)


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


def attribute(row: dict[str, Any], key: str) -> str | None:
    return dict(row["attributes"] or ()).get(key)


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
    return f"attributes.service:{text}", lambda row: attribute(row, "service") == text


def range_term(low: int, high: int) -> tuple[str, Test]:
    def test(row: dict[str, Any]) -> bool:
        number = as_number(attribute(row, "n") or "")
        return number is not None and low <= number <= high

    return f"n:[{low} TO {high}]", test


TERMS: st.SearchStrategy[tuple[str, Test]] = st.one_of(
    st.sampled_from(
        [
            ("*", lambda row: True),
            ("level:error", lambda row: row["level"] == "ERROR"),
            ("level:Warning", lambda row: row["level"] == "WARN"),
            ("severity_number:>=17", lambda row: row["severity_number"] is not None and row["severity_number"] >= 17),
            ("trace_id:*", lambda row: row["trace_id"] is not None),
            ("k:*", lambda row: "k" in dict(row["attributes"] or ())),
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
    assert filter_batch(batch, Query(parse(f"offset:>{2**53}"))).to_pylist() == [1, 2]
    assert filter_batch(batch, Query(parse(f"offset:[{2**53 + 1} TO {2**63 - 2}]"))).to_pylist() == [1]
    assert filter_batch(batch, Query(parse("offset:<1e19"))).to_pylist() == [0, 1, 2]


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
    batch = pa.record_batch({"attributes": maps})
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
