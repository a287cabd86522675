"""Pipes as people write them: what is one, what its stages are, and where a wrong one is wrong."""

from __future__ import annotations

from fractions import Fraction

import pytest

from ess_ray.core.errors import QueryError
from ess_ray.core.query import All, Equals, Field
from ess_ray.core.statistics import Statistic
from ess_ray.language import Fields, Limit, Patterns, Pipe, Sort, Stats, parse, parse_pipe, parse_statistic

COUNT = Statistic("count()", "count")
SERVICE = Field("service")


def pipe_of(text: str) -> Pipe:
    pipe = parse_pipe(text)
    assert pipe is not None
    return pipe


def test_stages_are_read_behind_the_query() -> None:
    pipe = pipe_of('level:ERROR | stats count() as n, p99.9("user ms") by service every 5m | top 3 by n | fields n')
    assert pipe.root == Equals(Field("level"), "ERROR", ignore_case=True)
    assert pipe.query == "level:ERROR"
    tail = Statistic('p99.9("user ms")', "quantile", Field("user ms", True), "user ms", Fraction("0.999"))
    assert pipe.first == Stats((COUNT, tail), ("n", 'p99.9("user ms")'), (SERVICE,), ("service",), "5m", 68)
    assert pipe.steps == (Sort((("n", True),)), Limit(3), Fields(("n",)))


@pytest.mark.parametrize("text", ["| stats count()", "* | stats count()", "*\n|\tstats\ncount ( )"])
def test_a_query_may_be_everything_and_spaces_any(text: str) -> None:
    pipe = pipe_of(text)
    assert pipe.root == All()
    assert isinstance(pipe.first, Stats)
    assert (pipe.first.statistics, pipe.first.columns, pipe.steps) == ((COUNT,), ("count()",), ())


@pytest.mark.parametrize(
    ("stages", "keys"),
    [
        ("sort by service", (("service", False),)),
        ("sort by count() desc, service asc", (("count()", True), ("service", False))),
        ("top 5", (("count()", True),)),
        ("top 5 by max(ms)", (("max(ms)", True),)),
    ],
)
def test_rows_are_sorted_by_columns_as_they_are_called(stages: str, keys: tuple[tuple[str, bool], ...]) -> None:
    assert pipe_of(f"a | stats count(), max(ms) by service | {stages}").steps[0] == Sort(keys)


def test_patterns_may_stand_first() -> None:
    pipe = pipe_of("a | patterns | top 3 | fields query, count")
    assert (pipe.first, pipe.query) == (Patterns(), "a")
    assert pipe.steps == (Sort((("count", True),)), Limit(3), Fields(("query", "count")))


@pytest.mark.parametrize(
    "text",
    [
        "a | b",
        "a |stats count",
        "a| stats count",
        "a || stats x",
        '"a | stats count()"',
        "/a | stats b/",
        "a | statsy x",
        "a | Stats x",
        "stats count",
        "a |",
        '"never | stats" x',
    ],
)
def test_any_other_bar_is_text(text: str) -> None:
    assert parse_pipe(text) is None
    parse(text)


def test_words_of_stages_are_names_where_a_name_stands() -> None:
    pipe = pipe_of("a | stats count() as limit by by, sort, as, every, top | sort by by, limit desc")
    assert isinstance(pipe.first, Stats)
    assert pipe.first.by_names == ("by", "sort", "as", "every", "top")
    assert pipe.steps == (Sort((("by", False), ("limit", True))),)


@pytest.mark.parametrize(
    ("text", "position", "says"),
    [
        ("a | stats", 9, "a function such as count()"),
        ("a | stats count", 10, "a function such as count()"),
        ("a | stats count(", 16, "the text cannot end here"),
        ("a | stats count() by", 20, "a name"),
        ("a | stats count() every", 23, "a width such as 5m"),
        ("a | stats count() | top x", 24, "a number"),
        ("a | stats count() | limit 0", 26, "from 1 to 10,000"),
        ("a | stats count() | limit 10001", 26, "from 1 to 10,000"),
        ("a | stats count() | limit 1.5", 26, "from 1 to 10,000"),
        ("a | stats count() | sort by n", 28, 'no column "n" at this stage: there are count()'),
        ("a | stats count() as n by host | fields n | sort by host", 52, 'no column "host"'),
        ("a | stats count(), count()", 19, 'two columns would be called "count()"'),
        ("a | stats count() as time every 5m", 21, 'two columns would be called "time"'),
        ("a | stats count() | stats count()", 2, "stands once"),
        ("a | stats count() by attributes", 21, "names no field"),
        ("a | stats sum(attributes.)", 14, "names no field"),
        ("a | stats p95(5)", 14, "takes a field, not a number"),
        ("a | stats count() | median x", 20, "cannot stand here"),
        ("a | sort by n", 2, "begin with `| stats"),
        ("a | patterns by b", 13, "cannot stand here"),
        ("a | patterns | sort by n", 23, 'no column "n" at this stage: there are pattern, count'),
        ("a | patterns | fields query | top 5", 2, "a column of numbers"),
        ("a | patterns | stats count()", 2, "stands once"),
        ("AND | stats count()", 0, "AND needs a term before it"),
    ],
)
def test_what_is_wrong_is_told_where_it_stands(text: str, position: int, says: str) -> None:
    with pytest.raises(QueryError) as told:
        parse_pipe(text)
    assert (told.value.position, says in told.value.message) == (position, True), told.value.message


def test_no_more_functions_and_fields_than_anybody_reads() -> None:
    with pytest.raises(QueryError, match="at most 50 functions"):
        parse_pipe("a | stats " + ", ".join(f"sum(f{n})" for n in range(51)))
    with pytest.raises(QueryError, match="at most 8 fields"):
        parse_pipe("a | stats count() by " + ", ".join(f"f{n}" for n in range(9)))
    with pytest.raises(QueryError, match="at most 16384 are read"):
        parse_pipe("a | stats count() | fields " + "x" * 20_000)


@pytest.mark.parametrize(
    ("text", "q"), [("p50(f)", "0.5"), ("p99.9(f)", "0.999"), ("p100(f)", "1"), ("quantile(0.25, f)", "0.25")]
)
def test_a_function_is_shown_as_it_is_written(text: str, q: str) -> None:
    field = Field("f", attribute=True)
    assert parse_statistic(text) == Statistic(text, "quantile", field, "f", Fraction(q))
    assert parse_statistic(f" {text}").text == f" {text}"
