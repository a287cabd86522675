"""The index never rules a row group out in which the filter finds a row: over the whole language and more.

Rows, trees and patterns are drawn so that they often meet: texts are made from the pieces that queries are made of,
and from samples of what a pattern matches. `filter_batch` is the oracle.
"""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import HealthCheck, assume, event, given, settings
from hypothesis import strategies as st

from ess_ray.core import regex
from ess_ray.core.event import EVENT_SCHEMA
from ess_ray.core.filter import filter_batch
from ess_ray.core.fold import fold_text
from ess_ray.core.index import Index, build
from ess_ray.core.literals import ANYTHING, AllOf, AnyOf, Formula, Text, needs, regex_needs
from ess_ray.core.query import All, And, Compare, Contains, Equals, Exists, Field, Node, Not, Or, Query, Range, Regex
from tests.examples import examples
from tests.property.oracle import table_of

T0_US = 1_790_000_000_000_000
MANY = settings(max_examples=examples(100), suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
ORBITS = ["sSſ", "kK\u212a", "åÅ\u212b", "σςΣ", "ßẞ", "\u01c6\u01c5\u01c4", "iI", "µμΜ", "éÉ", "𐐀𐐨"]
ALPHABET = "".join(ORBITS) + 'ıİ1_-.*+?()[]{}|\\/^$" \n\0東aAbB'
ORBIT_OF = {char: orbit for orbit in [*ORBITS, "aA", "bB"] for char in orbit}


# ------------------------------------------------------------------------------------------------ patterns and samples
@dataclass(frozen=True)
class Sampled:
    """An RE2 pattern and a text that it (most often) matches."""

    pattern: str
    sample: str


def other_case(char: str, draw: st.DrawFn) -> str:
    return draw(st.sampled_from(ORBIT_OF.get(char, char)))


@st.composite
def literals(draw: st.DrawFn) -> Sampled:
    text = draw(st.text(st.sampled_from(ALPHABET), min_size=1, max_size=6))
    how = draw(st.sampled_from(["quoted", "hex", "Q"]))
    if how == "Q" and "\\" not in text:
        return Sampled(rf"\Q{text}\E", text)
    if how == "hex":
        return Sampled("".join(f"\\x{{{ord(c):x}}}" for c in text), text)
    return Sampled(regex.quote(text), text)


@st.composite
def classes(draw: st.DrawFn) -> Sampled:
    members = draw(st.lists(st.sampled_from(ALPHABET), min_size=1, max_size=4))
    spelt = "".join(f"\\x{ord(c):02x}" if ord(c) < 128 and not c.isalnum() else c for c in members)
    extra = draw(st.sampled_from(["", "", r"\d", "[:alpha:]", "a-f", "0-9", "-", r"\pL", r"\n", r"\-"]))
    first = draw(st.sampled_from(["", "", "]"])) if extra != "-" else ""
    if draw(st.integers(0, 4)) == 0:
        return Sampled(f"[^{first}{spelt}{extra}]", draw(st.sampled_from("xyz#")))
    return Sampled(f"[{first}{spelt}{extra}]", draw(st.sampled_from(members)))


CONSTANTS = st.sampled_from(
    [
        Sampled(".", "東"), Sampled("^", ""), Sampled("$", ""), Sampled(r"\A", ""), Sampled(r"\z", ""),
        Sampled(r"\b", ""), Sampled(r"\B", ""), Sampled(r"\d", "7"), Sampled(r"\D", "ſ"), Sampled(r"\w", "K"),
        Sampled(r"\s", "\n"), Sampled(r"\pL", "å"), Sampled(r"\p{Greek}", "σ"), Sampled(r"\C", "x"),
        Sampled(r"(?i)", ""), Sampled("(?s)", ""), Sampled("(?U)", ""), Sampled("(?-i)", ""), Sampled(r"\t", "\t"),
        Sampled(r"\007", "\a"), Sampled(r"\.", "."), Sampled("", ""), Sampled("{", "{"), Sampled("{,2}", "{,2}"),
        Sampled("a{1", "a{1"), Sampled("}", "}"), Sampled("]", "]"), Sampled(r"\PL", "1"),
    ]
)  # fmt: skip
QUANTIFIERS = st.sampled_from(
    [("*", 0), ("+", 2), ("?", 1), ("*?", 1), ("+?", 1), ("??", 0), ("{0,}", 0), ("{2,3}", 2), ("{2}", 2), ("{1,}?", 3),
     ("{0}", 0), ("{0,1}", 1), ("{3,}", 4)]
)  # fmt: skip
GROUPS = st.sampled_from(["(", "(?:", "(?i:", "(?s:", "(?P<n>", "(?<n>", "(?i-s:", "(?U:", "(?m:"])


@st.composite
def grown(draw: st.DrawFn, inner: st.SearchStrategy[Sampled]) -> Sampled:
    kind = draw(st.sampled_from(["sequence", "sequence", "alternatives", "repeat", "group"]))
    if kind == "sequence":
        parts = draw(st.lists(inner, min_size=2, max_size=4))
        return Sampled("".join(p.pattern for p in parts), "".join(p.sample for p in parts))
    if kind == "alternatives":
        parts = draw(st.lists(inner, min_size=2, max_size=3))
        inside = "|".join(p.pattern for p in parts)
        sample = draw(st.sampled_from(parts)).sample
        return Sampled(draw(st.sampled_from([f"(?:{inside})", f"({inside})", inside])), sample)
    part = draw(inner)
    if kind == "group":
        return Sampled(f"{draw(GROUPS)}{part.pattern})", part.sample)
    how, times = draw(QUANTIFIERS)
    bare = draw(st.integers(0, 3)) == 0  # may repeat the last character alone
    return Sampled(part.pattern + how if bare else f"(?:{part.pattern}){how}", part.sample * times)


PATTERNS = st.recursive(st.one_of(literals(), literals(), classes(), CONSTANTS), grown, max_leaves=8)


def satisfied(formula: Formula, folded: bytes) -> bool:
    match formula:
        case Text(needle):
            return needle in folded
        case AllOf(parts):
            return all(satisfied(part, folded) for part in parts)
        case AnyOf(parts):
            return any(satisfied(part, folded) for part in parts)
    raise AssertionError(formula)


@settings(MANY, max_examples=examples(800))
@given(PATTERNS, st.booleans(), st.data())
def test_what_re2_finds_has_what_the_pattern_requires(sampled: Sampled, ignore_case: bool, data: st.DataObject) -> None:
    assume(regex.invalid_reason(sampled.pattern, ignore_case) is None)
    around = st.text(st.sampled_from(ALPHABET), max_size=3)
    recased = "".join(other_case(char, data.draw) for char in sampled.sample) if ignore_case else sampled.sample
    texts = [sampled.sample, recased, data.draw(around) + recased + data.draw(around), data.draw(around)]
    required = regex_needs(sampled.pattern)
    event(f"requires {'nothing' if required == ANYTHING else 'something'}")
    for text in texts:
        if pc.match_substring_regex(pa.array([text]), sampled.pattern, ignore_case=ignore_case)[0].as_py():
            event("found")
            assert satisfied(required, fold_text(text).encode()), text


# What the structured patterns above would never put side by side; it found that `a(?i)*` makes the a optional.
TOKENS = re.findall(
    r"\S+",
    r"a b k K 1 2 , - ^ $ . * + ? { } {2} {1,2} {0,1} {,2} {2,} ( ) (?: (?i) (?i: (?P<x> | [ ] [^ [:alpha:] [[:digit:]]"
    r" [a-c] []a] [^]a] \ \d \w \b \B \A \z \Q \E \x61 \x{212a} \n \pL \p{Lu} \p{^L} \P{L} \C \0 \101 \- \] \[ ſ é É"
    r" && {01} {1,02} (?# (?s) (?-i) (?U) (?i-s: (? < > : = ! P x 0 \Qa*\E",
)
SHORT_TEXTS = ["".join(pair) for pair in itertools.product(["", *'abkK\u212a12,-][^{}s ſéÉ.*\n\\"|QEx0:l'], repeat=2)]


@settings(MANY, max_examples=examples(500))
@given(st.lists(st.sampled_from(TOKENS), min_size=1, max_size=7).map("".join), st.booleans(), st.data())
def test_token_soup_that_re2_takes_requires_no_more(pattern: str, ignore_case: bool, data: st.DataObject) -> None:
    required = regex_needs(pattern)
    assume(required != ANYTHING and regex.invalid_reason(pattern, ignore_case) is None)
    longer = data.draw(st.lists(st.text(st.sampled_from(pattern + "abk1"), max_size=6), max_size=20))
    texts = [*SHORT_TEXTS, *longer, pattern]
    found = pc.match_substring_regex(pa.array(texts), pattern, ignore_case=ignore_case)
    for text in itertools.compress(texts, found.to_pylist()):
        assert satisfied(required, fold_text(text).encode()), text


# ------------------------------------------------------------------------------------------------------ rows and trees
PIECES = ["kernel", "\u212aERNEL", "Straße", "STRAẞE", "ſegfault", "\n", "\0", " ", "12345", "67890", "東京", "É", "a"]
MESSAGES = st.lists(st.sampled_from(PIECES), max_size=5).map("".join) | st.text(st.sampled_from(ALPHABET), max_size=12)
TYPED = ["100", "100.0", "1e2", "1" + "0" * 60, "1e60", "012", '["a",12.0,"3.5"]', "[100,[1e2],true]", "true"]
VALUES = st.sampled_from(
    ["", "a", "A", "\u212aelvin", "kelvin", "12", "3.5", "x" * 200, "X" * 200, "straße", "\0", *TYPED]
)
KEYS = st.sampled_from(["k", "n", "K", "service", "", "é", "k#2", "n#9", "n#10"])
ROWS = st.fixed_dictionaries(
    {
        "timestamp": st.just(T0_US),
        "observed_timestamp": st.just(T0_US),
        "message": MESSAGES,
        "level": st.none() | st.sampled_from(["ERROR", "error", "INFO"]),
        "severity_number": st.none() | st.integers(0, 3),
        "service": st.none() | VALUES,
        "host": st.none() | VALUES,
        "trace_id": st.none() | VALUES,
        "span_id": st.none() | VALUES,
        "event_id": st.none() | VALUES,
        "attributes": st.none() | st.lists(st.tuples(KEYS, st.none() | VALUES), max_size=3),
        "attribute_types": st.none() | st.text("snj", max_size=3) | st.sampled_from(["n", "j", "nn", "jj", "njn"]),
        "log_id": st.just("log"),
        "vnode": st.integers(0, 2),
        "offset": st.integers(0, 5),
        "row": st.just(0),
    }
)
FIELDS = st.sampled_from(["message", "level", "service", "host", "trace_id", "span_id", "event_id", "vnode"]).map(
    Field
) | KEYS.map(lambda key: Field(key, attribute=True))
NEEDLES = (
    st.lists(st.sampled_from(PIECES), max_size=3)
    .map("".join)
    .flatmap(
        lambda text: st.tuples(st.integers(0, len(text)), st.integers(0, len(text))).map(
            lambda ends: text[min(ends) : max(ends)]
        )
    )
)
LEAVES: st.SearchStrategy[Node] = st.one_of(
    st.just(All()),
    st.builds(Contains, st.just(Field("message")), NEEDLES, st.booleans()),
    st.builds(Contains, FIELDS, NEEDLES, st.booleans()),
    st.builds(Equals, FIELDS, VALUES | MESSAGES, st.booleans()),
    st.builds(Equals, FIELDS, VALUES, st.booleans()),
    st.builds(
        Regex,
        st.just(Field("message")),
        NEEDLES.map(lambda t: ".*".join(map(regex.quote, t.split(" ")))),
        st.booleans(),
    ),
    PATTERNS.filter(lambda p: regex.invalid_reason(p.pattern, True) is None).flatmap(
        lambda p: st.builds(Regex, FIELDS, st.just(p.pattern), st.booleans())
    ),
    st.builds(Compare, FIELDS, st.sampled_from(["<", "<=", ">", ">="]), st.sampled_from([1.0, 3.5, 12.0])),
    st.builds(Range, FIELDS, st.sampled_from([1.0, 3.5]), st.booleans(), st.sampled_from([3.5, 12.0]), st.booleans()),
    st.builds(Exists, FIELDS),
)
TREES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        inner.map(Not),
        st.lists(inner, max_size=3).map(lambda children: And(tuple(children))),
        st.lists(inner, max_size=3).map(lambda children: Or(tuple(children))),
    ),
    max_leaves=5,
)


@MANY
@given(st.lists(st.lists(ROWS, max_size=4), min_size=1, max_size=10), st.lists(TREES, min_size=1, max_size=8))
def test_a_group_with_a_matching_row_is_kept(blocks: list[list[dict[str, Any]]], roots: list[Node]) -> None:
    groups = [table_of(rows) for rows in blocks]
    index = Index(build(groups), len(groups))
    for root in roots:
        query = Query(root)
        kept = index.keep(needs(query))
        assert kept == sorted(set(kept))
        matching = {i for i, group in enumerate(groups) if len(filter_batch(group, query))}
        event(f"matching {min(len(matching), 2)}, kept {'all' if len(kept) == len(groups) else 'some'}")
        assert matching <= set(kept)


@MANY
@given(st.lists(ROWS, min_size=1, max_size=8), st.data())
def test_every_text_and_value_of_a_row_finds_its_group(rows: list[dict[str, Any]], data: st.DataObject) -> None:
    groups = [table_of(rows[i : i + 1]) for i in range(len(rows))]
    index = Index(build([group.slice(0) for group in groups]), len(groups))
    for number, row in enumerate(rows):
        first, last = sorted(data.draw(st.tuples(*[st.integers(0, len(row["message"]))] * 2)))
        leaves: list[Node] = [Contains(Field("message"), row["message"][first:last], ignore_case=False)]
        for name in ("level", "service", "host", "trace_id", "span_id", "event_id"):
            if row[name] is not None:
                leaves += [Equals(Field(name), row[name], ignore_case=False), Exists(Field(name))]
        for key, value in dict(row["attributes"] or ()).items():
            leaves.append(Exists(Field(key, attribute=True)))
            if value is not None:
                leaves.append(Equals(Field(key, attribute=True), value, ignore_case=True))
        assert number in index.keep(needs(Query(And(tuple(leaves)))))


@pytest.mark.parametrize("rows", [0, 1, 3])
def test_slices_and_chunks_are_indexed_as_what_they_show(rows: int) -> None:
    made = [{**dict.fromkeys(EVENT_SCHEMA.names), "timestamp": T0_US, "observed_timestamp": T0_US, "log_id": "l",
             "vnode": 0, "offset": i, "row": 0, "message": f"needle {i} rest", "trace_id": f"trace{i}",
             "attributes": [("k", f"v{i}")]} for i in range(9)]  # fmt: skip
    table = table_of(made)
    chunked = pa.concat_tables([table.slice(2, 1), table.slice(3, rows)])
    whole = build([table_of(made[2 : 3 + rows])])
    assert build([chunked]) == whole
    assert build([table.slice(2, 1 + rows)]) == whole
