"""Events that were taken apart by their layouts to columns, together with those that have none.

What is not plain costs itself alone: the rules of one event read it, and its row is put where it belongs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import pyarrow as pa

from ess_ray.core.errors import TooLarge
from ess_ray.core.event import MAX_EVENT_BYTES, TIMESTAMP, level_of_severity, normalize_level
from ess_ray.intake.attributes import Reading, check_numbers, types_of
from ess_ray.intake.batches import ReadRows, assemble, odd_columns, read_each, without_large
from ess_ray.intake.columns import scalar_texts
from ess_ray.intake.decoded import Decoded
from ess_ray.intake.layouts import FIELDS, Layout, Unusual
from ess_ray.intake.rows import STRING_FIELDS, Row, journal_priority
from ess_ray.intake.trace_ids import stored_trace_ids

_STRING: Final = pa.string()
_NAMES: Final = pa.list_(_STRING)
_ROUNDS: Final = 3
"""What is not plain is seen when an event is taken apart, or when columns are made: then those are made again."""
_ATTRIBUTES: Final = "attributes"
_OWN_LEVEL, _PRIORITY = "level", "PRIORITY"


class Odd(Exception):
    """Some of the rows are not plain: `rows` says which."""

    def __init__(self, rows: set[int]) -> None:
        super().__init__()
        self.rows = rows


@dataclass(slots=True)
class TakenApart:
    """Plain events, taken apart: an entry of each list for each of them. `values` are those of all attributes."""

    indices: list[int] = field(default_factory=list)
    """Which of the events each is."""
    times_us: list[int] = field(default_factory=list)
    messages: list[str] = field(default_factory=list)
    levels: list[tuple[str | None, int | None] | None] = field(default_factory=list)
    """Where a protocol has a level of its own: that and its number, None for the one among the fields."""
    fields: list[Any] = field(default_factory=list)
    """What `Layout.fields` gives, one behind another: so many objects kept would keep the garbage collector busy."""
    numbers: list[int] = field(default_factory=list)
    """Of each one's layout."""
    layouts: dict[Layout, int] = field(default_factory=dict)
    values: list[Any] = field(default_factory=list)
    shared_chars: int = 0
    """Of the text that stands around events, as often as it is repeated."""

    def number_of(self, layout: Layout) -> int:
        """Give the number of a layout."""
        number = self.layouts.get(layout)
        if number is None:
            number = self.layouts[layout] = len(self.layouts)
        return number


Read = Callable[[Any, Reading], Row]
TakeApart = Callable[[Sequence[Any], set[int], Reading], TakenApart]
"""(events, indices of those that are odd, what they share) to the plain ones of all others, taken apart."""


def shaped_columns(events: Sequence[Any], reading: Reading, read: Read, take_apart: TakeApart) -> Decoded:
    """Give what `odd_columns` gives, sooner. Raises as it does."""
    odd: set[int] = set()
    chars_left = reading.chars_left
    for _ in range(_ROUNDS):
        taken = take_apart(events, odd, reading)
        if not taken.indices:
            break
        try:
            batch = _batch_of(taken, reading)
        except Odd as found:
            odd |= {taken.indices[row] for row in found.rows}
            continue
        except Unusual:
            break
        if len(taken.indices) < len(events):
            try:
                return _with_odd(events, taken.indices, batch, reading, read)
            except TooLarge:  # plain ones are counted in other units
                break
        # All rows together are the most that one of them can be: it has its share of each buffer.
        if batch.nbytes <= MAX_EVENT_BYTES:
            return Decoded(batch)
        return without_large(batch, taken.indices, [], [])
    reading.chars_left = chars_left
    return odd_columns(events, reading, read)


def _with_odd(events: Sequence[Any], plain: list[int], batch: pa.RecordBatch, reading: Reading, read: Read) -> Decoded:
    """Put the rows of plain events and of all others together."""
    others = sorted(set(range(len(events))).difference(plain))
    rows = read_each(events, others, reading, read)
    indices = np.array([*plain, *rows.indices])
    order = np.argsort(indices)
    whole = _joined(batch, rows).take(pa.array(order))
    return without_large(whole, indices[order].tolist(), rows.rejected, rows.adjusted)


def _joined(batch: pa.RecordBatch, rows: ReadRows) -> pa.RecordBatch:
    """Put batches one behind another: attributes are null where no event of both has one, else each has some or
    none."""
    both = [batch, rows.batch]
    at = batch.schema.get_field_index(_ATTRIBUTES)
    if any(each.column(at).null_count < len(each) for each in both):
        both = [
            each.set_column(at, each.schema.field(at), _no_attributes(len(each)))
            if each.column(at).null_count == len(each)
            else each
            for each in both
        ]
    return pa.concat_batches(both)


def _no_attributes(count: int) -> pa.MapArray:
    nothing = pa.array([], _STRING)
    return pa.MapArray.from_arrays(pa.array([0] * (count + 1), pa.int32()), nothing, nothing)


# ------------------------------------------------------------------------------------------------------------ columns
def _batch_of(taken: TakenApart, reading: Reading) -> pa.RecordBatch:
    """Make columns. Raises Odd, Inexact, and Unusual where the attributes are perhaps too much together."""
    if taken.shared_chars > reading.chars_left // 2:
        raise Unusual
    _, _, levels, *strings = (taken.fields[at :: len(FIELDS)] for at in range(len(FIELDS)))
    columns = {"timestamp": _times(taken.times_us, reading), "message": pa.array(taken.messages, _STRING)}
    columns |= _levels(levels, taken)
    for name, texts in zip(STRING_FIELDS, strings, strict=True):
        column = pa.array(texts, _STRING)
        columns[name] = stored_trace_ids(column) if name in ("trace_id", "span_id") else column
    columns |= _attributes(taken, reading)
    return assemble(columns, len(taken.indices), reading.now_us)


def _times(times_us: list[int], reading: Reading) -> pa.Array:
    """Give the column of times. Raises Odd for those that no event has."""
    earliest = reading.now_us - reading.limits.max_event_age_us
    latest = reading.now_us + reading.limits.max_clock_skew_us
    if min(times_us) < earliest or max(times_us) > latest:
        raise Odd({row for row, time_us in enumerate(times_us) if not earliest <= time_us <= latest})
    return pa.array(times_us, TIMESTAMP)


def _levels(levels: Sequence[Any], taken: TakenApart) -> dict[str, pa.Array]:
    """Give the columns of the level. Raises Odd for numbers that are none."""
    names = [layout.named.get("level") for layout in taken.layouts]
    if _PRIORITY in names:
        levels = [journal_priority(names[at] or "", level) for at, level in zip(taken.numbers, levels, strict=True)]
    known = {level: _read_level(level) for level in set(levels)}
    if None in known.values():
        odd = {row for row, level in enumerate(levels) if known[level] is None}
        if any(names[taken.numbers[row]] != _OWN_LEVEL for row in odd):
            raise Odd(odd)
        known |= {level: normalize_level(str(level)) for level, found in known.items() if found is None}
    found = [known[level] for level in levels]
    if taken.levels:
        found = [own or other for own, other in zip(taken.levels, found, strict=True)]
    names_of, numbers_of = zip(*found, strict=True)
    return {"level": pa.array(names_of, _STRING), "severity_number": pa.array(numbers_of, pa.int32())}


def _read_level(level: str | int | None) -> tuple[str | None, int | None] | None:
    if isinstance(level, int):
        return level_of_severity(level)
    return (None, None) if level is None else normalize_level(level)


def _attributes(taken: TakenApart, reading: Reading) -> dict[str, pa.Array]:
    """Give the columns of attributes, and count their text. Raises Unusual, Inexact."""
    layouts = list(taken.layouts)
    if not taken.values:
        return {}
    letters = [types_of(layout.letters) for layout in layouts]
    texts, columns = taken.values, {}
    numbers = pa.array(taken.numbers, pa.int32())
    if any(letters):
        if any("n" in each for each in letters if each is not None):
            check_numbers([value for value in texts if type(value) is float], reading.exact)
        texts = scalar_texts(texts)
        columns["attribute_types"] = pa.array(letters, _STRING).take(numbers)
    names = pa.array([layout.names for layout in layouts], _NAMES).take(numbers)
    keys, items = names.values, pa.array(texts, _STRING)
    spent = keys.nbytes + items.nbytes
    if spent > reading.chars_left // 2:
        raise Unusual
    reading.spend(spent)
    columns["attributes"] = pa.MapArray.from_arrays(names.offsets, keys, items)
    return columns
