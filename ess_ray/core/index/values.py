"""The value filter: which ids, field values and attribute keys a row group has, as 64-bit hashes in Bloom filters.

A value is hashed folded, together with its field's name; presence of a field is one more value of it. Each kind of
value has planes of its own, since trace ids are looked for far more often than span ids, and so may cost more.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from ess_ray.core import attribute
from ess_ray.core.fold import fold_text
from ess_ray.core.index.planes import LANES, MAX_POSITIONS, Bytes
from ess_ray.core.query import Field

Hashes = npt.NDArray[np.uint64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Kind:
    """One family of planes: `code` is its stored number; a value sets `hashes` of `positions_per_value` positions."""

    code: int
    columns: tuple[str, ...]
    positions_per_value: int
    hashes: int


KINDS: Final = (
    Kind(2, ("trace_id",), 16, 4),  # errs once in 400 row groups, at 12.2 bits a value when packed
    Kind(3, ("span_id",), 12, 3),  # once in 90, at 9.1 bits
    Kind(4, ("event_id",), 16, 4),
    Kind(5, ("service", "host", "level", "attributes"), 16, 4),
)
KIND_OF: Final = {column: kind for kind in KINDS for column in kind.columns}
MIN_POSITIONS: Final = 64
MAX_WORD_VALUE_BYTES: Final = 128
"""Longer values are hashed one by one: hashing word by word over all values pays for short ones only."""
MAX_ARRAYS_BYTES: Final = 4 * 1024 * 1024
"""Of a row group's different arrays: their values are Python's texts for a moment, up to 40 bytes for each byte."""
MAX_FLAGS: Final = 1 << 22
"""Bytes of flags for the pairs of distinct keys and values; more are told apart by sorting them."""
CACHED_ATOMS: Final = 1024
"""Hashes of what queries ask for, kept: one query asks hundreds of objects the same."""

_MULTIPLY: Final = np.uint64(0x9E3779B97F4A7C15)
_FINISH: Final = np.uint64(0xD6E8FEB86659FD93)
_SHIFT: Final = np.uint64(32)
_PRESENT: Final = np.uint64(0x5851F42D4C957F2D)
_LOW: Final = np.uint64(0xFFFFFFFF)


def _mixed(hashes: Hashes) -> Hashes:
    hashes = (hashes ^ (hashes >> _SHIFT)) * _FINISH
    return hashes ^ (hashes >> _SHIFT)


def hash_texts(values: pa.Array) -> Hashes:
    """Hash each text of a string array, folded (nulls give anything)."""
    return hash_exactly(_folded(values))


def hash_exactly(values: pa.StringArray) -> Hashes:
    """Hash each text as it is (nulls give anything): eight bytes at a time, over all values at once."""
    _, offsets, data = values.buffers()
    if not len(values):
        return np.zeros(0, np.uint64)
    ends = np.frombuffer(offsets, np.int32, len(values) + 1, values.offset * 4).astype(np.int64)
    first, last = int(ends[0]), int(ends[-1])
    text = (b"" if data is None else data.slice(first, last - first).to_pybytes()) + bytes(8)
    starts, lengths = ends[:-1] - first, np.diff(ends)
    words = np.ndarray((len(text) - 7,), "<u8", text, 0, (1,))
    hashes = _mixed(lengths.astype(np.uint64) * _MULTIPLY)
    for at in range(0, min(int(lengths.max()), MAX_WORD_VALUE_BYTES), 8):
        rows = np.flatnonzero(lengths > at)
        left = np.minimum(lengths[rows] - at, 8).astype(np.uint64)
        unused = np.uint64(64) - left * np.uint64(8)
        word = (words[starts[rows] + at] << unused) >> unused
        hashes[rows] = _mixed((hashes[rows] ^ word) * _MULTIPLY)
    for row in np.flatnonzero(lengths > MAX_WORD_VALUE_BYTES):
        value = text[int(starts[row]) : int(starts[row] + lengths[row])]
        hashes[row] = int.from_bytes(blake2b(value, digest_size=8).digest(), "little")
    return hashes


def _folded(values: pa.StringArray) -> pa.StringArray:
    values = values.cast(pa.string())
    is_other = pc.invert(pc.fill_null(pc.string_is_ascii(values), True))
    lowered = pc.ascii_lower(values)
    if not is_other.true_count:
        return lowered
    folded = [fold_text(text) for text in values.filter(is_other).to_pylist()]
    return pc.replace_with_mask(lowered, is_other, pa.array(folded, pa.string()))


def _tag(field: Field) -> str:
    return ("a:" if field.attribute else "c:") + field.name


@lru_cache(maxsize=CACHED_ATOMS)
def of_field(field: Field, folded: bytes | None) -> int:
    """Hash what a `Holds` atom asks for, as `of_column` hashed it when it was stored."""
    kind_hash = hash_names([_tag(field)])
    if folded is None:
        return int(_mixed(kind_hash ^ _PRESENT)[0])
    value = pa.array([folded.decode("utf-8", "replace")], pa.string())
    return int(_mixed(kind_hash ^ _mixed(hash_texts(value) + _PRESENT))[0])


def hash_names(names: list[str]) -> Hashes:
    """Hash names, whose case counts."""
    digests = [blake2b(name.encode("utf-8", "surrogatepass"), digest_size=8).digest() for name in names]
    return np.array([int.from_bytes(digest, "little") for digest in digests], np.uint64)


def of_column(name: str, column: pa.Array) -> Hashes:
    """Hash the distinct values of a string column, and what is present."""
    values = pc.unique(column).drop_null()
    if not len(values):
        return np.zeros(0, np.uint64)
    tag = hash_names([_tag(Field(name))])
    return np.concatenate([_mixed(tag ^ _PRESENT), _mixed(tag ^ _mixed(hash_texts(values) + _PRESENT))])


def of_attributes(column: pa.MapArray, types: pa.StringArray) -> Hashes | None:
    """Hash the distinct pairs of names and values of attributes, and the names that are present.

    A value counts under each name that stands for its key; with a number its canonical form, with an array the values
    in it (`core.attribute`). None: arrays are too large for their values to be hashed.
    """
    there = column.is_valid()
    flat, types = column.filter(there), types.filter(there)
    offsets = flat.offsets.to_numpy()
    keys = flat.keys.slice(offsets[0], offsets[-1] - offsets[0]).dictionary_encode()
    items = flat.items.slice(offsets[0], offsets[-1] - offsets[0])
    names = keys.dictionary.to_pylist()
    tags = hash_names([_tag(Field(key, attribute=True)) for key in names])
    given = items.is_valid()
    encoded = items.drop_null().dictionary_encode()
    key_codes = keys.indices.filter(given).to_numpy().astype(np.int64)
    codes = encoded.indices.to_numpy()
    texts = encoded.dictionary.cast(pa.string())
    count = len(texts)
    pairs = _distinct(key_codes * count + codes, len(tags) * count)
    key, item = np.divmod(pairs, max(1, count))
    if types.null_count < len(types):
        letters = attribute.entry_letters(flat, types)[given.to_numpy(zero_copy_only=False)]
        if _array_bytes(texts, codes, letters) > MAX_ARRAYS_BYTES:
            return None
        owners, others = _other_values(texts, codes, letters)
        if len(owners):
            key, item = _with_other_values(key, item, owners, count)
            texts = pa.concat_arrays([texts, others])
    item_hashes = _mixed(hash_texts(texts) + _PRESENT)
    found = [_mixed(tags ^ _PRESENT), _mixed(tags[key] ^ item_hashes[item])]
    namesakes = {code: other for code, name in enumerate(names) if (other := attribute.namesake_of(name)) is not None}
    if namesakes:
        of_others = hash_names([_tag(Field(name, attribute=True)) for name in namesakes.values()])
        other_tags = tags.copy()
        other_tags[list(namesakes)] = of_others
        found += [_mixed(of_others ^ _PRESENT), _mixed(other_tags[key] ^ item_hashes[item])]
    return np.concatenate(found)


def _array_bytes(texts: pa.StringArray, codes: Ints, letters: attribute.Letters) -> int:
    arrays = pa.array(np.unique(codes[letters == attribute.ARRAY]), pa.int64())
    return pc.sum(pc.binary_length(texts.take(arrays))).as_py() or 0


def _other_values(texts: pa.StringArray, codes: Ints, letters: attribute.Letters) -> tuple[Ints, pa.StringArray]:
    """Give what texts are besides, by their types: a number's canonical form, an array's values.

    Gives of which text (ascending), and what.
    """
    numbers = np.unique(codes[letters == attribute.NUMBER])
    written = texts.take(pa.array(numbers))
    canonical = attribute.canonical_numbers(written)
    changed = pc.not_equal(canonical, written)
    owners: list[int] = numbers[changed.to_numpy(zero_copy_only=False)].tolist()
    others: list[str] = canonical.filter(changed).to_pylist()
    for code in np.unique(codes[letters == attribute.ARRAY]).tolist():
        for text, is_number in attribute.elements(texts[code].as_py()):
            found = {text, attribute.canonical_number(text) or text} if is_number else {text}
            owners += [code] * len(found)
            others += found
    order = np.argsort(np.array(owners, np.int64), kind="stable")
    return np.array(owners, np.int64)[order], pa.array(others, pa.string()).take(pa.array(order))


def _with_other_values(key: Ints, item: Ints, owners: Ints, first_other: int) -> tuple[Ints, Ints]:
    """Add pairs of the same key with what the value is besides: value `owners[i]` is `first_other + i`, too."""
    begin, end = np.searchsorted(owners, item, "left"), np.searchsorted(owners, item, "right")
    counts = end - begin
    places = np.arange(int(counts.sum())) + np.repeat(begin - (np.cumsum(counts) - counts), counts)
    return np.concatenate([key, np.repeat(key, counts)]), np.concatenate([item, first_other + places])


def _distinct(codes: Ints, end: int) -> Ints:
    """Give the distinct codes, all in [0, end): by flags while they fit, five times as fast as by sorting."""
    if end > MAX_FLAGS:
        return np.unique(codes)
    flags = np.zeros(end, np.bool_)
    flags[codes] = True
    return np.flatnonzero(flags)


def spread(hashes: Hashes, count: int, positions: int) -> npt.NDArray[np.intp]:
    """Give `count` positions in [0, positions) for each hash."""
    step = (hashes >> _SHIFT) | np.uint64(1)
    at = [(((hashes + np.uint64(i) * step) & _LOW) * np.uint64(positions)) >> _SHIFT for i in range(count)]
    return np.concatenate(at).astype(np.intp)


def places(value_hash: int, count: int, positions: int) -> list[int]:
    """Give what `spread` does for one hash: an array of one costs 50 times as much."""
    step = value_hash >> 32 | 1
    return [(value_hash + i * step & 0xFFFFFFFF) * positions >> 32 for i in range(count)]


def plane_of(kind: Kind, lanes: list[Hashes | None]) -> Bytes:
    """Make the plane of up to eight row groups, wide enough for the one with the most values; None: it may have any."""
    assert len(lanes) <= LANES
    most = max(0 if hashes is None else len(hashes) for hashes in lanes)
    positions = min(max(MIN_POSITIONS, kind.positions_per_value * most), MAX_POSITIONS)
    plane = np.zeros(positions, np.uint8)
    for lane, hashes in enumerate(lanes):
        flags = np.full(positions, hashes is None, np.uint8)
        if hashes is not None:
            flags[spread(hashes, kind.hashes, positions)] = 1
        plane |= flags << np.uint8(lane)
    return plane
