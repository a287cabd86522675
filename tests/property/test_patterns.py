"""Patterns against a naive oracle: however rows are parted, and in whatever order parts are put together."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from ess_ray.core.collect import (
    PLACES,
    STEPS,
    CellsFold,
    Partial,
    Patterns,
    decode_collector,
    encode_collector,
    example_in,
)
from ess_ray.core.errors import QueryError
from ess_ray.core.filter import filter_batch
from ess_ray.core.query import Query
from ess_ray.core.templates import patterns_of, regex_of, shown, skeletons_of, template_of
from ess_ray.core.timestamps import format_timestamp
from ess_ray.language import Limit, parse
from ess_ray.search.patterns import PatternsAsked, show_patterns
from tests.examples import examples

MANY = settings(max_examples=examples(60), suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
COLLECTOR = Patterns(5, 2)

PIECES = st.sampled_from(
    [
        *("user", "alice", "bob", "failed", "don't", "Größe", "日本", "a", "\u03b5", "std::", "deadbeef", "null"),
        *("1", "12", "-7", "3.14", "1e10", "12ms", "1h30m", "1\u03b52", "0x1F", "ab12", "x7Gh2kQ9", "512b", "1,234"),
        *("550e8400-e29b-41d4-a716-446655440000", "10.0.0.1", "fe80::1", "aa:bb:cc:dd:ee:f1", "1:2:3:4:5"),
        *("2026-11-24T10:00:00.123Z", "10:22:33", "Nov 24 10:00:00", "[24/Nov/2026:10:00:00 +0000]"),
        *('"', "'", '"a b"', "'c'", '"":', "\\", "\\'", "/", "//", "(", ")", "[", "*", ".", "^$", "<num>", "\ufdd0"),
        *("|", "| stats", "AND", "\n", "\t", "\x00", "\x1b[0m", "\u2028", "\U0010ffff", "\ufdef"),
    ]
)
TEXTS = st.lists(PIECES | st.text(max_size=4), max_size=8).flatmap(
    lambda pieces: st.sampled_from(["", " ", ":", "=", ", "]).map(lambda between: between.join(pieces))
)
FEW = st.builds(
    "{} {} {} {}".format, st.sampled_from("abcdefghijklm"), PIECES, st.sampled_from(["in", "out"]), st.integers(0, 99)
)
MESSAGES = (TEXTS | FEW).map(lambda text: text.encode("utf-8", "replace").decode())
ROWS = st.lists(st.tuples(st.integers(0, 60), MESSAGES), max_size=40)
Row = tuple[int, str]


def table_of(rows: list[Row], **more: Any) -> pa.Table:
    times = pa.array([at for at, _ in rows], pa.timestamp("us", "UTC"))
    return pa.table({"timestamp": times, "message": pa.array([text for _, text in rows], pa.string()), **more})


def templates(messages: list[str]) -> list[str]:
    coded = skeletons_of(pa.array(messages, pa.string()))
    return [template_of(coded.dictionary[at].as_py()) for at in coded.indices.to_pylist()]


def parted(rows: list[Row], chance: random.Random, count: int) -> list[list[Row]]:
    parts: list[list[Row]] = [[] for _ in range(count)]
    for row in rows:
        chance.choice(parts).append(row)
    return parts


def put_together(parts: list[list[Row]], chance: random.Random) -> CellsFold:
    """Make cells of parts, and one of these in some order, some of them beforehand."""
    waiting = [Partial(COLLECTOR.from_rows(table_of(part)), len(part)) for part in parts]
    while True:
        chance.shuffle(waiting)
        fold = COLLECTOR.fold(Query())
        for partial in waiting[: max(2, len(waiting) // 2)]:
            fold.add(partial)
        if len(waiting) <= 2:
            return fold
        waiting = [fold.partial(), *waiting[max(2, len(waiting) // 2) :]]


def cells_of(fold: CellsFold) -> pa.Table:
    return fold.partial().table.sort_by("by_0")


def expected(rows: list[Row]) -> dict[str, dict[str, Any]]:
    """Count row by row."""
    of: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        of[templates([row[1]])[0]].append(row)
    return {
        template: {
            "count": len(mine),
            "first": min(at for at, _ in mine),
            "last": max(at for at, _ in mine),
            "example": min((at, text.encode()) for at, text in mine)[1].decode(),
            "trend": dict(Counter(min(max((at - 5) // 2, 0), STEPS - 1) for at, _ in mine)),
        }
        for template, mine in of.items()
    }


def told(cells: pa.Table) -> dict[str, dict[str, Any]]:
    return {
        row["by_0"]: {
            **{name: row[name] for name in ("count", "first", "last")},
            "example": example_in(row["example"]),
            "trend": {slot["slot"]: slot["n"] for slot in row["trend"]},
        }
        for row in cells.to_pylist()
    }


@MANY
@given(st.lists(MESSAGES, max_size=12))
def test_a_row_is_looked_at_as_if_it_were_alone(messages: list[str]) -> None:
    assert templates(messages) == [templates([message])[0] for message in messages]


@MANY
@given(MESSAGES)
@example("1\u03b52")
def test_the_regex_of_a_template_matches_its_message(message: str) -> None:
    (template,) = templates([message])
    assert pc.match_substring_regex(pa.array([message]), regex_of(template)).to_pylist() == [True], template


@MANY
@given(ROWS, st.randoms(use_true_random=False), st.integers(1, 6))
def test_any_parts_in_any_order_tell_what_python_does(rows: list[Row], chance: random.Random, count: int) -> None:
    assert told(cells_of(put_together(parted(rows, chance, count), chance))) == expected(rows)


@MANY
@given(ROWS, st.randoms(use_true_random=False), st.integers(1, 6))
def test_cells_and_patterns_are_the_same_to_the_bit(rows: list[Row], chance: random.Random, count: int) -> None:
    asked = PatternsAsked("", 30)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ess_ray.core.templates.groups.MIN_VALUES", 3)
        whole = put_together([rows, []], chance)
        for _ in range(2):
            found = put_together(parted(rows, chance, count), chance)
            assert cells_of(found).equals(cells_of(whole))
            assert show_patterns(found, Query(), asked=asked, collector=COLLECTOR) == show_patterns(
                whole, Query(), asked=asked, collector=COLLECTOR
            )


@MANY
@given(ROWS, st.integers(1, 12))
def test_patterns_do_not_depend_on_the_order_of_templates(rows: list[Row], least: int) -> None:
    counts = Counter(templates([text for _, text in rows]))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ess_ray.core.templates.groups.MIN_VALUES", least)
        assert patterns_of(counts) == patterns_of(dict(sorted(counts.items(), reverse=True)))


@MANY
@example([(0, "2026-11-24T10:00:00.123Z")], "")
@given(ROWS, st.sampled_from(["", "*", "a", "-b", "a OR b", 'alice "user" OR -bob', "level:x OR a", "/[a-m]/"]))
def test_a_patterns_query_finds_its_rows_among_those_asked_for(rows: list[Row], text: str) -> None:
    everything = pa.Table.from_batches([batch_of(rows)])
    there = everything.take(filter_batch(batch_of(rows), Query(parse(text))))
    fold = COLLECTOR.fold(Query())
    fold.add(Partial(COLLECTOR.from_rows(there), len(there)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ess_ray.core.templates.groups.MIN_VALUES", 2)
        shown_ = show_patterns(fold, Query(), asked=PatternsAsked(text, 30), collector=COLLECTOR)
    assert shown_.table is not None
    assert shown_.table["patterns_total"] == len(shown_.table["rows"])
    assert sum(row[1] for row in shown_.table["rows"]) == len(there)
    for _, count, share, first, last, example_, query, new, trend in shown_.table["rows"]:
        at = filter_batch(batch_of(rows), Query(parse(query)))
        assert len(at) >= count
        assert example_ in everything.take(at).column("message").to_pylist()
        found = set(at.to_pylist()) <= set(filter_batch(batch_of(rows), Query(parse(text))).to_pylist())
        assert found, "what finds a pattern's rows finds none that were not asked for"
        assert (share, sum(trend), len(trend)) == (count / len(there), count, STEPS)
        assert new == (first >= format_timestamp(30))
        assert first <= last


def batch_of(rows: list[Row]) -> pa.RecordBatch:
    table = table_of(rows, level=pa.nulls(len(rows), pa.string())).combine_chunks()
    return pa.RecordBatch.from_arrays(
        [
            pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)
            for column in table.columns
        ],
        schema=table.schema,
    )


@MANY
@given(st.text(min_size=1, max_size=2_000, alphabet="ab1 '\"/\\\n(é"), st.sampled_from(["", "a", "x OR b"]))
def test_a_long_pattern_is_found_by_its_texts(message: str, text: str) -> None:
    rows = [(3, message * (1 + 12_000 // len(message)))]
    assume(not rows[0][1].isspace())
    fold = COLLECTOR.fold(Query())
    fold.add(Partial(COLLECTOR.from_rows(table_of(rows)), 1))
    shown_ = show_patterns(fold, Query(), asked=PatternsAsked(text), collector=COLLECTOR)
    assert shown_.table is not None
    row = shown_.table["rows"][0]
    assert row[7] is None
    try:
        matched = len(filter_batch(batch_of(rows), Query(parse(text))))
        assert len(filter_batch(batch_of(rows), Query(parse(row[6])))) == matched
        assert len(filter_batch(batch_of([(3, row[5])]), Query(parse(row[6].removeprefix(f"({text}) AND "))))) == 1
    except QueryError as error:
        pytest.fail(f"{row[6]!r}: {error}")


@MANY
@given(
    st.lists(st.tuples(st.integers(0, 60), MESSAGES, st.integers(0, 1), st.integers(0, 5)), max_size=30),
    st.tuples(st.integers(0, 6), st.integers(0, 6)),
    st.integers(1, 10),
)
def test_what_is_in_flight_and_what_is_stored_are_one(
    rows: list[tuple[int, str, int, int]], stored: tuple[int, int], at_once: int
) -> None:
    """Views are of all records; those that the table holds are dropped, and counted there."""
    fold = COLLECTOR.fold(Query(), PLACES)
    for begin in range(0, len(rows), at_once):
        part = rows[begin : begin + at_once]
        places = {
            "vnode": pa.array([vnode for _, _, vnode, _ in part], pa.int32()),
            "offset": pa.array([offset for _, _, _, offset in part], pa.int64()),
        }
        table = table_of([(at, text) for at, text, _, _ in part], **places)
        fold.add(Partial(COLLECTOR.from_rows(table, where=PLACES), len(part)))
    view = fold.partial().table
    next_offset = pa.array(stored, pa.int64()).take(view.column("vnode").combine_chunks())
    flying = view.filter(pc.greater_equal(view.column("offset"), next_offset)).select(COLLECTOR.schema().names)
    whole = COLLECTOR.fold(Query())
    whole.add(Partial(flying, COLLECTOR.rows_of(flying)))
    held = [(at, text) for at, text, vnode, offset in rows if offset < stored[vnode]]
    whole.add(Partial(COLLECTOR.from_rows(table_of(held)), len(held)))
    assert told(cells_of(whole)) == expected([(at, text) for at, text, _, _ in rows])


@given(st.integers(1, 5), st.integers(1, 30))
def test_beyond_what_is_held_nothing_is_lost_and_it_is_told(limit: int, count: int) -> None:
    rows = [(at, "x" * (at + 1)) for at in range(count)]
    fold = CellsFold(COLLECTOR, max_cells=limit)
    fold.add(Partial(COLLECTOR.from_rows(table_of(rows)), count))
    shown_ = show_patterns(fold, Query(), asked=PatternsAsked("", None, (Limit(2),)), collector=COLLECTOR)
    assert shown_.table is not None
    held = sum(cells["count"] for cells in fold.partial().table.to_pylist() if not cells["other"])
    assert fold.rows_matched == count
    assert (held < count) == bool(shown_.reasons)
    assert len(shown_.table["rows"]) == min(2, shown_.table["patterns_total"])
    if held < count:
        assert f"{count - held} rows with the rarest" in shown_.reasons[0]


def test_it_travels_as_json() -> None:
    assert decode_collector(encode_collector(COLLECTOR)) == COLLECTOR
    for wrong in (["patterns"], ["patterns", 1], ["patterns", 1, 0], ["patterns", 1, 2**63], ["patterns", "1", 2]):
        with pytest.raises((ValueError, TypeError)):
            decode_collector(wrong)


def test_what_people_see_has_no_marks() -> None:
    assert shown(templates(["at 10.0.0.1 \ufdd3"])[0]) == "at <ip> <*>"
