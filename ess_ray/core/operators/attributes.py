"""An attribute, tested by what it was: its text first, and only where that may pass by its type, a number or an
array.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from ess_ray.core import attribute, regex

MAX_ARRAYS_BYTES: Final = 256 * 1024
"""Of arrays whose values are tested at once: they are Python's texts for a moment, up to 40 bytes for each byte."""


class ValueTest(Protocol):
    """A test of texts, and the text of the number with which numbers that equal it pass, too."""

    @property
    def numeral(self) -> str | None: ...

    def test(self, texts: pa.StringArray) -> pa.BooleanArray: ...


def test(asked: ValueTest, key: str, held: pa.MapArray, types: pa.StringArray) -> pa.BooleanArray:
    """Test what rows have under a key; never null. `types` of the same rows as `held` (`event.RECORD_SCHEMA`)."""
    # Intake lets no key occur twice; for foreign maps the last one counts, as in a Python dict.
    texts = attribute.lookup(held, key)
    mask = pc.fill_null(of_texts(asked.test, texts), False)
    if types.null_count == len(types):
        return mask
    may = of_texts(functools.partial(_may_pass_by_type, asked), texts)
    left = pc.and_not(pc.fill_null(may, False), mask)
    if not left.true_count:
        return mask
    letters = attribute.letters_of(held.filter(left), types.filter(left).cast(pa.string()), key)
    return pc.replace_with_mask(mask, left, _by_type(asked, texts.filter(left).cast(pa.string()), letters))


def of_texts(
    test: Callable[[pa.StringArray], pa.BooleanArray], texts: pa.StringArray | pa.DictionaryArray
) -> pa.BooleanArray:
    """Test texts; those that are coded once for each text in their dictionary, as far as these are fewer."""
    if not pa.types.is_dictionary(texts.type):
        return test(texts)
    if len(texts.dictionary) > len(texts):
        return test(texts.cast(pa.string()))
    return test(texts.dictionary).take(texts.indices)


def _may_pass_by_type(asked: ValueTest, texts: pa.StringArray) -> pa.BooleanArray:
    """Tell which texts may be another way to write a number that is asked for, or an array."""
    may = pc.starts_with(texts, attribute.ARRAY_START)
    pattern = None if asked.numeral is None else attribute.pattern_of_number(asked.numeral)
    if pattern is not None:
        may = pc.or_(may, regex.find(texts, pattern, False))
    return may


def _by_type(asked: ValueTest, texts: pa.StringArray, letters: attribute.Letters) -> pa.BooleanArray:
    """Test values whose text does not pass: numbers by value, arrays by the values in them."""
    passed = np.zeros(len(texts), np.bool_)
    number = None if asked.numeral is None else attribute.canonical_number(asked.numeral)
    if number is not None and (is_number := letters == attribute.NUMBER).any():
        written = attribute.canonical_numbers(texts.filter(pa.array(is_number)))
        passed[is_number] = pc.equal(written, number).to_numpy(zero_copy_only=False)
    if (is_array := letters == attribute.ARRAY).any():
        coded = texts.filter(pa.array(is_array)).dictionary_encode()
        parts = [_any_element(asked, part, number) for part in _in_parts(coded.dictionary)]
        passed[is_array] = np.concatenate(parts)[coded.indices.to_numpy()]
    return pa.array(passed)


def _in_parts(texts: pa.StringArray) -> Iterator[list[str]]:
    """Cut texts into parts of about MAX_ARRAYS_BYTES."""
    ends = np.cumsum(pc.binary_length(texts).to_numpy())
    cuts = np.flatnonzero(np.diff(ends // MAX_ARRAYS_BYTES)) + 1
    for start, end in itertools.pairwise([0, *cuts.tolist(), len(texts)]):
        yield texts.slice(start, end - start).to_pylist()


def _any_element(asked: ValueTest, arrays: list[str], number: str | None) -> npt.NDArray[np.bool_]:
    """Tell of each array's JSON whether a value in it passes."""
    held = [attribute.elements(text) for text in arrays]
    values = pa.array([text for values in held for text, _ in values], pa.string())
    passed = pc.fill_null(asked.test(values), False)
    if number is not None:
        is_number = pa.array([is_number for values in held for _, is_number in values], pa.bool_())
        passed = pc.or_(passed, pc.and_(is_number, pc.equal(attribute.canonical_numbers(values), number)))
    owners = np.repeat(np.arange(len(held)), [len(values) for values in held])
    return np.bincount(owners[passed.to_numpy(zero_copy_only=False)], minlength=len(held)) > 0
