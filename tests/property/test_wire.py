"""Tasks and results survive the wire, through real JSON: whatever the query, whatever the rows."""

from __future__ import annotations

import json
import math
from collections.abc import Callable

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ess_ray.core.collect import (
    COLLECTORS,
    CellCollector,
    Collector,
    FieldNames,
    Grouping,
    Partial,
    Patterns,
    Rows,
    SliceRows,
)
from ess_ray.core.errors import BadRequest, CorruptData
from ess_ray.core.merge import EMPTY
from ess_ray.core.query import All, And, Compare, Contains, Equals, Exists, Field, Node, Not, Or, Query, Range, Regex
from ess_ray.language import parse
from ess_ray.ports import Cost, ObjectEntry, ScanResult, ScanTask
from ess_ray.search import wire
from ess_ray.search.question import Question, decode_question, encode_question
from ess_ray.testing import MemoryObjectStore

FIELDS = st.builds(Field, st.text(max_size=8), st.booleans())
LEAVES: st.SearchStrategy[Node] = st.one_of(
    st.builds(All),
    st.builds(Exists, FIELDS),
    *(st.builds(kind, FIELDS, st.text(max_size=12), st.booleans()) for kind in (Contains, Regex, Equals)),
    st.builds(Compare, FIELDS, st.sampled_from(["<", "<=", ">", ">="]), st.floats(allow_nan=False)),
    st.builds(Range, FIELDS, st.floats(allow_nan=False), st.booleans(), st.floats(allow_nan=False), st.booleans()),
)
NODES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.builds(And, st.lists(inner, max_size=3).map(tuple)),
        st.builds(Or, st.lists(inner, max_size=3).map(tuple)),
        st.builds(Not, inner),
    ),
    max_leaves=8,
)
TIMES = st.none() | st.integers(-(2**63), 2**63 - 1)
ENTRY = ObjectEntry("tenant=t/o.parquet", 10, "t", "2026-09-21", 13, 2, 1, 5, 9)


def through(value: object) -> object:
    return json.loads(json.dumps(value, allow_nan=False))


@given(NODES, TIMES, TIMES, st.integers(1, 200_000), st.sampled_from(["newest", "oldest"]))
def test_a_task_comes_as_it_was_sent(root: Node, start_us: int, end_us: int, limit: int, order: str) -> None:
    task = ScanTask("t", Query(root, start_us, end_us, limit, order), (ENTRY, ENTRY))  # type: ignore[arg-type]
    assert wire.decode_task(through(wire.encode_task(task))) == task


@given(NODES, TIMES, TIMES, st.sampled_from([None, "ray", "auto"]))
def test_a_question_is_kept_as_text(root: Node, start_us: int, end_us: int, executor: str | None) -> None:
    asked = Question(Query(root, start_us, end_us), executor)
    text = encode_question(asked)
    assert text.isascii()
    assert decode_question(text) == asked


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"query":{}}', '{"query":{"root":["not"]},"executor":null}'])
def test_a_question_that_is_none_says_what_to_do(text: str) -> None:
    with pytest.raises(CorruptData, match="run the query again"):
        decode_question(text)


@given(NODES, st.none() | st.integers(1, 2**53), st.lists(FIELDS, max_size=3).map(tuple), st.booleans())
def test_a_task_that_counts_comes_as_it_was_sent(
    root: Node, interval_us: int | None, by: tuple[Field, ...], names: bool
) -> None:
    counting = FieldNames() if names else Grouping(interval_us, by)
    task = ScanTask("t", Query(root), (ENTRY,), collector=counting)
    assert wire.decode_task(through(wire.encode_task(task))) == task


@pytest.mark.parametrize("collector", [Rows(), SliceRows(), FieldNames(), Grouping(5), Patterns(1, 2)])
def test_a_collector_travels_by_its_name(collector: Collector) -> None:
    task = ScanTask("t", Query(), (ENTRY,), collector)
    value = through(wire.encode_task(task))
    assert isinstance(value, dict)
    assert COLLECTORS[value["collector"][0]] is type(collector)
    assert wire.decode_task(value) == task


@pytest.mark.parametrize("inline", [True, False])
@pytest.mark.parametrize(
    "counting", [Grouping(), Grouping(60, (Field("level"), Field("k", True))), FieldNames(), Patterns(0, 1)]
)
def test_counts_come_as_they_were_sent(
    make_events: Callable[..., pa.Table],
    t0_us: int,
    counting: CellCollector,
    inline: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(wire, "MAX_INLINE_BYTES", 1 << 20 if inline else 10)
    rows = make_events([t0_us, t0_us + 60], level=["é", None], attributes=[[("k", "v")], None])
    answers = MemoryObjectStore(lambda: 0)
    for counted in (rows, rows.slice(0, 0)):
        result = ScanResult(Partial(counting.from_rows(counted), 7), Cost(8, 9), (("key", "gone"),))
        assert wire.decode_result(through(wire.encode_result(result, answers)), answers, counting) == result


@pytest.mark.parametrize("text", ["duration:>1e999", "a:[-inf TO inf]", "NOT " * 400 + "x", "(" * 90 + "x" + ")" * 90])
def test_what_the_language_gives_fits(text: str) -> None:
    try:
        root = parse(text)
    except BadRequest:
        return
    task = ScanTask("t", Query(root), ())
    assert wire.decode_task(through(wire.encode_task(task))) == task


def test_infinity_is_json() -> None:
    task = ScanTask("t", Query(Compare(Field("a"), ">", math.inf)), ())
    assert wire.decode_task(through(wire.encode_task(task))) == task


@pytest.mark.parametrize("inline", [True, False])
def test_a_result_comes_as_it_was_sent(
    make_events: Callable[..., pa.Table], t0_us: int, inline: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wire, "MAX_INLINE_BYTES", 1 << 20 if inline else 10)
    rows = make_events([t0_us, t0_us + 1], ["a\x00é", ""], attributes=[[("k", "v")], None])
    answers = MemoryObjectStore(lambda: 0)
    result = ScanResult(Partial(rows, 7, 1), Cost(8, 9), (("key", "gone"),))
    answer = through(wire.encode_result(result, answers))
    assert len(answers.list("")) == (0 if inline else 1)
    assert wire.decode_result(answer, answers) == result
    assert not answers.list("")


@pytest.mark.parametrize("wrong", [None, [], "text", {}, {"format": 99}])
def test_another_format_says_what_to_do(wrong: object) -> None:
    for read in (wire.decode_task, lambda value: wire.decode_result(value, MemoryObjectStore(lambda: 0))):
        with pytest.raises(BadRequest, match="deploy the function anew"):
            read(wrong)


@pytest.mark.parametrize(
    "change",
    [
        {"query": {"root": ["maybe", "a", False, "b", True]}},
        {"query": {"root": ["and", ["not"]]}},
        {"entries": [["key"]]},
        {"tenant": None, "entries": 3},
        {"query": {"limit": float("inf")}},
        {"query": {"limit": "10"}},
        {"query": {"start_us": 2**63}},
        {"query": {"end_us": "now"}},
        {"tenant": 5},
        {"entries": [["key", "10", "t", "2026-09-21", 13, 2, 1, 5, 9]]},
        {"entries": [["key", 10, "t", "2026-09-21", 13, 2, 1, 2**70, 9]]},
        {"entries": [[None, 10, "t", "2026-09-21", 13, 2, 1, 5, 9]]},
        {"collector": ["counts", 0, []]},
        {"collector": ["counts"]},
        {"collector": ["counts", "1m", []]},
        {"collector": ["counts", None, ["level"]]},
        {"collector": 7},
        {"collector": []},
        {"collector": "rows"},
        {"collector": ["nobody knows this"]},
        {"collector": ["rows", 1]},
    ],
)
def test_a_task_that_is_none_is_refused(change: dict[str, object]) -> None:
    whole = {"start_us": None, "end_us": None, "limit": 1, "order": "newest", "root": ["all"]}
    value = wire.encode_task(ScanTask("t", Query(), (ENTRY,)))
    query = {**whole, **change.pop("query", {})}  # type: ignore[dict-item]
    with pytest.raises(BadRequest, match="no scan task"):
        wire.decode_task({**value, "query": query, **change})


def test_rows_in_the_place_of_counts_are_corrupt() -> None:
    answers = MemoryObjectStore(lambda: 0)
    answer = wire.encode_result(ScanResult(Partial(EMPTY)), answers)
    with pytest.raises(CorruptData, match="counts"):
        wire.decode_result(answer, answers, Grouping())


@pytest.mark.parametrize("rows", ["!", "", "AAAA"])
def test_rows_that_are_none_are_corrupt(rows: str) -> None:
    answers = MemoryObjectStore(lambda: 0)
    answer = wire.encode_result(ScanResult(Partial(EMPTY)), answers)
    with pytest.raises(CorruptData):
        wire.decode_result({**answer, "table": rows}, answers)
