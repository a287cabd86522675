"""Messages -> skeletons: what varies from row to row is cut out, over all bytes of a block at once.

A skeleton is a message with one byte in the place of each number, identifier, address and quoted text; the bytes are
among those that UTF-8 never has. There are few different ones, so that what costs more (`masks`) is done once for each.

- Quoted text, but for keys (`"name":`): all of it.
- Words (letters, digits, `_`, anything beyond ASCII) with digits in them: hexadecimal ones of MIN_HEX_CHARS and more,
  and those with several numbers, whole; of others the number alone (`worker7`, `12KB`).
- UUIDs, and addresses with colons (IPv6, MAC).
"""

from __future__ import annotations

from functools import cached_property
from itertools import pairwise
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

MAX_MESSAGE_BYTES: Final = 8 * 1024
"""Looked at of a message: those that are longer differ in what comes first, or are dumps."""
MAX_SKELETON_BYTES: Final = 1024
"""Kept of a skeleton: more than anybody reads of a pattern, and thousands must fit into memory."""
BLOCK_BYTES: Final = 2 * 1024 * 1024
"""Of text that is looked at at once, about a row group's: what is kept meanwhile may be many times as much."""
MIN_HEX_CHARS: Final = 4
"""Of a word that is taken for a hexadecimal number as it has letters and digits: shorter ones are names (`ec2`)."""

NUM, HEX, ID, UUID, IP, CLOCK, QUOTED, SINGLE_QUOTED = range(0xF5, 0xFD)
"""The bytes that stand for what was cut out. CLOCK: `1h30m`."""
END: Final = 0xFF
"""Ends a row."""
CUT: Final = 0xFE
"""Ends one that was longer."""

Bytes = npt.NDArray[np.uint8]
Places = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

_DIGIT, _HEX_LETTER, _OTHER_LETTER, _UNIT = 1, 2, 4, 8
_HEX: Final = _DIGIT | _HEX_LETTER
_WORD: Final = _HEX | _OTHER_LETTER
_PAD: Final = bytes([END]) * 40
"""Around a block, so that what stands beside a place is always there: a UUID has 36 characters."""
_UUID_HYPHENS: Final = (5, 10, 15)
_UUID_CHARS: Final = 36
_HEX_IN_UUID: Final = 32
_MIN_COLON_GAPS: Final = 4
"""Between the colons of a MAC address; IPv6 has more, or two colons side by side."""
_MAX_GROUP: Final = 4
_QUOTE, _APOSTROPHE, _BACKSLASH, _HYPHEN, _COLON = b"\"'\\-:"
_SUFFIX_CHARS: Final = 2
"""Letters behind a number that are a unit, even if they are hexadecimal digits, too: `512b`, `30d`."""


def _classes() -> bytes:
    table = bytearray(256)
    for byte in range(256):
        char = chr(byte)
        if char in "0123456789":
            table[byte] = _DIGIT
        elif char in "abcdefABCDEF":
            table[byte] = _HEX_LETTER
        elif (char.isalnum() and char.isascii()) or char == "_" or 0x80 <= byte < NUM:
            table[byte] = _OTHER_LETTER
        if char in "hmsund":
            table[byte] |= _UNIT
    for byte in "µμ".encode():
        table[byte] |= _UNIT
    return bytes(table)


_CLASSES: Final = _classes()


def skeletons_of(messages: pa.StringArray) -> pa.DictionaryArray:
    """Give the skeleton of each message, as a dictionary of binary values. Messages must be there (not null)."""
    values = messages.cast(pa.binary())
    lengths = pc.binary_length(values)
    if (pc.max(lengths).as_py() or 0) > MAX_MESSAGE_BYTES:
        head = pc.binary_slice(values, 0, MAX_MESSAGE_BYTES)
        marked = pc.binary_join_element_wise(head, bytes([CUT]), b"")
        values = pc.if_else(pc.greater(lengths, MAX_MESSAGE_BYTES), marked, values)
        lengths = pc.binary_length(values)
    blocks = np.cumsum(lengths.to_numpy(), dtype=np.int64) // BLOCK_BYTES
    bounds = [0, *(np.flatnonzero(np.diff(blocks)) + 1).tolist(), len(values)]
    made = [_skeletons(values[begin:end]) for begin, end in pairwise(bounds)]
    return pa.concat_arrays(made).dictionary_encode()


def _skeletons(values: pa.BinaryArray) -> pa.BinaryArray:
    rows = pa.ListArray.from_arrays(pa.array([0, len(values)], pa.int32()), values)
    joined = pc.binary_join(rows, bytes([END]))[0].as_buffer()
    skeletons = _Block(b"".join([_PAD, memoryview(joined), _PAD])).skeletons()
    ends = np.flatnonzero(skeletons == END)[len(_PAD) - 1 :][: len(values) + 1]
    offsets = pa.py_buffer((ends + 1).astype(np.int32))
    binary = pa.Array.from_buffers(pa.binary(), len(values), [None, offsets, pa.py_buffer(skeletons)])
    return pc.binary_slice(binary, 0, MAX_SKELETON_BYTES)


class _Block:
    """The text of many rows, END behind each."""

    def __init__(self, text: bytes) -> None:
        self._text: Bytes = np.frombuffer(text, np.uint8)
        self._class: Bytes = np.frombuffer(text.translate(_CLASSES), np.uint8)
        self._starts: list[Places] = []
        self._ends: list[Places] = []
        self._kinds: list[npt.NDArray[np.uint8]] = []
        self._inside: Mask | None = None

    def skeletons(self) -> Bytes:
        """Give the text with one byte for whatever varies."""
        for quote, kind in ((_QUOTE, QUOTED), (_APOSTROPHE, SINGLE_QUOTED)):
            self._find_quoted(quote, kind)
        self._find_uuids()
        self._find_addresses()
        self._find_numbers()
        if not self._starts:
            return self._text
        starts, ends = np.concatenate(self._starts), np.concatenate(self._ends)
        text = self._text.copy()
        text[starts] = np.concatenate(self._kinds)
        return text[~_covered(starts + 1, ends, len(text))]

    def _cut_out(self, starts: Places, ends: Places, kind: int | Bytes) -> None:
        """Have [start, end) of each become one byte; they neither touch nor overlap anything cut out before."""
        if not len(starts):
            return
        self._starts.append(starts)
        self._ends.append(ends)
        self._kinds.append(np.broadcast_to(np.asarray(kind, np.uint8), starts.shape))

    def _settle(self) -> None:
        """Have what was cut out so far be left alone."""
        if self._starts:
            self._inside = _covered(np.concatenate(self._starts), np.concatenate(self._ends), len(self._text))

    def _outside(self, places: Places) -> Places:
        return places if self._inside is None else places[~self._inside[places]]

    def _at(self, byte: int) -> Places:
        return self._outside(np.flatnonzero(self._text == byte))

    def _find_quoted(self, quote: int, kind: int) -> None:
        places = self._at(quote)
        places = places[self._text[places - 1] != _BACKSLASH]
        if quote == _APOSTROPHE:  # not that of a word, as in don't
            within = (self._class[places - 1] & _WORD).astype(np.bool_) & (self._class[places + 1] & _WORD).astype(bool)
            places = places[~within]
        if len(places) < 2:
            return
        rows = np.searchsorted(np.flatnonzero(self._text == END), places)
        first = np.searchsorted(rows, rows)  # the first quote of the same row
        opening = np.flatnonzero((np.arange(len(places)) - first)[:-1] % 2 == 0)
        opening = opening[rows[opening] == rows[opening + 1]]
        starts, ends = places[opening], places[opening + 1] + 1
        values = self._text[ends] != _COLON
        self._cut_out(starts[values], ends[values], kind)
        self._settle()

    def _find_uuids(self) -> None:
        hyphens = self._at(_HYPHEN)
        for further in _UUID_HYPHENS:
            hyphens = hyphens[self._text[hyphens + further] == _HYPHEN]
        if not len(hyphens):
            return
        starts = hyphens - 8
        ends = starts + _UUID_CHARS
        alone = ((self._class[starts - 1] | self._class[ends]) & _WORD) == 0
        found = alone & (self._count(_HEX, starts, ends) == _HEX_IN_UUID)
        self._cut_out(starts[found], ends[found], UUID)
        self._settle()

    def _find_addresses(self) -> None:
        colons = self._at(_COLON)
        if len(colons) < 2:
            return
        gaps = np.diff(colons)
        joined = gaps <= _MAX_GROUP + 1
        near = np.flatnonzero(joined)
        joined[near] = self._count(_HEX, colons[near], colons[near + 1]) == gaps[near] - 1
        if not joined.any():
            return
        # Runs of colons that are joined: from `first` to `last`.
        edges = np.diff(np.concatenate([[False], joined, [False]]).astype(np.int8))
        first, last = np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)
        double = np.concatenate([[0], np.cumsum(gaps == 1)])
        likely = (last - first >= _MIN_COLON_GAPS) | (double[last] > double[first])
        first, last = colons[first[likely]], colons[last[likely]]
        starts, _ = self._words(first - 1)
        _, ends = self._words(last + 1)
        starts, ends = np.minimum(starts, first), np.maximum(ends, last + 1)
        digits = self._count(_DIGIT, starts, ends) > 0
        hexadecimal = self._count(_WORD, starts, ends) == self._count(_HEX, starts, ends)
        short = (first - starts <= _MAX_GROUP) & (ends - last <= _MAX_GROUP + 1)
        found = digits & hexadecimal & short
        self._cut_out(starts[found], ends[found], IP)
        self._settle()

    def _find_numbers(self) -> None:
        starts, ends = _runs((self._class & _DIGIT).view(np.bool_))
        if self._inside is not None:
            outside = ~self._inside[starts]
            starts, ends = starts[outside], ends[outside]
        within = ((self._class[starts - 1] | self._class[ends]) & (_WORD ^ _DIGIT)) != 0
        self._cut_out(starts[~within], ends[~within], NUM)
        if within.any():
            self._find_in_words(starts[within], ends[within])

    def _find_in_words(self, starts: Places, ends: Places) -> None:
        """Cut out numbers that stand in words with letters, or these words."""
        word_starts, word_ends = self._words(starts)
        first = np.flatnonzero(np.diff(word_starts, prepend=-1))
        begin, end = word_starts[first], word_ends[first]
        numbers = np.diff(np.append(first, len(starts)))
        digits = np.add.reduceat(ends - starts, first)
        length = end - begin
        hexadecimal = self._count(_HEX, begin, end) == length
        unit = (numbers == 1) & (starts[first] == begin) & (length - digits <= _SUFFIX_CHARS)
        prefixed = (self._text[begin] == ord("0")) & ((self._text[begin + 1] | 0x20) == ord("x")) & (length > 2)
        prefixed &= self._count(_HEX, begin, end) == length - 1
        is_hex = (hexadecimal & (length >= MIN_HEX_CHARS) & ~unit) | prefixed
        several = (numbers > 1) & ~is_hex
        clock = several & (starts[first] == begin) & (self._count(_UNIT, begin, end) == length - digits)
        # 2026-11-24T10:00:00Z, where a T parts two numbers.
        time = several & (self._text[ends[first]] == ord("T")) & (starts[first] == begin) & (numbers == 2)
        time &= (length - digits == 1) | ((length - digits == 2) & (self._text[end - 1] == ord("Z")))
        whole = is_hex | (several & ~time)
        kinds = np.where(is_hex, HEX, np.where(clock, CLOCK, ID)).astype(np.uint8)
        self._cut_out(begin[whole], end[whole], kinds[whole])
        alone = ~np.repeat(whole, numbers)
        self._cut_out(starts[alone], ends[alone], NUM)

    def _words(self, places: Places) -> tuple[Places, Places]:
        """Give where the words that stand at some places begin and end; an empty one where there is none."""
        at = np.searchsorted(self._between, places)
        return self._between[at - 1] + 1, self._between[at]

    @cached_property
    def _between(self) -> Places:
        """Where there is no word."""
        return np.flatnonzero((self._class & _WORD) == 0)

    def _count(self, kind: int, starts: Places, ends: Places) -> Places:
        """Count the bytes of a class in [start, end) of each; these are few, so that they alone are looked at."""
        lengths = ends - starts
        upto = np.cumsum(lengths)
        places = np.arange(upto[-1] if len(upto) else 0) - np.repeat(upto - lengths - starts, lengths)
        sums = np.concatenate([[0], np.cumsum((self._class[places] & kind) != 0)])
        counts: Places = sums[upto] - sums[upto - lengths]
        return counts


def _runs(mask: Mask) -> tuple[Places, Places]:
    edges = np.flatnonzero(mask[1:] != mask[:-1]) + 1
    return edges[::2], edges[1::2]


def _covered(starts: Places, ends: Places, size: int) -> Mask:
    """Tell which places lie in any of some intervals, none of which overlap."""
    steps = np.zeros(size + 1, np.int8)
    steps[starts] += 1
    steps[ends] -= 1
    return np.cumsum(steps[:-1], dtype=np.int8).view(np.bool_)
