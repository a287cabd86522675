"""The text filter: which byte n-grams of folded message text a row group has.

One hash per gram, since a needle brings many grams. A row group's grams are marked in an array of flags; eight such
arrays make a plane, which is then folded in half while its packed size is over its budget. Grams that reach over a
row's end into the next row are marked as well: they cost a little room and cannot rule anything out wrongly.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
import numpy.typing as npt

from ess_ray.core.fold import character_start, fold_utf8
from ess_ray.core.index.planes import Bytes, packed_bytes

FLAG_BITS: Final = 20
"""log2 of a row group's flags: one byte each, so that they stay in a core's cache while they are set."""
MIN_FLAG_BITS: Final = 10
BASE_BUDGET_BYTES: Final = 1024
"""For each row group, so that small objects have an index too."""
MAX_PROBES: Final = 48
"""Grams of one needle that are looked up, spread evenly: what so many cannot tell, more cannot either."""
CACHED_NEEDLES: Final = 1024
"""Hashes of needles, kept: one query asks hundreds of objects for the same."""
_PIECE_BYTES: Final = 32 * 1024
"""Of text folded and hashed at once: its intermediate arrays stay in a core's cache."""


@dataclass(frozen=True, slots=True)
class Choice:
    """What was chosen by measuring (tests/benchmarks/index.py); readers learn the gram from the blob.

    `gram_bytes`, 4 to 8: four tell nothing about numbers and hex digits, six little about words of six to eight.
    `budget`: packed bytes of index for each byte of message; the widest plane within it is taken. Half row groups
    would err as often for a quarter more bytes, and save nothing, since a row group's page unpacks whole.
    """

    gram_bytes: int = 5
    budget: float = 0.025


CHOSEN: Final = Choice()

_FIRST: Final = np.uint32(0x9E3779B1)
_LAST: Final = np.uint32(0x85EBCA6B)
_HASH_BITS: Final = 32


def _hashed(data: bytes, grams: int, gram_bytes: int, bits: int) -> npt.NDArray[np.uint32]:
    """Hash the grams that start at 0 .. grams-1, to `bits` bits.

    Two words of four bytes, overlapping, cover a gram; each is read in place by a view whose items overlap.
    """
    apart = gram_bytes - 4
    words = np.ndarray((grams + apart,), "<u4", data, 0, (1,)).copy()
    hashed = words[:grams] * _FIRST
    hashed += words[apart:] * _LAST
    hashed >>= np.uint32(_HASH_BITS - bits)
    return hashed


def mark(text: Bytes, flags: Bytes, gram_bytes: int) -> None:
    """Set the flag of every gram of a row group's UTF-8 text; all flags if it is not UTF-8."""
    carried = b""
    try:
        for piece in _pieces(text):
            data = carried + fold_utf8(piece)
            grams = len(data) - gram_bytes + 1
            if grams > 0:
                flags[_hashed(data, grams, gram_bytes, FLAG_BITS).astype(np.intp)] = 1
            carried = data[-(gram_bytes - 1) :]
    except UnicodeDecodeError:
        flags[:] = 1  # how RE2 reads such bytes is its own affair: never rule them out


def _pieces(text: Bytes) -> Iterator[Bytes]:
    start = 0
    while start < len(text):
        end = character_start(text, start + _PIECE_BYTES)
        yield text[start:end]
        start = end


def narrowed(plane: Bytes, used_lanes: int, text_bytes: int, budget: float) -> Bytes:
    """Fold a plane of 2**FLAG_BITS positions in half until it keeps its budget of packed bytes."""
    limit = budget * text_bytes + BASE_BUDGET_BYTES * used_lanes
    while packed_bytes(plane) > limit and len(plane) > 1 << MIN_FLAG_BITS:
        plane = plane[0::2] | plane[1::2]
    return plane


def positions(folded: bytes, plane_positions: int, gram_bytes: int) -> list[int]:
    """Give where a plane marks the grams of a folded needle; none for a needle shorter than a gram."""
    shift = _HASH_BITS + 1 - plane_positions.bit_length()
    return [gram_hash >> shift for gram_hash in _needle_hashes(folded, gram_bytes)]


@lru_cache(maxsize=CACHED_NEEDLES)
def _needle_hashes(folded: bytes, gram_bytes: int) -> tuple[int, ...]:
    grams = len(folded) - gram_bytes + 1
    if grams <= 0:
        return ()
    hashed = _hashed(folded, grams, gram_bytes, _HASH_BITS)
    if grams > MAX_PROBES:
        hashed = hashed[np.linspace(0, grams - 1, MAX_PROBES).astype(np.intp)]
    return tuple(hashed.tolist())
