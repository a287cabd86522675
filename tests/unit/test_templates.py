"""What varies in messages, and which messages are of one pattern."""

from __future__ import annotations

import pyarrow as pa
import pytest

from ess_ray.core.templates import groups, patterns_of, regex_of, shown, skeletons, skeletons_of, template_of


def templates(*messages: str) -> list[str]:
    coded = skeletons_of(pa.array(messages, pa.string()))
    return [template_of(coded.dictionary[at].as_py()) for at in coded.indices.to_pylist()]


def template(message: str) -> str:
    (found,) = templates(message)
    return shown(found)


@pytest.mark.parametrize(
    ("message", "pattern"),
    [
        ("", ""),
        ("started", "started"),
        ("took 12 ms", "took <num> ms"),
        ("took 12ms, 1.5s, 3\u00b5s and 1h30m2.5s", "took <duration>, <duration>, <duration> and <duration>"),
        ("pi 3.14 -5 x=-7 1,234,567 1.5e-10 a-5", "pi <num> <num> x=<num> <num> <num> a-<num>"),
        ("v1.2.3 http2 worker7 user_42 12KB 512b 99%", "v<num> http<num> worker<num> user_<num> <num>KB <num>b <num>%"),
        ("größe42 日本7", "größe<num> 日本<num>"),
        ("4bf92f3577b34da6a3ce929d0e0e4736 0xDEAD1 ab12", "<hex> <hex> <hex>"),
        ("id x7Gh2kQ9 ec2", "id <id> ec<num>"),
        ("550e8400-e29b-41d4-a716-446655440000!", "<uuid>!"),
        ("550e8400-e29b-41d4-a716-4466554400001", "<hex>-<hex>-<hex>-<hex>-<num>"),
        ("10.0.0.1:8080 -> 10.0.0.2", "<ip>:<num> -> <ip>"),
        ("fe80::1 2001:db8:85a3:8d3:1319:8a2e:370:7348 aa:bb:cc:dd:ee:f1", "<ip> <ip> <ip>"),
        ("std::chrono a::b at 10:22:33", "std::chrono a::b at <time>"),
        ("2026-11-24T10:00:00.123Z 2026-11-24 10:00:00,1 +01:00 x", "<time> <time> x"),
        ("[24/Nov/2026:10:00:00 +0000] Nov 24 10:00:00 host", "[<time>] <time> host"),
        ("20261124T100000Z", "<num>T<num>Z"),
        ('say "a b" and "" to 12', 'say "<str>" and "<str>" to <num>'),
        ('{"level":"info","n":5,"\\"k":{"m":"v \\" w"}}', '{"level":"<str>","n":<num>,"\\"k":{"m":"<str>"}}'),
        ("don't say 'a b' or it's 'c'", "don't say '<str>' or it's '<str>'"),
        ('one " alone', 'one " alone'),
        ("rows [1, 2, 3, 4] and 1, 2", "rows [<nums>] and <num>, <num>"),
        ("<num> \ufdd0 \ufdef", "<num> <*> <*>"),
        ("a\nb\t7", "a\nb\t<num>"),
    ],
)
def test_what_varies_becomes_a_placeholder(message: str, pattern: str) -> None:
    assert template(message) == pattern


def test_rows_are_apart() -> None:
    assert templates('a "', '" b', "1", "2", "10:1", "2:3:4:5:6") == templates('a "') + templates('" b') + templates(
        "1"
    ) * 2 + templates("10:1") + templates("2:3:4:5:6")
    assert skeletons_of(pa.array([], pa.string())).to_pylist() == []


def test_long_messages_are_looked_at_in_part(monkeypatch: pytest.MonkeyPatch) -> None:
    long, longer = "x" * 2_000 + "1", "y 1" * 2_000
    for message in (long, longer, "é" * 5_000, "a\u00e9" * 341 + "z" * 10):
        (found,) = templates(message)
        assert shown(found).endswith("<...>")
        assert len(found) <= skeletons.MAX_SKELETON_BYTES + 1
        assert pa.compute.match_substring_regex(pa.array([message]), regex_of(found)).to_pylist() == [True]
    monkeypatch.setattr(skeletons, "MAX_MESSAGE_BYTES", 4)
    assert [shown(each) for each in templates("ab 123", "ab 1")] == ["ab <num><...>", "ab <num>"]


def test_a_regex_matches_whole_messages_of_a_pattern_alone() -> None:
    (found,) = templates("a/b (1)\n")
    assert regex_of(found) == r"(?s)\Aa\/b \([-+0-9.,eE]+\)\n\z"
    assert regex_of("") == r"(?s)\A\z"


def merged(counts: dict[str, int]) -> dict[str, int]:
    found: dict[str, int] = {}
    for each, pattern in patterns_of(counts).items():
        found[shown(pattern)] = found.get(shown(pattern), 0) + counts[each]
    return found


def test_many_words_at_a_place_are_a_variable_and_few_are_not() -> None:
    names = [f"n{chr(97 + at)}" for at in range(groups.MIN_VALUES)]
    counts = {f"user {name} logged {word}": 2 for name in names for word in ("in", "out")}
    assert merged(counts) == {"user <*> logged in": 20, "user <*> logged out": 20}
    assert len(merged({f"user {name} logged in": 1 for name in names[1:]})) == groups.MIN_VALUES - 1


def test_pairs_that_never_repeat_are_one_pattern() -> None:
    pairs = {f"moved {chr(97 + at)}x to {chr(122 - at)}y": 1 for at in range(20)}
    assert merged(pairs) == {"moved <*> to <*>": 20}


def test_other_characters_between_words_make_another_pattern() -> None:
    counts = {f"user={chr(97 + at)}x{end}": 1 for at in range(12) for end in ("", ";")}
    assert merged(counts) == {"user=<*>": 12, "user=<*>;": 12}


def test_placeholders_that_differ_by_chance_are_one() -> None:
    found = dict.fromkeys(templates("commit 1234567 of x", "commit 12ab567 of x", "commit x7Gh2kQ9 of x"), 1)
    assert len(found) == 3
    assert merged(found) == {"commit <*> of x": 3}


def test_no_more_leaders_than_may_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(groups, "MAX_LEADERS", 1)
    counts = {f"{chr(97 + at)}x {chr(97 + at)}y": 2 for at in range(3)} | {f"z {chr(97 + at)}x": 1 for at in range(12)}
    assert len(merged(counts)) == 15  # the leader is one of the first three, and none is like it
    monkeypatch.undo()
    assert merged(counts)["z <*>"] == 12
