"""What a query means, told row by row in plain Python that knows nothing of Arrow or RE2; and rows and trees to ask it.

Case folding is written out as orbits over a small alphabet that has the awkward ones; regular expressions come from
the part of the syntax on which Python's `re` (told explicitly what RE2 means) and RE2 agree.
"""

from __future__ import annotations

import json
import math
import operator
import re
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any

import pyarrow as pa
from hypothesis import strategies as st

from ess_ray.core.event import EVENT_SCHEMA
from ess_ray.core.query import All, And, Compare, Contains, Equals, Exists, Field, Node, Not, Or, Query, Range, Regex

T0_US = 1_790_000_000_000_000

# RE2's (?i) takes the members of one orbit for the same; each other character stands alone.
ORBITS = ["sSſ", "kK\u212a", "aA", "åÅ\u212b", "σςΣ", "ßẞ", "\u01c6\u01c5\u01c4", "iI", "µμΜ", "éÉ", "𐐀𐐨"]
ALONE = 'ıİ1_-.*+?()[]{}|\\/^$" \n\0東'
# Levels, and no more, also hold ASCII letters that no orbit here has.
ALPHABET = "".join(ORBITS) + ALONE
FOLD = {char: orbit[0] for orbit in ORBITS for char in orbit}
LEVELS = ["ERROR", "WARN", "INFO", None]
NUMBER_TEXTS = [
    "12",
    "-3.5",
    "1e3",
    "+5",
    ".5",
    "5.",
    "-0",
    "1E-2",
    "1e999",
    "-1e999",
    "9" * 400,
    "1e-999",
    "9007199254740993",
    "0.1",
    "0.1000000000000000055",
]
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
        return any(entry_holds(node, *entry) for entry in entries(row, node.field.name))
    value = row[node.field.name]
    return value is not None and value_holds(node, value)


def entries(row: dict[str, Any], name: str) -> list[tuple[str | None, str]]:
    """Give what a row has under a name: value and letter of its JSON type."""
    held = entries_by_key(row)
    keys = [name, *(f"{name}#{number}" for number in range(2, 10))]
    return [held[key] for key in keys if key in held]


def entries_by_key(row: dict[str, Any]) -> dict[str, tuple[str | None, str]]:
    pairs = row["attributes"] or []
    types = row.get("attribute_types") or ""
    letters = types if len(types) == len(pairs) else "s" * len(pairs)
    return {key: (value, letter) for (key, value), letter in zip(pairs, letters, strict=True)}


def entry_holds(node: Contains | Equals | Exists | Compare | Range | Regex, value: str | None, letter: str) -> bool:
    if isinstance(node, Exists):
        return True
    if value is None:
        return False
    if letter == "j":
        return value_holds(node, value) or any(element_holds(node, *one) for one in elements(value))
    return element_holds(node, value, letter == "n")


def element_holds(node: Contains | Equals | Exists | Compare | Range | Regex, text: str, is_number: bool) -> bool:
    return value_holds(node, text) or (is_number and isinstance(node, Equals) and equal_numbers(node.text, text))


JSON_LIKE = re.compile(r"[+-]?(?:(?:0|[1-9][0-9]*)(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,18})?")


def equal_numbers(one: str, other: str) -> bool:
    if JSON_LIKE.fullmatch(one) is None or JSON_LIKE.fullmatch(other) is None:
        return False
    return Decimal(one) == Decimal(other)


class Digits(str):
    """A number as it is written in JSON."""


def elements(text: str) -> list[tuple[str, bool]]:
    """Give the values in an array's JSON, those of inner arrays, too: text, whether it is a number."""
    try:
        whole = json.loads(text, parse_int=Digits, parse_float=Digits)
    except ValueError:
        return []
    return values_in(whole) if isinstance(whole, list) else []


def values_in(value: Any) -> list[tuple[str, bool]]:
    match value:
        case list():
            return [one for inner in value for one in values_in(inner)]
        case True | False:
            return [(str(value).lower(), False)]
        case Digits():
            return [(str(value), True)]
        case str():
            return [(value, False)]
    return []


def value_holds(node: Contains | Equals | Exists | Compare | Range | Regex, value: str | int) -> bool:
    match node:
        case Exists():
            return True
        case Compare(_, op, number):
            compared = as_number(value)
            relations = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}
            return compared is not None and not math.isnan(number) and relations[op](compared, number)
        case Range(_, low, with_low, high, with_high):
            number = as_number(value)
            is_within = number is not None and not math.isnan(low) and not math.isnan(high) and low <= number <= high
            return is_within and (with_low or number != low) and (with_high or number != high)
        case Equals(_, text, ignore_case):
            return fold(text) == fold(str(value)) if ignore_case else text == str(value)
        case Contains(_, text, ignore_case):
            return fold(text) in fold(str(value)) if ignore_case else text in str(value)
        case Regex(_, pattern, ignore_case):
            return PYTHON[pattern, ignore_case].search(str(value)) is not None


def as_number(value: str | int) -> Decimal | int | None:
    if isinstance(value, int):
        return value
    if not value or set(value) - set("0123456789+-.eE"):
        return None
    try:
        return Decimal(value)
    except InvalidOperation:
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
STORED_KEYS = [*KEYS, "k#2", "k#3", "k#9", "k#10", "n#2", "n#2#2"]
WAYS_TO_WRITE = [
    "1.5",
    "1.50",
    "15e-1",
    "+1.5",
    "01.5",
    "100",
    "100.0",
    "1E2",
    "1e+2",
    "0",
    "-0",
    "0.0",
    "1e400",
    "1e-400",
]
WAYS_TO_WRITE += ["1" + "0" * 400, "0" * 50 + "1", "1" + "0" * 50 + ".0", "9007199254740993.0", ".5", "0.50", "5.0"]
ARRAYS = ["[]", '["k"]', '["K","kk",null]', '[1.5,"1.50"]', '[100,[1e2,"12"],true]', '[{"k":"1"},[[]]]', "[-3.5]", "[k"]
VALUES = st.none() | TEXTS | st.sampled_from(NUMBER_TEXTS + NO_NUMBERS + WAYS_TO_WRITE + ARRAYS)
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
        "attributes": st.none() | st.lists(st.tuples(st.sampled_from(STORED_KEYS), VALUES), max_size=4),
        "attribute_types": st.none() | st.text("snbzj", max_size=4) | st.sampled_from(["nnnn", "jjjj", "jj", "n", "j"]),
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
    + [Field(key, attribute=True) for key in (*KEYS, "k#2", "absent")]
)
NUMBERS = (
    st.sampled_from([12.0, -3.5, 5, 0, 0.5, 10, 17, math.inf, -math.inf, math.nan, 2.0**53, 2.0**63, 1e300, T0_US])
    | st.floats(-5, 25)
    | st.integers(2**53 - 2, 2**53 + 2)
    | st.integers(2**63 - 2, 2**63)
    | st.sampled_from([Decimal("0.1"), Decimal("9007199254740992.5"), Decimal("1e400"), 10**30 + 1])
)
EQUAL_TEXTS = TEXTS | st.sampled_from(["error", "ERROR", "12", "+5", "", str(T0_US), "x", "true", *WAYS_TO_WRITE])
LEAVES: st.SearchStrategy[Node] = st.one_of(
    st.just(All()),
    st.builds(Contains, FIELDS, st.text(CHARS, max_size=2), st.booleans()),
    st.builds(Contains, st.just(Field("message")), st.text(CHARS, max_size=2), st.booleans()),
    st.builds(Contains, st.just(Field("message")), st.text(CHARS, max_size=2), st.booleans()).map(Not),
    st.builds(Equals, FIELDS, EQUAL_TEXTS, st.booleans()),
    st.builds(regex_leaf, FIELDS, PATTERNS, st.booleans()),
    st.builds(Compare, FIELDS, st.sampled_from(["<", "<=", ">", ">="]), NUMBERS),
    st.builds(Range, FIELDS, NUMBERS, st.booleans(), NUMBERS, st.booleans()),
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
