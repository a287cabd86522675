"""Filters of lines and labels in a pipeline: those that the search itself could not decide."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ess_ray.core import regex
from ess_ray.language.logql import anchored
from ess_ray.language.logql import tree as t
from ess_ray.language.logql.quantities import duration_s, size_bytes
from ess_ray.search.logql.entries import Entry
from ess_ray.search.logql.labels import LEVELS

FILTER_ERROR: Final = "LabelFilterErr"
Mask = npt.NDArray[np.bool_]

_COMPARE: Final[dict[str, Callable[[float, float], bool]]] = {
    "==": operator.eq,
    "!=": operator.ne,
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
}


def lines_pass(asked: t.LineFilter, entries: Sequence[Entry]) -> Mask:
    """Tell which lines pass."""
    expressions = asked.expressions
    if expressions is not None:
        lines = pa.array([entry.line for entry in entries], pa.string())
        found = np.zeros(len(entries), np.bool_)
        for expression in expressions:
            found |= _found(lines, expression, False)
    else:
        found = np.array([any(value in entry.line for value in asked.values) for entry in entries], np.bool_)
    if asked.addresses:
        found |= np.array([any(one.are_in(entry.line) for one in asked.addresses) for entry in entries], np.bool_)
    return ~found if asked.negated else found


def labels_pass(asked: t.LabelFilter, entries: Sequence[Entry]) -> Mask:
    """Tell which entries pass; one whose value cannot be compared passes, with `__error__`."""
    match asked:
        case t.Matcher():
            return matcher_passes(asked, entries)
        case t.Quantity():
            return np.array([_compare(asked, entry) for entry in entries], np.bool_)
        case t.AddressFilter(name, negated, addresses):
            values = [entry.get(name) for entry in entries]
            told = [bool(value) and addresses.are_in(value or "") is not negated for value in values]
            return np.array(told, np.bool_)
        case t.AllOf(children):
            passed = np.ones(len(entries), np.bool_)
            for child in children:
                at = np.flatnonzero(passed).tolist()
                passed[at] = labels_pass(child, [entries[one] for one in at])
            return passed
        case t.AnyOf(children):
            passed = np.zeros(len(entries), np.bool_)
            for child in children:
                at = np.flatnonzero(~passed).tolist()
                passed[at] = labels_pass(child, [entries[one] for one in at])
            return passed


def matcher_passes(asked: t.Matcher, entries: Sequence[Entry]) -> Mask:
    """Tell which entries' label matches; an absent one is empty."""
    ignore_case = asked.name in LEVELS
    values = [entry.get(asked.name) or "" for entry in entries]
    if asked.op in ("=", "!="):
        wanted = asked.value.lower() if ignore_case else asked.value
        found = np.array([(value.lower() if ignore_case else value) == wanted for value in values], np.bool_)
    else:
        found = _found(pa.array(values, pa.string()), anchored(asked.value), ignore_case)
    return ~found if asked.op in ("!=", "!~") else found


def _found(texts: pa.StringArray, pattern: str, ignore_case: bool) -> Mask:
    found: Mask = regex.find(texts, pattern, ignore_case).to_numpy(zero_copy_only=False).astype(np.bool_)
    return found


def _compare(asked: t.Quantity, entry: Entry) -> bool:
    text = entry.get(asked.name)
    if text is None:
        return False
    value = number_of(text, asked.kind)
    if value is None:
        entry.fail(FILTER_ERROR, f"{text[:80]!r} of {asked.name} is no {asked.kind}")
        return True
    return _COMPARE[asked.op](value, asked.value)


def number_of(text: str, kind: t.QuantityKind) -> float | None:
    """Read a label's value as a number, in seconds, or bytes; None for what is none."""
    if kind == "duration":
        return duration_s(text)
    if kind == "bytes":
        return size_bytes(text)
    try:
        return float(text) if text.strip() == text and "_" not in text else None
    except ValueError:
        return None
