"""The prefilter is a superset: it may leave out no row that matches, whatever the pattern."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ess_ray.core import prefilter
from ess_ray.core.chunk.page import TextBlock
from ess_ray.core.filter import filter_batch
from ess_ray.core.query import And, Contains, Equals, Field, Node, Not, Or, Query, Regex
from tests.examples import examples
from tests.property.oracle import (
    PATTERNS,
    TEXTS,
    Pattern,
    regex_leaf,
    value_holds,
)

MESSAGE = Field("message")


@pytest.fixture(autouse=True, scope="module", params=["few hits", "many hits"])
def _limits(request: pytest.FixtureRequest) -> Iterator[None]:
    """Once take every search to be of use, once to be of none after its first hit."""
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "many hits":
            patch.setattr(prefilter, "MIN_HITS", 1)
        patch.setattr(prefilter, "FEW_SHARE", 1.0 if request.param == "many hits" else 0.0)
        yield


def kept(node: Node, texts: list[str]) -> set[int]:
    search = prefilter.prefilter([node])
    rows = search.candidates(TextBlock.of(pa.array(texts, pa.string()))) if search is not None else None
    return set(range(len(texts))) if rows is None else set(rows.tolist())


@settings(max_examples=examples(1500))
@given(PATTERNS, st.booleans(), st.lists(TEXTS, min_size=1, max_size=8))
@example(Pattern("foo\\b", "foo\\b", "foo\\b"), False, ["foo", "bar"])
def test_no_row_that_matches_is_left_out(drawn: Pattern, ignore_case: bool, texts: list[str]) -> None:
    leaf = regex_leaf(MESSAGE, drawn, ignore_case)
    assert {i for i, text in enumerate(texts) if value_holds(leaf, text)} <= kept(leaf, texts)


RE2_ONLY = [
    *(r"(?U)a+b", r"\Ca", r"\x{e5}", r"\x41", r"\pL+1", r"\p{Greek}", r"\P{Lu}s", r"[[:alpha:]]s", r"[[:^word:]]a"),
    *(
        r"\Qs.*\E",
        r"\Qa\E*s",
        r"(?P<n>s)k",
        r"(?i:s)K",
        r"(?i)ſ",
        r"s(?-i)K",
        r"[^\pL]s",
        r"[^\W]k",
        r"(?s)a.s",
        r"(?s-i:.)",
    ),
    *(
        r"a{2,}",
        r"(?:sk){1,3}a",
        r"a{0}s",
        r"{",
        r"a{",
        r"s{,2}",
        r"a{1,1000}",
        r"(a|)s",
        r"(|)",
        r"[]a]",
        r"[^]a]",
        r"[a-]s",
    ),
    *(
        r"\101",
        r"\-",
        r"\a",
        r"[\x00-\x{10FFFF}]s",
        r"[\d\-s]",
        r"\Bs",
        r"^^s",
        r"(?m)^s$",
        r"s\z",
        r"\As",
        r"$",
        r"()s",
        r"a.*s",
    ),
    *(
        r"s(?i)*",
        r"ks(?s)?a",
        r"a(?i){0}",
        r"ks(?:)*",
        r"a\b*s",
        r"as^*",
        r"(?:a.*s|k.+k)",
        r"(a.*){2}s",
        r"[s-ž]",
        r"[^s]",
        r"\Ss",
        r"[\S]",
        r"\Dk",
        r".{2}s",
        r"\p{^L}s",
        r"a\\",
        r"\{",
        r"[k]+$",
    ),
]


@pytest.mark.parametrize("re2", RE2_ONLY)
@pytest.mark.parametrize("ignore_case", [False, True])
@settings(max_examples=examples(40))
@given(
    texts=st.lists(st.text(st.sampled_from("asSſkK\u212aåé1 -{,.*\\]\n\0σΣA\a"), max_size=6), min_size=1, max_size=10)
)
def test_no_row_that_re2_finds_is_left_out(re2: str, ignore_case: bool, texts: list[str]) -> None:
    leaf = Regex(MESSAGE, re2, ignore_case)
    found = filter_batch(pa.record_batch({"message": texts}), Query(leaf)).to_pylist()
    assert set(found) <= kept(leaf, texts)


@pytest.mark.parametrize("re2", ["a{01}b", "ab{1,02}cd", "ab{00}", "x{1,999999999999}yz", "x{999999999999}yz"])
def test_braces_that_hold_no_count_of_re2_s_are_text(re2: str) -> None:
    leaf = Regex(MESSAGE, re2, False)
    assert filter_batch(pa.record_batch({"message": [re2, "other"]}), Query(leaf)).to_pylist() == [0]
    assert 0 in kept(leaf, [re2, "other"])


def test_the_two_letters_that_fold_beyond_ascii_are_the_only_ones() -> None:
    ascii_texts = [chr(code) for code in range(128)]
    folding = pc.match_substring_regex(pa.array(ascii_texts), r"[\x{80}-\x{10ffff}]", ignore_case=True)
    assert {text for text, folds in zip(ascii_texts, folding.to_pylist(), strict=True) if folds} == set("sSkK")
    beyond = [chr(code) for code in (*range(128, 0xD800), *range(0xE000, 0x110000))]
    folding = pc.match_substring_regex(pa.array(beyond), r"[\x00-\x7f]", ignore_case=True)
    assert {text for text, folds in zip(beyond, folding.to_pylist(), strict=True) if folds} == {"ſ", "\u212a"}


@pytest.mark.parametrize(
    "re2", [r"user=u-\d+7", r"(?i)timed.?out", r"[a-z]+ing$", r"\berror\b.*code=\d{3}", r"\bfoo\b", r"(GET|POST) /api"]
)
def test_common_patterns_do_get_a_search(re2: str) -> None:
    assert prefilter.prefilter([Regex(MESSAGE, re2, False)]) is not None


@pytest.mark.parametrize("re2", [r".*", r"a?", r"^$", r"\b", r"", r"(a|)", r"(?i)s*"])
def test_patterns_that_match_nothing_at_all_get_none(re2: str) -> None:
    assert prefilter.prefilter([Regex(MESSAGE, re2, False)]) is None


def test_nothing_is_searched_for_where_a_row_need_not_hold_it() -> None:
    needle, other = Contains(MESSAGE, "needle", False), Equals(Field("service"), "x", False)
    assert prefilter.prefilter([Not(needle)]) is None
    assert prefilter.prefilter([Or((needle, other))]) is None
    assert prefilter.prefilter([And((Not(needle), other))]) is None
    assert prefilter.prefilter([And((needle, other))]) is not None


def test_a_search_leaves_out_most_rows() -> None:
    texts = [f"user {i} asked" for i in range(1000)]
    assert kept(Contains(MESSAGE, "USER 77 ", True), texts) == {77}
    assert kept(Regex(MESSAGE, r"\b9\d7 asked$", False), texts) == {i for i in range(1000) if i % 10 == 7}


@pytest.mark.parametrize("text", ["ошибка 7", "ſK", "東京", "xé"])
def test_rows_beyond_ascii_are_told(text: str) -> None:
    texts = ["ascii", "", text, "", "ascii 7", f"more {text}", ""]
    assert TextBlock.of(pa.array(texts)).rows_beyond_ascii().tolist() == [2, 5]
    sliced = TextBlock.of(pa.array(["é", *texts, "é"]).slice(1, len(texts)))
    assert sliced.rows_beyond_ascii().tolist() == [2, 5]
    sliced.ascii = True  # as the footer may tell, so that nobody looks
    assert sliced.rows_beyond_ascii().tolist() == []


def test_a_letter_that_folds_beyond_ascii_keeps_the_rows_that_may_hold_such() -> None:
    texts = ["disk", "DISK", "diſk", "di\u017f\u212a", "é", "risk"] + ["some other text"] * 500
    assert {0, 1, 2, 3} <= kept(Contains(MESSAGE, "disk", True), texts)
    assert kept(Contains(MESSAGE, "disk", True), texts) <= {0, 1, 2, 3, 4}


@pytest.mark.parametrize("ignore_case", [False, True])
def test_hits_beside_the_rows_of_a_sliced_array_are_none(ignore_case: bool) -> None:
    block = TextBlock.of(pa.array(["needle", "x", "needle"]).slice(1, 1))
    ((literal,),) = [c.choices for c in prefilter.necessary(Contains(MESSAGE, "needle", ignore_case))]
    rows = literal.seek(block, 9)
    assert rows is not None
    assert rows.tolist() == []


@settings(max_examples=examples(500))
@given(
    st.text(st.sampled_from("ab[{@`"), min_size=2, max_size=3), st.lists(st.text("abAB[{@`", max_size=9), max_size=40)
)
def test_a_literal_is_found_in_all_rows_that_hold_it(needle: str, texts: list[str]) -> None:
    block = TextBlock.of(pa.array(texts, pa.string()))
    exact = prefilter.Literal(needle.encode()).seek(block, 10**6)
    assert exact is not None
    assert exact.tolist() == [i for i, text in enumerate(texts) if needle in text]
    folded = bytes(code | prefilter.CASE_BIT for code in needle.encode())
    any_case = prefilter.Literal(folded, True).seek(block, 10**6)
    assert any_case is not None
    assert {i for i, text in enumerate(texts) if needle.lower() in text.lower()} <= set(any_case.tolist())


def literals(re2: str, ignore_case: bool = False) -> list[list[bytes]]:
    return [[choice.text for choice in c.choices] for c in prefilter.necessary(Regex(MESSAGE, re2, ignore_case))]


def test_a_pattern_s_literals_are_those_that_each_match_holds() -> None:
    assert literals(r"user=u-\d+7777\b") == [[b"user=u-"], [b"7777"]]
    assert literals(r"timed.*out")[:2] == [[b"timed"], [b"out"]]
    assert literals(r"(GET|POST) /api") == [[b"GET", b"POST"], [b" /api"]]
    assert literals(r"x(ab){2,}c") == [[b"xabab"], [b"abc"]]
    assert literals(r"a?bc|de") == [[b"bc", b"de"]]
    assert literals(r"[0-9]{32}") == []
    assert literals(r"(ab|)cd") == [[b"cd"]]
    assert literals("x" * 500) == [[b"x" * prefilter.MAX_LITERAL_BYTES]]
    assert [b"timeout"] in literals("TimeOut", True)
