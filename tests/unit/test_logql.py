"""Parts of LogQL by themselves: addresses, patterns of lines, many series joined with one, texts that read back."""

from __future__ import annotations

import ipaddress
import re

import numpy as np
import pytest

from ess_ray.core.errors import BadRequest
from ess_ray.language.logql import parse_logql, write_logql
from ess_ray.language.logql import tree as t
from ess_ray.language.logql.addresses import read_addresses
from ess_ray.language.logql.patterns import MAX_LINE_PATTERN_CHARS, line_regex
from ess_ray.search.logql.entries import Entry
from ess_ray.search.logql.labels import Labels
from ess_ray.search.logql.narrowing import narrowed
from ess_ray.search.logql.series import Points, Series, joined, pairs_of
from ess_ray.search.logql.stages import Pipeline


@pytest.mark.parametrize(
    ("sought", "line", "is_there"),
    [
        ("3.180.71.3", "3.180.71.3 - - GET /", True),
        ("3.180.71.3", "93.180.71.3 - - GET /", False),
        ("3.180.71.3", "from 3.180.71.3.", True),
        ("3.180.71.3", "version 3.180.71.3.1", False),
        ("3.180.71.3", "version 1.3.180.71.3", False),
        ("3.180.71.3", "3.180.71.3:8080", True),
        ("3.180.71.3", "3.180.71.32", False),
        ("10.0.0.0/8", "src=10.255.0.1", True),
        ("10.0.0.0/8", "src=11.0.0.1 dst=999.0.0.1", False),
        ("192.168.4.5/16", "192.168.200.1", True),
        ("192.168.0.1-192.189.10.12", "x 192.180.1.1 y", True),
        ("192.168.0.1-192.189.10.12", "x 192.189.10.13 y", False),
        ("::1", "from ::1 to", True),
        ("::1", "[::1]:443", True),
        ("::1", "::1: connection refused", True),
        ("::1", "at 10:22:33", False),
        ("2001:db8::/32", "src:2001:db8:0:0:0:0:0:8.", True),
        ("2001:db8::1-2001:db8::8", "2001:DB8::7%eth0", True),
        ("2001:db8::1-2001:db8::8", "2001:db8::9", False),
        ("::ffff:0:0/96", "::ffff:1.2.3.4", True),
    ],
)
def test_addresses_in_lines(sought: str, line: str, is_there: bool) -> None:
    assert read_addresses(sought).are_in(line) is is_there


@pytest.mark.parametrize(
    "text", ["", "x", "10.0.0", "10.0.0.1-", "1.1.1.1-2.2.2.2-3.3.3.3", "1.1.1.1-::1", "1.1.1.1/33"]
)
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(ValueError, match=r"address|network|ends|version"):
        read_addresses(text)


@pytest.mark.parametrize("sought", ["10.1.2.3", "10.0.0.0/8", "10.1.0.0/12", "0.0.0.0/0", "10.1.2.0-10.1.3.255", "::1"])
def test_what_an_address_has_in_common_with_all_others(sought: str) -> None:
    found = read_addresses(sought)
    if found.version == 4:
        for one in (found.first, found.last, (found.first + found.last) // 2):
            assert found.literal in str(ipaddress.IPv4Address(one))
    assert found.literal == {"10.1.2.3": "10.1.2.3", "10.0.0.0/8": "10.", "10.1.2.0-10.1.3.255": "10.1."}.get(
        sought, "10." if sought == "10.1.0.0/12" else ""
    )


def test_a_long_line_of_colons_is_looked_at_once() -> None:
    """Were each run of them tried from each of its places, this would take hours."""
    assert not read_addresses("2001:db8::1").are_in(":" * 1_000_000 + "z")


@pytest.mark.parametrize(
    ("query", "lines"),
    [
        ('|= ip("10.0.0.0/8")', [0, 2]),
        ('!= ip("10.0.0.0/8")', [1, 3]),
        ('|= ip("10.0.0.0/8") or "nobody"', [0, 2, 3]),
        ('| logfmt | src = ip("10.0.0.0/8")', [0]),
        ('| logfmt | src != ip("10.0.0.0/8")', [1]),
        ('|> "src=<_> <_>"', [0, 1]),
        ('!> "src=<_> <_>" or "nobody"', [2]),
    ],
)
def test_filters_of_a_pipeline(query: str, lines: list[int]) -> None:
    given = ["src=10.1.2.3 a=1", "src=11.1.2.3 a=10", "a 10.1.2.3", "nobody"]
    asked = parse_logql(f'{{a="b"}} | line_format "{{{{ __line__ }}}}" {query}')
    assert isinstance(asked, t.LogQuery)
    found = Pipeline(asked.stages).run([Entry(at, line, {}, {}) for at, line in enumerate(given)])
    assert [entry.us for entry in found] == lines


def test_addresses_narrow_a_search_as_far_as_they_are_text() -> None:
    def root_of(query: str) -> str:
        asked = parse_logql(f'{{service_name="a"}} {query}')
        assert isinstance(asked, t.LogQuery)
        narrow = narrowed(asked, Labels.of(()))
        assert narrow.rest == asked.stages  # the condition says less than the filter
        return str(narrow.root)

    assert "10.1." in root_of('|= ip("10.1.0.0/16")')
    assert root_of('|= ip("::1")') == root_of('!= ip("10.1.0.0/16")') == root_of('|= ip("10.1.2.3") or ip("::1")')


@pytest.mark.parametrize(
    ("pattern", "line", "matches"),
    [
        ("", "", True),
        ("", "a", False),
        ("a.c", "a.c", True),
        ("a.c", "abc", False),
        ("<_>", "a\nb", True),
        ("<_>", "", False),
        ("a <_> b", "a  b", False),
        ("a <_> b", "a x b", True),
        ("a <_> b", "a x b c", False),
        ("<_> b<_>", "a bc", True),
    ],
)
def test_patterns_of_lines(pattern: str, line: str, matches: bool) -> None:
    assert (re.fullmatch(line_regex(pattern).replace(r"\z", r"\Z"), line) is not None) is matches


@pytest.mark.parametrize("pattern", ["<a>", "<_><_>", "x" * (MAX_LINE_PATTERN_CHARS + 1)])
def test_patterns_that_cannot_be(pattern: str) -> None:
    with pytest.raises(ValueError, match=r"captures|longer"):
        line_regex(pattern)


@pytest.mark.parametrize(
    "query",
    [
        '{a="b"} |= ip("10.0.0.0/8") |> "x <_>" or `<_>y` !> "z" != "q" or ip("::1-::2")',
        '{a="b"} | c = ip("10.0.0.1") and (d != ip("::/64") or e="f")',
        'sum(rate({a="b"}[1m])) by (c, d) / on (c) group_left (e, f) sum(rate({a="b"}[1m])) by (c, e, f)',
        'sum(rate({a="b"}[1m])) > bool ignoring (c) group_right () sum(rate({a="b"}[1m])) by (c)',
    ],
)
def test_queries_read_back(query: str) -> None:
    expression = parse_logql(query)
    assert parse_logql(write_logql(expression)) == expression


def series(**values: float) -> Series:
    """Give series by their labels: `a1_b2` is {a="1", b="2"}."""
    made = {}
    for name, value in values.items():
        pairs = pairs_of({part[0]: part[1:] for part in name.split("_")})
        made[pairs] = Points(np.array([value]), np.ones(1, np.bool_))
    return made


@pytest.mark.parametrize(
    ("operator", "swapped", "expected"),
    [
        ("- on (a) group_left", False, series(a1_b1=3, a1_b2=13, a2_b1=16)),
        ("- on (a) group_right", True, series(a1_b1=-3, a1_b2=-13, a2_b1=-16)),
        ("- on (a) group_left (c)", False, series(a1_b1_cx=3, a1_b2_cx=13, a2_b1_cy=16)),
        ("- ignoring (b, c) group_left (c)", False, series(a1_b1_cx=3, a1_b2_cx=13, a2_b1_cy=16)),
        ("- on (a) group_left (b, c)", False, None),
        ("> on (a) group_left", False, series(a1_b1=10, a1_b2=20, a2_b1=20)),
        ("> on (a) group_right", True, {}),
        ("> bool on (a) group_right", True, series(a1_b1=0, a1_b2=0, a2_b1=0)),
        ("- on (a)", False, None),
        ("- on (b) group_left", False, None),
    ],
)
def test_many_series_are_joined_with_one(operator: str, swapped: bool, expected: Series | None) -> None:
    node = parse_logql(f"vector(1) {operator} vector(1)")
    assert isinstance(node, t.Binary)
    sides = [series(a1_b1=10, a1_b2=20, a2_b1=20, a9_b1=1), series(a1_cx=7, a2_cy=4, a3_cz=1)]
    left, right = reversed(sides) if swapped else sides
    if expected is None:
        with pytest.raises(BadRequest, match="multiple"):
            joined(node, left, right)
        return
    found = joined(node, left, right)
    assert not isinstance(found, float)
    assert {pairs: one.values.tolist() for pairs, one in found.items()} == {
        pairs: one.values.tolist() for pairs, one in expected.items()
    }
