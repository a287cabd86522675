"""The language against random input: no text breaks it, and every tree that can be written reads back as itself."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from decimal import Decimal

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ess_ray.core.attribute import canonical_number
from ess_ray.core.errors import QueryError
from ess_ray.core.query import All, And, Compare, Contains, Equals, Exists, Field, Node, Not, Or, Range, Regex
from ess_ray.language import field_term, name_of, parse, parse_time_us
from tests.examples import examples

PIECES = st.sampled_from(
    [
        "a",
        "AND",
        "OR",
        "NOT",
        "-",
        "(",
        ")",
        '"',
        "/",
        "/i",
        "\\",
        "*",
        ":",
        " ",
        "level:",
        "x.y:",
        "[1 TO 2]",
        ">=",
        "5",
        "timestamp:",
        "{",
        "TO",
        "(?",
        "\n",
        "\0",
        "ß",
        "\ud800",
        "id:",
        "[",
        "attributes.",
        "+",
        "{2}",
        "user-agent:",
        '"a b":',
        "@ts:",
        "n>",
        "::",
        ":\\",
    ]
)


@settings(max_examples=examples(400))
@given(st.one_of(st.text(st.characters(), max_size=60), st.lists(PIECES, max_size=30).map("".join)))
def test_text_is_read_or_refused_with_a_position(text: str) -> None:
    try:
        tree = parse(text)
    except QueryError as error:
        assert 0 <= error.position <= len(text)  # noqa: PT017 - a refusal is one of two right answers
    else:
        assert hash(tree) == hash(parse(text))


# ------------------------------------------------------------------------------------------------ trees and text
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
# Of keys, half need no quotes; all may be named like columns, or as clients send those.
NAMES = st.one_of(
    st.from_regex(r"\A[A-Za-z_@][\w.@/-]{0,8}\Z"),
    st.sampled_from(
        [
            "level",
            "id",
            "event_id",
            "attributes",
            "attributes.x",
            "msg",
            "@timestamp",
            "10:22",
            "C",
            "offset",
            "_ess.offset",
        ]
    ),
    TEXTS.filter(bool),
)
FIELDS = st.one_of(
    st.sampled_from([Field("service"), Field("message"), Field("severity_number"), Field("event_id"), Field("offset")]),
    NAMES.map(lambda name: Field(name, attribute=True)),
)
# Of visible characters that have no meaning of their own at a term's start.
WORDS = st.text(st.sampled_from("abzAZ09äß東._:@#=+-%\\'\"/<>"), min_size=1, max_size=10).map(lambda text: "w" + text)
NAMED = re.compile(r"w[\wäß東.@/-]*(:(?!:|//|\\)|[<>]=?[+-]?\d+(\.\d*)?([eE][+-]?\d+)?\Z)")


def is_word(text: str) -> bool:
    """No name with a value, and no name that lacks one."""
    return NAMED.match(text) is None


NUMBERS = st.decimals(allow_nan=False, allow_infinity=False)
LEAVES: st.SearchStrategy[Node] = st.one_of(
    st.just(All()),
    WORDS.filter(is_word).map(lambda text: Contains(Field("message"), text, True)),
    TEXTS.map(lambda text: Contains(Field("message"), text, False)),
    # A column of numbers is compared with a number as that is stored.
    st.builds(Equals, FIELDS, TEXTS.filter(lambda text: canonical_number(text) is None), st.just(False)),
    st.builds(Compare, FIELDS, st.sampled_from(["<", "<=", ">", ">="]), NUMBERS),
    st.builds(Range, FIELDS, NUMBERS, st.booleans(), NUMBERS, st.booleans()),
    st.builds(Exists, FIELDS),
    st.builds(Regex, FIELDS, st.sampled_from(["a", "a/b", r"\d+ /x", "(a|b)c", r"\\", " "]), st.booleans()),
)


def flat(kind: type[And] | type[Or], children: list[Node]) -> Node:
    """Build what parsing builds: no And within And, no Or within Or."""
    inner = [
        g
        for child in children
        for g in (child.children if isinstance(child, And | Or) and isinstance(child, kind) else (child,))
    ]
    return kind(tuple(inner))


def negated(child: Node) -> Node:
    return child.child if isinstance(child, Not) else Not(child)


TREES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        inner.map(negated),
        st.lists(inner, min_size=2, max_size=4).map(lambda children: flat(And, children)),
        st.lists(inner, min_size=2, max_size=4).map(lambda children: flat(Or, children)),
    ),
    max_leaves=12,
)


def written(node: Node, minus: bool) -> str:  # noqa: PLR0911 - one line per kind of node
    """Write a tree as text, with parentheses around every operator's operand."""
    match node:
        case And(children):
            return (" " if minus else " AND ").join(f"({written(child, minus)})" for child in children)
        case Or(children):
            return " OR ".join(f"({written(child, minus)})" for child in children)
        case Not(child):
            return f"-({written(child, minus)})" if minus else f"NOT ({written(child, minus)})"
        case All():
            return "*"
        case Contains(_, text, True):
            return text
        case Contains(_, text, False):
            return quoted(text)
        case Equals(field, text, _):
            return f"{named(field)}:{quoted(text)}"
        case Compare(field, op, number):
            return f"{named(field)}:{op}{number}"
        case Range(field, low, with_low, high, with_high):
            return f"{named(field)}:{'{['[with_low]}{low} TO {high}{'}]'[with_high]}"
        case Exists(field):
            return f"{named(field)}:*"
        case Regex(field, pattern, ignore_case):
            return f"{named(field)}:/{pattern.replace('/', chr(92) + '/')}/{'i' if ignore_case else ''}"


def named(field: Field) -> str:
    """Write a field's name, now in quotes that it may not need and now without those that it does not."""
    name = f"attributes.{field.name}" if field.attribute else name_of(field)
    bare = re.fullmatch(r"[^\W\d][\w.@/-]*", name) is not None
    return name if bare and len(name) % 2 else quoted(name)


def quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


@settings(max_examples=examples(200), suppress_health_check=[HealthCheck.too_slow])
@given(TREES, st.booleans())
def test_a_tree_written_as_text_reads_back_as_itself(tree: Node, minus: bool) -> None:
    assert parse(written(tree, minus)) == tree


@settings(max_examples=examples(300))
@given(NAMES, TEXTS)
def test_what_we_write_for_people_means_one_field_and_one_value(key: str, value: str) -> None:
    field = Field(key, attribute=True)
    assert parse(field_term(field, value)) == Equals(field, value, ignore_case=False)
    assert parse(f"-{field_term(field, value)}") == Not(Equals(field, value, ignore_case=False))


@settings(max_examples=examples(300))
@given(NAMES, st.sampled_from(["<", "<=", ">", ">="]), NUMBERS)
def test_a_comparison_needs_no_colon(key: str, op: str, number: Decimal) -> None:
    name = named(Field(key, attribute=True))
    assert parse(f"{name}{op}{number}") == parse(f"{name}:{op}{number}")


@settings(max_examples=examples(300))
@given(st.integers(10**17, 4 * 10**18), st.integers(-2_000, 2_000))
def test_a_bound_in_nanoseconds_holds_for_whole_microseconds(bound_ns: int, nearby_ns: int) -> None:
    seconds, nanoseconds = divmod(bound_ns, 10**9)
    written = f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{nanoseconds:09d}Z"
    bound_us = parse_time_us(written, 0)
    assert bound_us == parse_time_us(bound_ns, 0) == parse_time_us(f"{seconds}.{nanoseconds:09d}", 0)
    event_us = (bound_ns + nearby_ns) // 1000
    assert (event_us >= bound_us) == (event_us * 1000 >= bound_ns)  # as a start
    for op, holds in (("<", event_us * 1000 < bound_ns), (">", event_us * 1000 > bound_ns)):
        test = parse(f"timestamp:{op}{written}")
        assert isinstance(test, Compare)
        assert (event_us < test.number if op == "<" else event_us > test.number) == holds


@given(st.floats(1e9, 9e10))
def test_a_float_and_its_text_are_one_instant(seconds: float) -> None:
    assert parse_time_us(seconds, 0) == parse_time_us(f"{seconds!r}", 0)
