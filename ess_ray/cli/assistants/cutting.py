"""Answers cut to what an assistant can read, saying what was left out."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, Final

MAX_ANSWER_CHARS: Final = 60_000
"""Of all rows as JSON: about 15,000 tokens, a tenth of what an assistant can have before it."""
MAX_VALUE_CHARS: Final = 2_000
"""Of one value: the head of a stack trace tells what it is about."""


def cut_rows(
    rows: Iterable[Any], *, max_chars: int = MAX_ANSWER_CHARS, max_value_chars: int = MAX_VALUE_CHARS
) -> tuple[list[Any], list[str]]:
    """Give the rows that fit into `max_chars` of JSON, long texts in them cut, and sentences that say what was cut."""
    kept: list[Any] = []
    left_out = cut_values = room = 0
    for row in rows:
        short, cuts = _cut_value(row, max_value_chars)
        room += len(json.dumps(short, ensure_ascii=False, default=str))
        if left_out or room > max_chars:
            left_out += 1
            continue
        kept.append(short)
        cut_values += cuts
    told = []
    if left_out:
        told.append(f"{left_out} more rows were found but do not fit: narrow the query, the range, or ask for fewer")
    if cut_values:
        told.append(f"{cut_values} values were longer than {max_value_chars} characters and end in '[cut]'")
    return kept, told


def _cut_value(value: Any, max_chars: int) -> tuple[Any, int]:
    if isinstance(value, str):
        return (value, 0) if len(value) <= max_chars else (value[:max_chars] + "[cut]", 1)
    if isinstance(value, Mapping):
        parts = {key: _cut_value(each, max_chars) for key, each in value.items()}
        return {key: short for key, (short, _) in parts.items()}, sum(cuts for _, cuts in parts.values())
    if isinstance(value, list):
        items = [_cut_value(each, max_chars) for each in value]
        return [short for short, _ in items], sum(cuts for _, cuts in items)
    return value, 0
