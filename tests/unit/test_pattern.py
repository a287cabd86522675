"""The one tree of a pattern: what it stands for, and that both folds see the same in it."""

from __future__ import annotations

import pytest

from ess_ray.core import prefilter
from ess_ray.core.literals import ANYTHING, Text, regex_needs
from ess_ray.core.pattern import Alt, Chars, Repeat, Seq, ascii_only, literal, parse
from ess_ray.core.pattern.tree import EMPTY, EVERY, LAST_CODE, complement, united
from ess_ray.core.query import Field, Regex

ANY = Chars(EVERY, spelt=False)


def char(text: str, any_case: bool = False) -> Chars:
    return Chars(((ord(text), ord(text)),), any_case)


@pytest.mark.parametrize(
    ("pattern", "tree"),
    [
        ("", EMPTY),
        ("a", char("a")),
        ("(?i)a1é", Seq((char("a", True), char("1"), char("é", True)))),
        ("(?i:a)b", Seq((char("a", True), char("b")))),
        (r"^\Aa$\z\b\B", char("a")),
        ("a|(?:b|)", Alt((char("a"), Alt((char("b"), EMPTY))))),
        ("(ab)c", Seq((char("a"), char("b"), char("c")))),
        ("a*", Repeat(char("a"), 0, None)),
        ("a+?", Repeat(char("a"), 1, None)),
        ("a{2,1000}", Repeat(char("a"), 2, 1000)),
        ("a{1}", char("a")),
        ("a{0}", EMPTY),
        ("a{01}", literal("a{01}", False)),
        ("a{,2}", literal("a{,2}", False)),
        (r"\_\x{0000041}", literal("_A", False)),
        ("[b-da]", Chars(((97, 100),))),
        ("[]^-]", Chars(((45, 45), (93, 94)))),
        (r"[\d-z]", Chars(((45, 45), (48, 57), (122, 122)), spelt=False)),
        (r"\D", Chars(((0, 47), (58, LAST_CODE)), spelt=False)),
        ("[[:^ascii:]é]", Chars(((128, LAST_CODE),), spelt=False)),
        ("(?i)[^a]", Chars(((0, 96), (98, LAST_CODE)), spelt=False)),
        (r"[a\pL]", ANY),
        (r"[^\pLa]", Chars(((0, 96), (98, LAST_CODE)), spelt=False)),
        (r"\C", Repeat(ANY, 0, 1)),
        (".", Chars(((0, 9), (11, LAST_CODE)), spelt=False)),
        ("(?s).", ANY),
        (r"\Qa.\E*", Seq((char("a"), Repeat(char("."), 0, None)))),
    ],
)
def test_a_pattern_is_read_into(pattern: str, tree: object) -> None:
    assert parse(pattern, False) == tree


@pytest.mark.parametrize(
    "pattern",
    [r"(a)\1", r"\012", "a**", "a{2}{3}", "(?=x)", "ab(?i)*c", r"ab\Q\E+c", "[a", "[b-a]", "a)", "(a", r"[\1]", "*a"],
)
def test_what_is_not_surely_understood_tells_nothing(pattern: str) -> None:
    assert parse(pattern, False) is None
    assert regex_needs(pattern) == ANYTHING
    assert prefilter.necessary(Regex(Field("message"), pattern, False)) == ()


def test_a_character_and_its_orbit() -> None:
    assert char("a", True).ascii_codes() == set(b"aA")
    assert not char("a", True).reaches_beyond_ascii
    assert char("k", True).ascii_codes() == set(b"kK")
    assert char("k", True).reaches_beyond_ascii
    assert char("\u212a", True).ascii_codes() == set(b"kK")
    assert char("\u212a").ascii_codes() == set()
    assert Chars(((0x100, 0x200),), any_case=True).ascii_codes() == set(b"sS")


def test_what_is_left_of_a_tree_within_ascii() -> None:
    inside = literal("aB1", True)
    assert ascii_only(inside) == inside
    assert ascii_only(literal("sé", False)) is None
    assert ascii_only(char("ſ", True)) == Chars(((ord("S"), ord("S")), (ord("s"), ord("s"))))
    assert ascii_only(Alt((char("é"), char("a")))) == char("a")
    assert ascii_only(Alt((char("é"), EMPTY, char("a")))) == Alt((EMPTY, char("a")))
    assert ascii_only(Repeat(char("é"), 0, 1)) == EMPTY
    assert ascii_only(Repeat(char("é"), 1, None)) is None


def test_ranges_that_meet_become_one_and_their_complement_is_the_rest() -> None:
    assert united([(5, 6), (1, 2), (3, 4), (9, 9), (2, 3)]) == ((1, 6), (9, 9))
    assert complement(((0, 6), (9, 9))) == ((7, 8), (10, LAST_CODE))
    assert complement(EVERY) == ()
    assert complement(()) == EVERY


@pytest.mark.parametrize("pattern", [r"user\_id", r"\x{00000075}ser\_id", "(?:us(?:er))_id", r"\Quser_\Ei[d]"])
def test_both_folds_see_the_same(pattern: str) -> None:
    assert regex_needs(pattern) == Text(b"user_id")
    (condition,) = prefilter.necessary(Regex(Field("message"), pattern, False))
    assert [choice.text for choice in condition.choices] == [b"user_id"]
