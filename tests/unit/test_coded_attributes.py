"""Attributes whose keys and items are dictionaries: looked up as those that are texts."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc
from hypothesis import given
from hypothesis import strategies as st

from ess_ray.core.attribute import has_key, keys_in, lookup
from ess_ray.core.event import ATTRIBUTES
from ess_ray.core.operators.attributes import of_texts

KEYS = st.sampled_from(["a", "b", "a#2", "", "é"])
ROWS = st.lists(st.none() | st.lists(st.tuples(KEYS, st.none() | st.sampled_from("xyz"))), max_size=8)


def coded(held: pa.MapArray) -> pa.MapArray:
    """Make the same map of dictionaries, as objects are read."""
    nulls = held.is_null() if held.null_count else None
    keys, items = held.keys.dictionary_encode(), held.items.dictionary_encode()
    return pa.MapArray.from_arrays(held.offsets, keys, items, mask=nulls)


@given(ROWS, KEYS, st.integers(0, 4))
def test_a_coded_key_is_found_as_a_text(rows: list[list[tuple[str, str | None]] | None], key: str, start: int) -> None:
    held = pa.array(rows, ATTRIBUTES)
    plain, dictionaries = held.slice(start), coded(held).slice(start)
    texts = lookup(dictionaries, key)
    assert texts.cast(pa.string()).equals(lookup(plain, key))
    assert set(texts.dictionary.to_pylist()) == set(texts.to_pylist()) - {None}
    assert has_key(dictionaries, key).equals(has_key(plain, key))
    assert set(keys_in(plain, key)) <= set(keys_in(dictionaries, key))


@given(st.lists(st.none() | st.sampled_from(["x", "y", ""])))
def test_a_dictionary_is_tested_as_its_texts(values: list[str | None]) -> None:
    texts = pa.array(values, pa.string())
    found = of_texts(lambda held: pc.equal(held, "x"), texts.dictionary_encode())
    assert found.equals(pc.equal(texts, "x"))
