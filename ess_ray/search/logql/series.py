"""Series: numbers at steps, told apart by labels; what is made of several of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from ess_ray.core.errors import BadRequest
from ess_ray.language.logql import anchored
from ess_ray.language.logql import tree as t
from ess_ray.language.logql.functions import COMPARISONS, PICKING, SETS, SORTING
from ess_ray.search.logql.labels import Pairs

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
Times = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Steps:
    """The moments at which a question is answered, in microseconds."""

    first_us: int
    step_us: int = 1
    count: int = 1

    @property
    def times_us(self) -> Times:
        """Give them all."""
        return self.first_us + self.step_us * np.arange(self.count, dtype=np.int64)

    @property
    def last_us(self) -> int:
        """Give the last one."""
        return self.first_us + self.step_us * (self.count - 1)


@dataclass(frozen=True)
class Points:
    """A number at each step, and whether it is there."""

    values: Floats
    there: Mask


Series = dict[Pairs, Points]
Result = Series | float


def constant(value: float, steps: Steps) -> Points:
    """Give the same number at each step."""
    return Points(np.full(steps.count, value), np.ones(steps.count, np.bool_))


# ------------------------------------------------------------------------------------------------ of groups of series
def grouped_labels(pairs: Pairs, grouping: t.Grouping | None) -> Pairs:
    """Give the labels of the group that a series belongs to."""
    if grouping is None:
        return ()
    names = frozenset(grouping.names)
    return tuple(pair for pair in pairs if (pair[0] in names) is not grouping.without)


def put_together(name: str, series: Series, grouping: t.Grouping | None, parameter: float | None) -> Series:
    """Make one series of each group; of `topk` and `bottomk` those that are picked, of `sort` all in another order."""
    if name in SORTING:
        return dict(sorted(series.items(), key=_last_value, reverse=name == "sort_desc"))
    groups: dict[Pairs, list[Pairs]] = {}
    for pairs in series:
        groups.setdefault(grouped_labels(pairs, grouping), []).append(pairs)
    if name in PICKING:
        made: Series = {}
        for members in groups.values():
            made |= _picked(name == "topk", int(parameter or 1), {pairs: series[pairs] for pairs in members})
        return made
    return {group: _of_group(name, [series[pairs] for pairs in members]) for group, members in groups.items()}


def _last_value(item: tuple[Pairs, Points]) -> float:
    return float(item[1].values[-1])


def _of_group(name: str, members: Sequence[Points]) -> Points:
    values, there = np.stack([one.values for one in members]), np.stack([one.there for one in members])
    count = there.sum(axis=0)
    some = count > 0
    with np.errstate(all="ignore"):
        return Points(np.where(some, _GROUPED[name](values, there, count), 0.0), some)


def _sum(values: Floats, there: Mask, _: Any) -> Floats:
    total: Floats = np.where(there, values, 0.0).sum(axis=0)
    return total


def _variance(values: Floats, there: Mask, count: Any) -> Floats:
    mean = _sum(values, there, count) / count
    found: Floats = _sum((values - mean) ** 2, there, count) / count
    return found


_GROUPED: Final[dict[str, Callable[[Floats, Mask, Any], Any]]] = {
    "sum": _sum,
    "avg": lambda values, there, count: _sum(values, there, count) / count,
    "min": lambda values, there, _: np.where(there, values, np.inf).min(axis=0),
    "max": lambda values, there, _: np.where(there, values, -np.inf).max(axis=0),
    "count": lambda values, there, count: count.astype(np.float64),
    "stdvar": _variance,
    "stddev": lambda values, there, count: np.sqrt(_variance(values, there, count)),
}


def _picked(largest: bool, count: int, series: Series) -> Series:
    """Keep, at each step, the `count` largest or smallest; of equal ones the first."""
    values = np.stack([one.values for one in series.values()])
    there = np.stack([one.there for one in series.values()])
    worst = -np.inf if largest else np.inf
    ranked = np.where(there, np.where(np.isnan(values), worst, values), worst)
    order = np.argsort(-ranked if largest else ranked, axis=0, kind="stable")
    # Those that are not there stand behind those that are as bad.
    absent_last = np.take_along_axis(~there, order, axis=0)
    order = np.take_along_axis(order, np.argsort(absent_last, axis=0, kind="stable"), axis=0)
    picked = np.zeros_like(there)
    np.put_along_axis(picked, order[:count], True, axis=0)
    picked &= there
    return {
        pairs: Points(one.values, mask) for (pairs, one), mask in zip(series.items(), picked, strict=True) if mask.any()
    }


# ------------------------------------------------------------------------------------------------------ of two of them
_ARITHMETIC: Final[dict[str, Callable[[Any, Any], Any]]] = {
    "+": np.add,
    "-": np.subtract,
    "*": np.multiply,
    "/": np.divide,
    "%": np.fmod,
    "^": np.power,
    "==": np.equal,
    "!=": np.not_equal,
    ">": np.greater,
    ">=": np.greater_equal,
    "<": np.less,
    "<=": np.less_equal,
}


def joined(node: t.Binary, left: Result, right: Result) -> Result:
    """Give the result of an operator. Raises BadRequest where it is not settled which series belong together."""
    with np.errstate(all="ignore"):
        if isinstance(left, float) and isinstance(right, float):
            return _of_numbers(node, left, right)
        if isinstance(left, float) or isinstance(right, float):
            return _with_number(node, left, right)
        if node.op in SETS:
            return _of_sets(node, left, right)
        return _of_series(node, left, right)


def _of_numbers(node: t.Binary, left: float, right: float) -> float:
    if node.op in SETS:
        raise BadRequest(f"{node.op} joins series, not numbers")
    return float(_ARITHMETIC[node.op](np.float64(left), np.float64(right)))


def _with_number(node: t.Binary, left: Result, right: Result) -> Series:
    if node.op in SETS:
        raise BadRequest(f"{node.op} joins series, not numbers")
    series, number_first = (right, True) if isinstance(left, float) else (left, False)
    assert not isinstance(series, float)
    number = np.float64(left if isinstance(left, float) else right)  # type: ignore[arg-type]
    made = {}
    for pairs, one in series.items():
        operands = (number, one.values) if number_first else (one.values, number)
        made[pairs] = _points(node, one.values, operands, one.there)
    return _without_empty(made)


def _points(node: t.Binary, kept: Floats, operands: tuple[Any, Any], there: Mask) -> Points:
    """Apply an operator: a comparison leaves points out, unless it is to give 0 or 1."""
    found = _ARITHMETIC[node.op](*operands)
    if node.op not in COMPARISONS:
        return Points(np.asarray(found, np.float64), there)
    if node.as_bool:
        return Points(np.asarray(found, np.float64), there)
    return Points(kept, there & found)


def _match(pairs: Pairs, matching: t.Matching | None) -> Pairs:
    if matching is None:
        return pairs
    names = frozenset(matching.names)
    return tuple(pair for pair in pairs if (pair[0] in names) is matching.on)


def _one_each(series: Series, matching: t.Matching | None) -> dict[Pairs, Pairs]:
    found: dict[Pairs, Pairs] = {}
    for pairs in series:
        if _match(pairs, matching) in found:
            raise BadRequest(
                "multiple series match one of the other side: say which side may have several (group_left, "
                "group_right), or put them together with sum by (..) first"
            )
        found[_match(pairs, matching)] = pairs
    return found


def _of_series(node: t.Binary, left: Series, right: Series) -> Series:
    if node.many is not None:
        return _of_many(node, node.many, left, right)
    lefts, rights = _one_each(left, node.matching), _one_each(right, node.matching)
    made: Series = {}
    for common, pairs in lefts.items():
        if common not in rights:
            continue
        one, other = left[pairs], right[rights[common]]
        filters = node.op in COMPARISONS and not node.as_bool
        points = _points(node, one.values, (one.values, other.values), one.there & other.there)
        made[pairs if filters else common] = points
    return _without_empty(made)


def _of_many(node: t.Binary, many: t.ManySide, left: Series, right: Series) -> Series:
    """Join each series of one side with the only one of the other that it matches: it keeps its labels."""
    several, single = (left, right) if many.side == "left" else (right, left)
    ones = _one_each(single, node.matching)
    made: Series = {}
    for pairs, mine in several.items():
        common = _match(pairs, node.matching)
        if common not in ones:
            continue
        theirs = ones[common]
        one, other = (mine, single[theirs]) if many.side == "left" else (single[theirs], mine)
        points = _points(node, one.values, (one.values, other.values), one.there & other.there)
        held = dict(theirs)
        fresh = pairs_of({**dict(pairs), **{name: held.get(name, "") for name in many.taken}})
        if fresh in made:
            raise BadRequest(
                "multiple matches for labels: grouping labels must ensure unique matches, and those that are taken "
                f"from the other side ({', '.join(many.taken)}) make two series alike"
            )
        made[fresh] = points
    return _without_empty(made)


def _of_sets(node: t.Binary, left: Series, right: Series) -> Series:
    held: dict[Pairs, Mask] = {}
    for pairs, one in (right if node.op != "or" else left).items():
        common = _match(pairs, node.matching)
        held[common] = held[common] | one.there if common in held else one.there
    made: Series = dict(left) if node.op == "or" else {}
    for pairs, one in (right if node.op == "or" else left).items():
        mask = held.get(_match(pairs, node.matching))
        there = np.zeros_like(one.there) if mask is None else mask
        wanted = one.there & (there if node.op == "and" else ~there)
        if pairs in made:
            before = made[pairs]
            made[pairs] = Points(np.where(before.there, before.values, one.values), before.there | wanted)
        else:
            made[pairs] = Points(one.values, wanted)
    return _without_empty(made)


def _without_empty(series: Series) -> Series:
    return {pairs: one for pairs, one in series.items() if one.there.any()}


def relabelled(node: t.LabelReplace, series: Series) -> Series:
    """Give series with a label made of another one. Raises BadRequest where two become alike."""
    made: Series = {}
    replacement = node.replacement.replace("\\", "\\\\")
    for digit in "0123456789":
        replacement = replacement.replace(f"${{{digit}}}", f"\\{digit}").replace(f"${digit}", f"\\{digit}")
    for pairs, points in series.items():
        labels = dict(pairs)
        value = pa.array([labels.get(node.source, "")], pa.string())
        if pc.match_substring_regex(value, anchored(node.pattern))[0].as_py():
            labels[node.target] = pc.replace_substring_regex(value, anchored(node.pattern), replacement)[0].as_py()
        fresh = pairs_of(labels)
        if fresh in made:
            raise BadRequest("label_replace makes two series alike")
        made[fresh] = points
    return made


def pairs_of(labels: Mapping[str, str] | Iterable[tuple[str, str]]) -> Pairs:
    """Give labels by name; empty ones are none."""
    return tuple(sorted((name, value) for name, value in dict(labels).items() if value))


# ----------------------------------------------------------------------------------------------------- samples in time
def over_time(
    name: str, parameter: float | None, us: Times, values: Floats, *, lines: t.LogRange, steps: Steps
) -> Points:
    """Give what a function makes of the samples (ascending) before each step: of (t - range, t]."""
    ends_us = steps.times_us - lines.offset_us
    first = np.searchsorted(us, ends_us - lines.range_us, side="right")
    last = np.searchsorted(us, ends_us, side="right")
    there = last > first
    made = np.zeros(steps.count)
    seconds = lines.range_us / 1_000_000
    for at in np.flatnonzero(there):
        made[at] = _of_window(name, parameter, values[first[at] : last[at]], seconds)
    return Points(made, there)


def _of_window(name: str, parameter: float | None, window: Floats, seconds: float) -> float:  # noqa: PLR0911
    match name:
        case "count_over_time":
            return float(len(window))
        case "rate" | "bytes_rate":
            return math.fsum(window) / seconds
        case "sum_over_time" | "bytes_over_time":
            return math.fsum(window)
        case "avg_over_time":
            return math.fsum(window) / len(window)
        case "min_over_time":
            return float(window.min())
        case "max_over_time":
            return float(window.max())
        case "first_over_time":
            return float(window[0])
        case "last_over_time":
            return float(window[-1])
        case "stdvar_over_time":
            return float(window.var())
        case "stddev_over_time":
            return float(window.std())
    assert name == "quantile_over_time"
    return _quantile(parameter or 0.0, window)


def _quantile(share: float, window: Floats) -> float:
    if share < 0 or share > 1:
        return math.inf if share > 1 else -math.inf
    return float(np.quantile(window, share))
