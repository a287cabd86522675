"""Statistics against a naive oracle, however rows are parted and in whatever order parts are put together."""

from __future__ import annotations

import math
import random
from fractions import Fraction
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ess_ray.core.collect import Grouping, Partial, Statistics, decode_collector, encode_collector
from ess_ray.core.query import Field, Query
from ess_ray.core.statistics import Statistic, Told, Values, accumulators_of, distinct, ignored, quantiles, sums
from ess_ray.core.statistics.distinct import Distinct
from tests.examples import examples

MANY = settings(max_examples=examples(60), suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])

FIELD = Field("d", attribute=True)
STATISTICS = (
    Statistic("count()", "count"),
    Statistic("rate()", "rate"),
    Statistic("count_distinct(d)", "count_distinct", FIELD, "d"),
    Statistic("sum(d)", "sum", FIELD, "d"),
    Statistic("avg(d)", "avg", FIELD, "d"),
    Statistic("min(d)", "min", FIELD, "d"),
    Statistic("max(d)", "max", FIELD, "d"),
    *(Statistic(f"p{q}(d)", "quantile", FIELD, "d", Fraction(q)) for q in ("0", "0.5", "0.95", "0.999", "1")),
)
COLLECTOR = Statistics(Grouping(10, (Field("level"),)), accumulators_of(STATISTICS))
ODD = ["12ms", "", "NaN", "nan", "inf", "-Infinity", "1e999", "-1e999", "0x10", " 1", "1 ", "1_0", "\u0661", "1,5"]
EDGES = ["0", "-0", "-0.0", "5.", ".5", "+5", "1e308", "1.7976931348623157e308", "5e-324", "-5e-324", "1e-400"]
HUGE = ["9007199254740993", "-9223372036854775809", "123456789012345678901234567890", "1" + "0" * 308, "1" + "0" * 400]
NUMBERS = st.floats(allow_nan=False, allow_infinity=False).map(repr) | st.integers(-(2**70), 2**70).map(str)
TEXTS = st.sampled_from(ODD + EDGES + HUGE) | NUMBERS | st.integers(-5, 5).map(str)
ROW = st.tuples(st.integers(0, 29), st.sampled_from(["INFO", "ERROR", None]), st.none() | TEXTS)
ROWS = st.lists(ROW, max_size=40)
Row = tuple[int, str | None, str | None]


def table_of(rows: list[Row]) -> pa.Table:
    attributes = [[] if text is None else [("d", text)] for _, _, text in rows]
    return pa.table(
        {
            "timestamp": pa.array([at for at, _, _ in rows], pa.timestamp("us", "UTC")),
            "level": pa.array([level for _, level, _ in rows], pa.string()),
            "attributes": pa.array(attributes, pa.map_(pa.string(), pa.string())),
            "attribute_types": pa.nulls(len(rows), pa.string()),
        }
    )


def put_together(parts: list[list[Row]], chance: random.Random) -> pa.Table:
    """Make cells of parts, and one of these in some order, some of them beforehand."""
    waiting = [Partial(COLLECTOR.from_rows(table_of(part)), len(part)) for part in parts]
    while True:
        chance.shuffle(waiting)
        fold = COLLECTOR.fold(Query())
        for partial in waiting[: max(2, len(waiting) // 2)]:
            fold.add(partial)
        waiting = [fold.partial(), *waiting[max(2, len(waiting) // 2) :]]
        if len(waiting) == 1:
            return waiting[0].table.sort_by([(name, "ascending") for name in ("start_us", "by_0", "other")])


def told_of(cells: pa.Table) -> Told:
    return COLLECTOR.told(cells, [2.0] * len(cells))


def number_of(text: str | None) -> float | None:
    """Read what Python and the query language both take for a number."""
    if text is None or text in ("12ms", "", "0x10", " 1", "1 ", "1_0", "\u0661", "1,5"):
        return None
    return float(text) if math.isfinite(float(text)) else None


def nearest(value: Fraction) -> float | None:
    try:
        return value.numerator / value.denominator
    except OverflowError:
        return None


def expected(texts: list[str | None]) -> dict[str, Any]:
    numbers = sorted(value for value in map(number_of, texts) if value is not None)
    total = sum(map(Fraction, numbers), Fraction(0))
    found: dict[str, Any] = {
        "count()": len(texts),
        "rate()": len(texts) / 2,
        "count_distinct(d)": len({text for text in texts if text is not None}),
        "sum(d)": nearest(total) if numbers else None,
        "avg(d)": nearest(total / len(numbers)) if numbers else None,
        "min(d)": numbers[0] if numbers else None,
        "max(d)": numbers[-1] if numbers else None,
    }
    for q in ("0", "0.5", "0.95", "0.999", "1"):
        found[f"p{q}(d)"] = numbers[math.floor(Fraction(q) * (len(numbers) - 1))] if numbers else None
    return found


@MANY
@given(ROWS, st.randoms(use_true_random=False), st.integers(1, 6))
def test_any_parts_in_any_order_tell_what_python_does(rows: list[Row], chance: random.Random, count: int) -> None:
    parts: list[list[Row]] = [[] for _ in range(count)]
    for row in rows:
        chance.choice(parts).append(row)
    cells = put_together(parts, chance)
    groups: dict[tuple[int, str | None], list[str | None]] = {}
    for at, level, text in rows:
        groups.setdefault((at // 10 * 10, level), []).append(text)
    keys = list(zip(cells.column("start_us").to_pylist(), cells.column("by_0").to_pylist(), strict=True))
    assert sorted(map(str, keys)) == sorted(map(str, groups))
    told = told_of(cells)
    for statistic in STATISTICS:
        for key, value in zip(keys, statistic.results(told), strict=True):
            right = expected(groups[key])[statistic.text]
            if statistic.family == "quantile" and right is not None:
                assert value == pytest.approx(right, rel=quantiles.RELATIVE_ERROR, abs=0), (statistic.text, groups[key])
            else:
                assert value == right, (statistic.text, groups[key])
    odd = sum(text is not None and number_of(text) is None for _, _, text in rows)
    assert ignored(told, STATISTICS) == {"d": odd}


@MANY
@given(ROWS, st.randoms(use_true_random=False), st.integers(1, 6), st.integers(1, 5))
def test_cells_are_the_same_to_the_bit(rows: list[Row], chance: random.Random, count: int, exact: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(distinct, "MAX_EXACT", exact)
        patch.setattr(sums, "_CELLS_AT_ONCE", 2)
        whole = put_together([rows, []], chance)
        for _ in range(2):
            parts: list[list[Row]] = [[] for _ in range(count)]
            for row in rows:
                chance.choice(parts).append(row)
            found = put_together(parts, chance)
            assert found.equals(whole)
            assert [told_results(found, each) for each in STATISTICS] == [
                told_results(whole, each) for each in STATISTICS
            ]


def told_results(cells: pa.Table, statistic: Statistic) -> bytes:
    return repr(statistic.results(told_of(cells))).encode()


@given(
    st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=50)
    | st.lists(st.integers(-(2**50), 2**50).map(float), min_size=1, max_size=20)
)
def test_a_sum_is_what_fsum_says(numbers: list[float]) -> None:
    try:
        right: float | None = math.fsum(numbers)
    except OverflowError:  # of what is added up on the way, in CPython's: the sum itself may be within range
        right = nearest(sum(map(Fraction, numbers), Fraction(0)))
    values = Values(pa.array(list(map(repr, numbers))), np.zeros(len(numbers), np.int64))
    kept = sums.Sum(FIELD)
    assert sums.sums_of(kept.put_together(kept.take(values)), [len(numbers)]) == [right]


@pytest.mark.parametrize("count", [9_999, 10_000, 10_001, 30_000, 60_000, 250_000])
def test_many_different_values_are_counted_within_two_percent(count: int) -> None:
    kept = Distinct(FIELD)
    values = Values(pa.array([f"user-{n}" for n in range(count)]), np.zeros(count, np.int64))
    slots = kept.put_together(kept.take(values))
    (found,) = distinct.distinct_in(slots, 1)
    if count <= distinct.MAX_EXACT:
        assert found == count
        assert not distinct.is_estimated(slots)
    else:
        assert found == pytest.approx(count, rel=distinct.RELATIVE_ERROR)
        assert distinct.is_estimated(slots)


def test_case_makes_another_value_and_equal_numbers_do_not() -> None:
    rows = table_of([(0, "A", text) for text in ("a", "A", "1.50", "1.5", "15e-1")])
    typed = rows.set_column(3, "attribute_types", pa.array(["s", "s", "n", "n", "n"]))
    collector = Statistics(Grouping(), (Distinct(FIELD),))
    (found,) = STATISTICS[2].results(collector.told(collector.from_rows(typed), [None]))
    assert found == 3


def test_it_travels_as_json() -> None:
    assert decode_collector(encode_collector(COLLECTOR)) == COLLECTOR
    for wrong in (
        ["statistics"],
        ["statistics", [], []],
        ["statistics", [None, [], [0], [0]], [["median", "d", True]]],
    ):
        with pytest.raises((ValueError, KeyError)):
            decode_collector(wrong)
