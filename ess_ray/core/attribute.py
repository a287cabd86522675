"""What an attribute holds for whoever asks for it: the keys that a name stands for, and values by their JSON types.

Attributes are stored as text, their JSON types beside it (`event.RECORD_SCHEMA`), from format 2 on; without types all
is text. A name stands for the key of this name, and for those that were called `name#2`, ... since it was taken. An
array has, besides its text, the values in it.
"""

from __future__ import annotations

import json
import re
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import stringzilla

Letters = npt.NDArray[np.uint8]
Ints = npt.NDArray[np.int64]

TEXT, NUMBER, BOOLEAN, ARRAY = (ord(letter) for letter in "snbj")
"""The letters of types that matter here."""
MAX_NAMESAKES: Final = 9
"""The highest N of the keys `name#N` that `name` stands for: so many ways to write one name an event never has, and an
index of an older version must be asked for each."""
ARRAY_START: Final = "["
MAX_PLAIN_CHARS: Final = 40
"""Of a number written without an exponent: longer ones are written with one, `1e400` and its 401 digits alike."""
_MAX_SOUGHT_DIGITS: Final = 100
"""Of a number, in a pattern for its like: RE2's patterns are bounded, and nobody's numbers share so many."""

_NAMESAKE = re.compile(rf"(.*)#[2-{MAX_NAMESAKES}]", re.DOTALL)
_NUMBER = re.compile(r"([+-]?)(?:(0|[1-9][0-9]*)(?:\.([0-9]*))?|\.([0-9]+))(?:[eE]([+-]?[0-9]{1,18}))?", re.ASCII)
_UNUSUAL: Final = rf"[eE+]|\.[0-9]*0\z|\.\z|\A-?[.]|\A-0|.{{{MAX_PLAIN_CHARS + 1}}}"
"""Finds what may be a number that is not written as `canonical_number` writes it."""


# ------------------------------------------------------------------------------------------------------------- names
def keys_of(name: str) -> tuple[str, ...]:
    """Give every key that a name stands for, its own first."""
    return (name, *(f"{name}#{number}" for number in range(2, MAX_NAMESAKES + 1)))


def namesake_of(key: str) -> str | None:
    """Give the other name that stands for a key, if there is one: `status` for `status#2`."""
    found = _NAMESAKE.fullmatch(key)
    return None if found is None else found[1]


def keys_in(held: pa.MapArray, name: str) -> tuple[str, ...]:
    """Give those of `keys_of` that may be there in a block: its own alone, nearly always."""
    coded = is_coded(held)
    keys = held.keys.dictionary if coded else held.keys
    _, offsets, data = keys.buffers()
    if data is None or not len(held):
        return (name,)
    first, last = (0, len(keys)) if coded else (held.offsets[0].as_py(), held.offsets[-1].as_py())
    ends = np.frombuffer(offsets, np.int32, len(keys) + 1, keys.offset * 4)
    text = memoryview(data)[int(ends[first]) : int(ends[last])]
    # Sought in all keys at once, which costs a hundredth of comparing them one by one.
    return keys_of(name) if stringzilla.find(text, f"{name}#".encode()) >= 0 else (name,)


# ----------------------------------------------------------------------------------------------------------- lookup
def is_coded(held: pa.MapArray) -> bool:
    """Tell whether keys and items are dictionaries, as they are stored."""
    return bool(pa.types.is_dictionary(held.type.key_type))


def lookup(held: pa.MapArray, key: str) -> pa.StringArray | pa.DictionaryArray:
    """Give the text that each row has under a key, null where it has none; of several entries of a key the last one's.

    Of a coded map, a dictionary of those texts alone.
    """
    if not is_coded(held):
        return pc.map_lookup(held, key, "last")
    rows, entries = _entries_under(held, key)
    codes = np.full(len(held), -1, np.int64)
    codes[rows] = held.items.indices.fill_null(-1).to_numpy(zero_copy_only=False)[entries]
    missing = codes < 0
    is_used = np.zeros(len(held.items.dictionary) + 1, np.bool_)  # the last one's place is that of -1
    is_used[codes] = True
    is_used[-1] = False
    placed = (np.cumsum(is_used) - 1).astype(np.int32)[codes]
    return pa.DictionaryArray.from_arrays(
        pa.array(placed, mask=missing), held.items.dictionary.filter(pa.array(is_used[:-1]))
    )


def has_key(held: pa.MapArray, key: str) -> pa.BooleanArray:
    """Tell which rows have a key, even with a null value; never null."""
    if is_coded(held):
        found = np.zeros(len(held), np.bool_)
        found[_entries_under(held, key)[0]] = True
        return pa.array(found)
    # A key may be there with a null value: look it up in a map from each key to itself, which has none.
    keys = pa.MapArray.from_arrays(held.offsets, held.keys, held.keys)
    return pc.and_(held.is_valid(), pc.map_lookup(keys, key, "last").is_valid())


def _entries_under(held: pa.MapArray, key: str) -> tuple[Ints, Ints]:
    """Give the entries of a coded map that have a key, ascending: (their rows, their places among all entries)."""
    offsets = held.offsets.to_numpy()
    first, end = int(offsets[0]), int(offsets[-1])
    codes = pc.indices_nonzero(pc.equal(held.keys.dictionary, key)).to_numpy()
    if not len(codes):
        return np.empty(0, np.int64), np.empty(0, np.int64)
    keys = held.keys.indices.slice(first, end - first).to_numpy(zero_copy_only=False)
    places = np.flatnonzero(keys == codes[0] if len(codes) == 1 else np.isin(keys, codes))
    rows = np.repeat(np.arange(len(held)), np.diff(offsets))[places]
    return rows, places + first


# ----------------------------------------------------------------------------------------------------------- numbers
def canonical_number(text: str) -> str | None:
    """Write a number in the one way that equal numbers share; None for what is none.

    Exact, whatever its digits. Without an exponent where that is short. Leading zeros make no number, but a name.
    """
    parts = _parts(text)
    if parts is None:
        return None
    sign, digits, exponent = parts
    if not digits:
        return "0"
    if exponent >= 0:
        if len(digits) + exponent <= MAX_PLAIN_CHARS:
            return sign + digits + "0" * exponent
    elif max(len(digits), -exponent) < MAX_PLAIN_CHARS:
        digits = digits.rjust(1 - exponent, "0")
        return f"{sign}{digits[:exponent]}.{digits[exponent:]}"
    return f"{sign}{digits}e{exponent}"


def _parts(text: str) -> tuple[str, str, int] | None:
    """Take a number apart: sign, digits without zeros around them (none: it is zero), exponent of the last digit."""
    found = _NUMBER.fullmatch(text)
    if found is None:
        return None
    fraction = found[3] or found[4] or ""
    digits = ((found[2] or "") + fraction).lstrip("0")
    short = digits.rstrip("0")
    return found[1].strip("+"), short, int(found[5] or 0) - len(fraction) + len(digits) - len(short)


def pattern_of_number(text: str) -> str | None:
    """Give an RE2 pattern that finds every text that is equal as a number, and few others; None for no number."""
    parts = _parts(text)
    if parts is None:
        return None
    sign, digits, _ = parts
    if not digits:
        return r"\A[+-]?[0.]+(?:[eE].*)?\z"
    rest = ".*" if len(digits) > _MAX_SOUGHT_DIGITS else ""
    return rf"\A{sign or '[+]?'}[0.]*" + r"\.?".join(digits[:_MAX_SOUGHT_DIGITS]) + rf"{rest}[0.]*(?:[eE].*)?\z"


def canonical_numbers(texts: pa.StringArray) -> pa.StringArray:
    """Write those that are numbers as `canonical_number` does, and leave the others as they are."""
    unusual = pc.fill_null(pc.match_substring_regex(texts, _UNUSUAL), False)
    if not unusual.true_count:
        return texts
    coded = texts.filter(unusual).dictionary_encode()
    written = [canonical_number(text) or text for text in coded.dictionary.to_pylist()]
    return pc.replace_with_mask(texts, unusual, pa.array(written, pa.string()).take(coded.indices))


# ------------------------------------------------------------------------------------------------------------ arrays
class _Digits(str):
    """A number in an array, as it was written."""

    __slots__ = ()


_DECODER: Final = json.JSONDecoder(parse_int=_Digits, parse_float=_Digits)


def elements(text: str) -> list[tuple[str, bool]]:
    """Give the values in an array's JSON: (text, whether it is a number). Those in inner arrays, too; no objects."""
    try:
        whole = _DECODER.decode(text)
    except (ValueError, RecursionError):
        return []
    if not isinstance(whole, list):
        return []
    found: list[tuple[str, bool]] = []
    stack = [iter(whole)]
    while stack:
        for value in stack[-1]:
            if isinstance(value, list):
                stack.append(iter(value))
                break
            if isinstance(value, str):
                found.append((str(value), type(value) is _Digits))
            elif isinstance(value, bool):
                found.append(("true" if value else "false", False))
        else:
            stack.pop()
    return found


# ------------------------------------------------------------------------------------------------- types of entries
def entry_letters(held: pa.MapArray, types: pa.StringArray) -> Letters:
    """Give the letter of each entry from the first row's first to the last row's last. Without types it is text."""
    counts = np.diff(held.offsets.to_numpy())
    lengths = pc.fill_null(pc.binary_length(types), 0).to_numpy(zero_copy_only=False)
    letters = np.full(int(counts.sum()), TEXT, np.uint8)
    typed = (lengths == counts) & (lengths > 0)
    if typed.any():
        given = types.filter(pa.array(typed))
        _, offsets, data = given.buffers()
        ends = np.frombuffer(offsets, np.int32, len(given) + 1, given.offset * 4)
        letters[np.repeat(typed, counts)] = np.frombuffer(data, np.uint8)[ends[0] : ends[-1]]
    return letters


def entries_of(held: pa.MapArray, types: pa.StringArray, letter: int) -> tuple[pa.StringArray, pa.StringArray, Ints]:
    """Give the entries of one type: their keys, their texts, and how many each row has. Null items are left out."""
    offsets = held.offsets.to_numpy()
    length = int(offsets[-1] - offsets[0])
    keys, items = (column.slice(offsets[0], length) for column in (held.keys, held.items))
    chosen = (entry_letters(held, types) == letter) & items.is_valid().to_numpy(zero_copy_only=False)
    counts = np.add.reduceat(np.append(chosen, False), offsets[:-1] - offsets[0], dtype=np.int64)
    counts[np.diff(offsets) == 0] = 0  # reduceat gives the entry that stands there
    return keys.filter(pa.array(chosen)), items.filter(pa.array(chosen)), counts


def letters_of(held: pa.MapArray, types: pa.StringArray, key: str) -> Letters:
    """Give each row's letter of a key; of several entries of one key the last one's, as `pc.map_lookup(.., "last")`."""
    offsets = held.offsets.to_numpy()
    letters = entry_letters(held, types)
    found = np.full(len(held), TEXT, np.uint8)
    is_key = pc.equal(held.keys.slice(offsets[0], offsets[-1] - offsets[0]), key).to_numpy(zero_copy_only=False)
    rows = np.repeat(np.arange(len(held)), np.diff(offsets))[is_key]
    found[rows] = letters[is_key]
    return found
