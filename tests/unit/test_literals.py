"""What queries and patterns require, case by case; that it is never too much is for tests/property/test_index."""

from __future__ import annotations

import pytest

from ess_ray.core.literals import ANYTHING, NOTHING, AllOf, AnyOf, Formula, Holds, Text, needs, regex_needs
from ess_ray.core.query import All, And, Compare, Contains, Equals, Exists, Field, Not, Or, Query, Regex
from ess_ray.language import parse

MESSAGE = Field("message")


def every(*texts: str) -> Formula:
    return AllOf(tuple(Text(text.encode()) for text in texts))


def some(*texts: str) -> Formula:
    return AnyOf(tuple(Text(text.encode()) for text in texts))


@pytest.mark.parametrize(
    ("pattern", "required"),
    [
        ("timeout", Text(b"timeout")),
        (r"user=\d+7 ok", every("user=", "7 ok")),
        ("(?i)Time-?Out", some("time-out", "timeout")),
        ("time(?:d )?out", some("timed out", "timeout")),
        ("err(or)?", some("err", "error")),
        ("a|bc", some("a", "bc")),
        ("a|b*", ANYTHING),
        ("x(a|b|)y", some("xay", "xby", "xy")),
        (r"\Aabc\z", Text(b"abc")),
        (r"foo\b.bar", every("foo", "bar")),
        ("[Kk]ernel", Text(b"kernel")),
        ("[\u212ak]ernel", Text(b"kernel")),
        ("1[23]4", some("124", "134")),
        ("1[0-9]{2}4", AllOf((some(*(f"1{i}" for i in range(10))), some(*(f"{i}4" for i in range(10)))))),
        ("1[^2]4", every("1", "4")),
        (r"1[\d]4", every("1", "4")),
        ("1[[:alpha:]]4", every("1", "4")),
        ("[]a]x", some("]x", "ax")),
        ("[a-]x", some("-x", "ax")),
        (r"a\.b\x41\x{1F600}\n", Text("a.ba\U0001f600\n".encode())),
        (r"\Qa.b*\E+c", AllOf((Text(b"a.b*"), Text(b"*c")))),
        (r"\Qa|b", Text(b"a|b")),
        ("ab+c", every("ab", "bc")),
        ("(ab){3}", Text(b"ababab")),
        ("(ab){2,}c", every("abab", "ababc")),
        ("ab{0}c", Text(b"ac")),
        ("ab{0,3}c", every("a", "c")),
        ("a{,2}", Text(b"a{,2}")),
        ("a{01}b", Text(b"a{01}b")),
        ("ab{1,02}c", Text(b"ab{1,02}c")),
        ("x{1,999999999999}y", Text(b"x{1,999999999999}y")),
        ("(?P<n>ab)(?<m>c)(?i:D)(?s)e(?-s:f)", Text(b"abcdef")),
        (r"\pL\p{Greek}\P{^Greek}x", Text(b"x")),
        (r"a\Cb", every("a", "b")),
        (r"(a)\1", ANYTHING),
        (r"\012x", ANYTHING),
        (r"a{2}{3}", ANYTHING),
        (r"(?=x)", ANYTHING),
        ("ab(?i)*c", ANYTHING),  # RE2 repeats the b
        ("ab(?i){0,1}c", ANYTHING),
        (r"ab\Q\E*c", ANYTHING),
        ("(" * 400 + "x" + ")" * 400, ANYTHING),
        ("", ANYTHING),
        (".*", ANYTHING),
        (r"\(", Text(b"(")),
        ("a{1000}", Text(b"a" * 256)),
    ],
)
def test_a_pattern_requires(pattern: str, required: Formula) -> None:
    assert regex_needs(pattern) == required


@pytest.mark.parametrize(
    ("text", "required"),
    [
        ("", ANYTHING),
        ("TimeOut", Text(b"timeout")),
        ('"TimeOut"', Text(b"timeout")),
        ("a b", every("a", "b")),
        ("(a OR b) c", AllOf((some("a", "b"), Text(b"c")))),
        ("a OR *", ANYTHING),
        ("a -b", Text(b"a")),
        ("NOT (a OR b)", ANYTHING),
        ("time*out", every("time", "out")),
        ("trace_id:Ab12", Holds(Field("trace_id"), b"ab12")),
        ("level:warning", Holds(Field("level"), b"warn")),
        ("region:eu-1", Holds(Field("region", attribute=True), b"eu-1")),
        ("region:eu*", Holds(Field("region", attribute=True), None)),
        ("duration_ms:>=5", Holds(Field("duration_ms", attribute=True), None)),
        ("id:*", Holds(Field("event_id"), None)),
        ("message:*", ANYTHING),
        ("message:abc", Text(b"abc")),
        ("severity_number:17", ANYTHING),
        ("_ess.log_id:x", ANYTHING),
        ("_ess.offset:>5", ANYTHING),
    ],
)
def test_a_query_requires(text: str, required: Formula) -> None:
    assert needs(Query(parse(text))) == required


def test_trees_that_the_language_does_not_make() -> None:
    one, other = (Contains(MESSAGE, text, ignore_case=True) for text in "ab")
    assert needs(Query(And(()))) == ANYTHING
    assert needs(Query(Or(()))) == NOTHING
    assert needs(Query(And((one, Or(()))))) == NOTHING
    assert needs(Query(Or((one, And((one, one)))))) == Text(b"a")
    assert needs(Query(Or((one, Not(other))))) == ANYTHING
    assert needs(Query(And((All(), one, other)))) == every("a", "b")
    assert needs(Query(Equals(MESSAGE, "", ignore_case=False))) == ANYTHING
    assert needs(Query(Regex(Field("k", attribute=True), "x", ignore_case=True))) == Holds(Field("k", True), None)
    assert needs(Query(Compare(Field("timestamp"), ">", 5))) == ANYTHING
    assert needs(Query(Exists(Field("vnode")))) == ANYTHING
    deep = one
    for _ in range(500):
        deep = And((deep,))  # type: ignore[assignment]
    assert needs(Query(deep)) == ANYTHING


def test_half_a_surrogate_pair_is_no_error() -> None:
    assert needs(Query(Contains(MESSAGE, "a\ud800", ignore_case=True))) == Text(b"a\xed\xa0\x80")
