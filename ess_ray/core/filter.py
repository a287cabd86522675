"""The one filter: which rows of a batch a query wants. Buffers, objects, Ray tasks and Lambda all decide rows here.

How it goes: a mask of rows still in question starts as the time range; each test, cheapest first, sees only rows that
no test before has decided, copied together when they are few. Every regular expression and every literal goes
through RE2, whose time is linear in the text whatever the pattern.

`_leaf` decides a block of rows that are at hand; whatever rules rows out earlier or faster (an index, a scan of the
page in place) is a superset put before `filter_batch`, never another opinion on what matches. May live here: matching
over Arrow arrays. May not: I/O, parsing, order, limits.
"""

from __future__ import annotations

import functools
import itertools
import math
import operator
from collections.abc import Callable, Iterator
from decimal import Decimal, InvalidOperation
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from ess_ray.core import attribute, regex
from ess_ray.core.query import (
    NUMBER_COLUMNS,
    TIME_COLUMNS,
    All,
    And,
    Compare,
    Comparison,
    Contains,
    Equals,
    Exists,
    Field,
    Node,
    Not,
    Number,
    Or,
    Query,
    Regex,
)

NUMBER_PATTERN: Final = r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?"
"""Text that is a number: as Python and RE2 read it alike. No spaces, no `nan`, no `inf`, ASCII digits only."""
MAX_NARROWED_SHARE: Final = 0.5
"""Of a block's rows: fewer are copied together before the next test. A copy costs a tenth of testing the same bytes."""
MAX_QUOTED_CHARS: Final = 1_000
"""Of a literal given to RE2, four times as fast as Arrow's own search (KMP); beyond, its DFA outgrows its memory."""
MIN_ALTERNATIVES: Final = 3
"""Literals joined into one alternation: fewer are sought faster one by one, by RE2's search for their first bytes."""
MAX_ALTERNATION_CHARS: Final = 4_000
"""Of the literals in one alternation: RE2 takes patterns four times as long, whatever the letters fold to."""
MAX_ARRAYS_BYTES: Final = 256 * 1024
"""Of arrays whose values are tested at once: they are Python's texts for a moment, up to 40 bytes for each byte."""
_INT64_MIN, _INT64_MAX = -(2**63), 2**63 - 1

# What a test of one row costs, in tenths of nanoseconds per row, measured on 110-byte messages. Only the order counts.
_COST_EXISTS, _COST_COMPARE, _COST_EQUALS = 1, 20, 80
_COST_FIND, _COST_FIND_IGNORING_CASE = 450, 900
_COST_ATTRIBUTE = 330
"""Looking a key up in the attributes, before its value can be tested."""
_COST_LONG_TEXT = 10
"""Times dearer: text in `message`, against the short fields."""


def filter_batch(batch: pa.RecordBatch | pa.Table, query: Query) -> pa.Int64Array:
    """Give the positions, ascending, of the batch's rows that match the query's tree and lie in its time range.

    `batch` needs the columns that `query.columns()` names, typed as in EVENT_SCHEMA; more do no harm. Pure: the same
    input gives the same answer. Raises BadRequest for a regular expression that RE2 refuses (`language` lets none
    pass), KeyError for a column that is not there.
    """
    if not query.columns():
        masks = [_rows(_Block(batch.num_rows, _no_column), query)]
    else:
        batches = batch.to_batches() if isinstance(batch, pa.Table) else [batch]
        masks = [_rows(_Block(one.num_rows, one.column), query) for one in batches]
    return pc.indices_nonzero(pa.chunked_array(masks, pa.bool_())).cast(pa.int64(), safe=False)


def field_text(field: Field, batch: pa.RecordBatch) -> pa.StringArray:
    """Give a field of every row as one text, the same for equal numbers; null where the row does not have it.

    An attribute is taken from the key of its own name alone: each row then counts once.
    """
    texts = _text(field, _Block(batch.num_rows, batch.column))
    if not field.attribute:
        return texts
    types = batch.column("attribute_types")
    if types.null_count == len(types):
        return texts
    coded = texts.dictionary_encode()
    canonical = attribute.canonical_numbers(coded.dictionary)
    is_other = pc.not_equal(canonical, coded.dictionary)
    if not is_other.true_count:
        return texts
    changed = pc.fill_null(is_other.take(coded.indices), False)
    letters = attribute.letters_of(batch.column("attributes").filter(changed), types.filter(changed), field.name)
    written = canonical.take(coded.indices.filter(changed))
    return pc.replace_with_mask(
        texts, changed, pc.if_else(pa.array(letters == attribute.NUMBER), written, texts.filter(changed))
    )


def _no_column(name: str) -> pa.Array:
    raise KeyError(name)


class _Block:
    """Rows in question, their columns loaded (or copied together from the wider block) when first asked for."""

    def __init__(self, rows: int, load: Callable[[str], pa.Array]) -> None:
        self.rows = rows
        self._load = load
        self._columns: dict[str, pa.Array] = {}

    def column(self, name: str) -> pa.Array:
        if name not in self._columns:
            self._columns[name] = self._load(name)
        return self._columns[name]

    def narrow(self, mask: pa.BooleanArray) -> _Block:
        return _Block(mask.true_count, lambda name: self.column(name).filter(mask))

    def all(self, value: bool) -> pa.BooleanArray:
        return pa.repeat(pa.scalar(value), self.rows)


def _rows(block: _Block, query: Query) -> pa.BooleanArray:
    mask = block.all(True)
    for op, bound in ((">=", query.start_us), ("<", query.end_us)):
        if bound is not None:
            times = block.column("timestamp").cast(pa.int64())
            mask = pc.and_(mask, pc.fill_null(_compare_integers(times, op, bound), False))  # type: ignore[arg-type]
    return _among(query.root, block, mask)


# -------------------------------------------------------------------------------------------------------- the tree
def _match(node: Node, block: _Block) -> pa.BooleanArray:
    """Tell for every row of the block whether it matches; never null."""
    match node:
        case All():
            return block.all(True)
        case Not(child):
            return pc.invert(_match(child, block))
        case And(children):
            mask = block.all(True)
            for child in sorted(_exclusions_together(children), key=_cost):
                mask = _among(child, block, mask)
            return mask
        case Or(children):
            mask = block.all(False)
            for child in sorted(_literals_together(children), key=_cost):
                mask = pc.or_(mask, _among(child, block, pc.invert(mask)))
            return mask
        case _:
            return pc.fill_null(_leaf(node, block), False)


def _exclusions_together(children: tuple[Node, ...]) -> list[Node]:
    """Turn `-a -b -c` into -(a OR b OR c), so that what is excluded is sought in one pass."""
    excluded = tuple(child.child for child in children if isinstance(child, Not) and isinstance(child.child, Contains))
    others = [child for child in children if not (isinstance(child, Not) and isinstance(child.child, Contains))]
    return [*others, Not(Or(excluded))] if excluded else others


def _literals_together(children: tuple[Node, ...]) -> list[Node]:
    """Join alternative literals of one field into one alternation: RE2 seeks a thousand as fast as three."""
    others: list[Node] = []
    groups: dict[tuple[Field, bool], list[list[Contains]]] = {}
    for child in children:
        if not isinstance(child, Contains) or len(child.text) > MAX_ALTERNATION_CHARS:
            others.append(child)
            continue
        runs = groups.setdefault((child.field, child.ignore_case), [[]])
        if sum(len(leaf.text) + 1 for leaf in runs[-1]) + len(child.text) > MAX_ALTERNATION_CHARS:
            runs.append([])
        runs[-1].append(child)
    for (field, ignore_case), runs in groups.items():
        for run in runs:
            if len(run) < MIN_ALTERNATIVES:
                others.extend(run)
            else:
                others.append(Regex(field, "|".join(regex.quote(leaf.text) for leaf in run), ignore_case))
    return others


def _among(node: Node, block: _Block, undecided: pa.BooleanArray) -> pa.BooleanArray:
    """Tell which of the undecided rows match; false for all others."""
    count = undecided.true_count
    if count == 0:
        return undecided
    if count > block.rows * MAX_NARROWED_SHARE:
        return pc.and_(undecided, _match(node, block))
    return pc.replace_with_mask(undecided, undecided, _match(node, block.narrow(undecided)))


def _cost(node: Node) -> int:
    match node:
        case All():
            return 0
        case Not(child):
            return _cost(child)
        case And(children) | Or(children):
            return sum(map(_cost, children))
        case Exists():
            own = _COST_EXISTS
        case Compare():
            own = _COST_COMPARE
        case Equals(ignore_case=False):
            own = _COST_EQUALS
        case _:
            own = _COST_FIND_IGNORING_CASE if node.ignore_case else _COST_FIND
    if node.field.attribute:
        return own + _COST_ATTRIBUTE
    return own * _COST_LONG_TEXT if node.field.name == "message" else own


# ------------------------------------------------------------------------------------------------------ the leaves
def _leaf(node: Contains | Regex | Equals | Compare | Exists, block: _Block) -> pa.BooleanArray:
    """Test one field of every row; null where the field is."""
    field = node.field
    if field.attribute:
        return _attribute(node, block)
    if isinstance(node, Exists):
        return block.column(field.name).is_valid()
    if isinstance(node, Compare) and field.name in TIME_COLUMNS | NUMBER_COLUMNS:
        return _compare_integers(block.column(field.name).cast(pa.int64()), node.op, node.number)
    return _test(node, _text(field, block))


def _test(node: Contains | Regex | Equals | Compare, texts: pa.StringArray) -> pa.BooleanArray:
    """Test texts; null where there is none."""
    match node:
        case Contains(_, text, ignore_case):
            return _contains(texts, text, ignore_case)
        case Regex(_, pattern, ignore_case):
            return regex.find(texts, pattern, ignore_case)
        case Equals(_, text, True):
            return regex.find(texts, rf"\A{regex.quote(text)}\z", True)
        case Equals(_, text, False):
            return pc.equal(texts, pa.scalar(text, pa.string()))
        case Compare(_, op, number):
            # Arrow's cast raises on the first value that is no number, so only numbers may reach it.
            is_number = regex.find(texts, rf"\A{NUMBER_PATTERN}\z", False)
            return _compare_texts(pc.if_else(is_number, texts, pa.scalar(None, pa.string())), op, number)


# -------------------------------------------------------------------------------------------------------- attributes
def _attribute(node: Contains | Regex | Equals | Compare | Exists, block: _Block) -> pa.BooleanArray:
    """Test all that is there under an attribute's name: one value that passes is enough."""
    held = block.column("attributes")
    masks = (_of_key(node, key, held, block) for key in attribute.keys_in(held, node.field.name))
    return functools.reduce(pc.or_, masks)


def _of_key(
    node: Contains | Regex | Equals | Compare | Exists, key: str, held: pa.MapArray, block: _Block
) -> pa.BooleanArray:
    if isinstance(node, Exists):
        # A key may be there with a null value: look it up in a map from each key to itself, which has none.
        keys = pa.MapArray.from_arrays(held.offsets, held.keys, held.keys)
        return pc.and_(held.is_valid(), pc.map_lookup(keys, key, "last").is_valid())
    # Intake lets no key occur twice; for foreign maps the last one counts, as in a Python dict.
    texts = pc.map_lookup(held, key, "last")
    mask = pc.fill_null(_test(node, texts), False)
    types = block.column("attribute_types")
    if types.null_count == len(types):
        return mask
    left = pc.and_not(_may_pass_by_type(node, texts), mask)
    if not left.true_count:
        return mask
    letters = attribute.letters_of(held.filter(left), types.filter(left), key)
    return pc.replace_with_mask(mask, left, _by_type(node, texts.filter(left), letters))


def _may_pass_by_type(node: Contains | Regex | Equals | Compare, texts: pa.StringArray) -> pa.BooleanArray:
    """Tell which texts may be another way to write a number that is asked for, or an array."""
    may = pc.starts_with(texts, attribute.ARRAY_START)
    pattern = attribute.pattern_of_number(node.text) if isinstance(node, Equals) else None
    if pattern is not None:
        may = pc.or_(may, regex.find(texts, pattern, False))
    return pc.fill_null(may, False)


def _by_type(
    node: Contains | Regex | Equals | Compare, texts: pa.StringArray, letters: attribute.Letters
) -> pa.BooleanArray:
    """Test values whose text does not pass: numbers by value, arrays by the values in them."""
    passed = np.zeros(len(texts), np.bool_)
    number = attribute.canonical_number(node.text) if isinstance(node, Equals) else None
    if number is not None and (is_number := letters == attribute.NUMBER).any():
        written = attribute.canonical_numbers(texts.filter(pa.array(is_number)))
        passed[is_number] = pc.equal(written, number).to_numpy(zero_copy_only=False)
    if (is_array := letters == attribute.ARRAY).any():
        coded = texts.filter(pa.array(is_array)).dictionary_encode()
        parts = [_any_element(node, part, number) for part in _in_parts(coded.dictionary)]
        passed[is_array] = np.concatenate(parts)[coded.indices.to_numpy()]
    return pa.array(passed)


def _in_parts(texts: pa.StringArray) -> Iterator[list[str]]:
    """Cut texts into parts of about MAX_ARRAYS_BYTES."""
    ends = np.cumsum(pc.binary_length(texts).to_numpy())
    cuts = np.flatnonzero(np.diff(ends // MAX_ARRAYS_BYTES)) + 1
    for start, end in itertools.pairwise([0, *cuts.tolist(), len(texts)]):
        yield texts.slice(start, end - start).to_pylist()


def _any_element(
    node: Contains | Regex | Equals | Compare, arrays: list[str], number: str | None
) -> npt.NDArray[np.bool_]:
    """Tell of each array's JSON whether a value in it passes."""
    held = [attribute.elements(text) for text in arrays]
    values = pa.array([text for values in held for text, _ in values], pa.string())
    passed = pc.fill_null(_test(node, values), False)
    if number is not None:
        is_number = pa.array([is_number for values in held for _, is_number in values], pa.bool_())
        passed = pc.or_(passed, pc.and_(is_number, pc.equal(attribute.canonical_numbers(values), number)))
    owners = np.repeat(np.arange(len(held)), [len(values) for values in held])
    return np.bincount(owners[passed.to_numpy(zero_copy_only=False)], minlength=len(held)) > 0


def _contains(values: pa.StringArray, text: str, ignore_case: bool) -> pa.BooleanArray:
    if len(text) > MAX_QUOTED_CHARS and not ignore_case:
        return pc.match_substring(values, text)
    return regex.find(values, regex.quote(text), ignore_case)


def _text(field: Field, block: _Block) -> pa.StringArray:
    """Give a field as text: an attribute's value, a column's text, a number's digits, a time's epoch microseconds."""
    if field.attribute:
        return pc.map_lookup(block.column("attributes"), field.name, "last")
    values = block.column(field.name)
    if field.name in TIME_COLUMNS:
        values = values.cast(pa.int64())
    return values if pa.types.is_string(values.type) else values.cast(pa.string())


_COMPARISONS: Final[dict[Comparison, Callable[[pa.Array, pa.Scalar], pa.BooleanArray]]] = {
    "<": pc.less,
    "<=": pc.less_equal,
    ">": pc.greater,
    ">=": pc.greater_equal,
}
_EXACTLY: Final[dict[Comparison, Callable[[Any, Any], bool]]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def _compare_texts(numbers: pa.StringArray, op: Comparison, number: Number) -> pa.BooleanArray:
    """Compare texts that are numbers, or null, exactly.

    Rounding to floats keeps the order of numbers, but makes neighbours equal: only what rounds to the same float as
    `number` needs its digits looked at, each text once.
    """
    values, nearest = numbers.cast(pa.float64()), pa.scalar(float(number), pa.float64())
    matches = _COMPARISONS[op](values, nearest)
    equal = pc.fill_null(pc.equal(values, nearest), False)
    if not equal.true_count:
        return matches
    texts = numbers.filter(equal).dictionary_encode()
    exactly = [_EXACTLY[op](_decimal(text), number) for text in texts.dictionary.to_pylist()]
    return pc.replace_with_mask(matches, equal, pa.array(exactly, pa.bool_()).take(texts.indices))


def _decimal(text: str) -> Decimal:
    """Read a number's digits. An exponent of 18 digits and more, which is nobody's, gives infinity or zero."""
    try:
        return Decimal(text)
    except InvalidOperation:
        return Decimal(float(text))


def _compare_integers(values: pa.Int64Array, op: Comparison, number: Number) -> pa.BooleanArray:
    """Compare exactly, as Python compares an int with any number: Arrow would round integers beyond 2**53 to floats."""
    if math.isnan(number):
        return pc.and_(values.is_valid(), False)
    if not _INT64_MIN <= number <= _INT64_MAX:
        below = number > 0  # every value lies below the bound
        return pc.and_(values.is_valid(), below == (op in ("<", "<=")))
    bound = math.ceil(number) if op in (">=", "<") else math.floor(number)
    return _COMPARISONS[op](values, pa.scalar(bound, pa.int64()))
