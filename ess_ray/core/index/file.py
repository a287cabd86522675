"""The whole index of an object: a head, a table of planes, the planes. Building it, and asking it.

    head    magic ESSX, format version, fold version, row groups, planes, CRC-32 of head and table
    table   per plane: kind, parameter (bytes of a gram, or hashes of a value), first row group, positions, bytes
    planes  each as planes.pack wrote it

It says all that a reader must know: another choice of gram or width needs no new version. A version or kind that is
not known rules nothing out; bytes that are not what was written are CorruptData.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa
import zstandard

from ess_ray.core import attribute
from ess_ray.core.errors import CorruptData
from ess_ray.core.fold import FOLD_VERSION
from ess_ray.core.index import grams, values
from ess_ray.core.index.planes import LANES, MAX_POSITIONS, Bytes, Plane, is_too_full, pack
from ess_ray.core.index.values import Hashes, Kind
from ess_ray.core.literals import AllOf, AnyOf, Formula, Holds, Text
from ess_ray.core.query import Field

INDEX_VERSION: Final = 2
_WITHOUT_TYPES: Final = 1
"""The version that knew attributes by their own keys and texts alone."""
TEXT: Final = 1
"""The kind of a plane of grams; values.KINDS has the others."""
LEARNED_PLANES: Final = 2
"""Planes after which a gram found in all of their row groups is taken to be common."""
_UNKNOWN_SHARE: Final = 0.5
"""Of row groups, for a gram that was not looked up yet: after the rare ones, before the common ones."""
_MAGIC: Final = b"ESSX"
_HEAD: Final = struct.Struct("<4sHHIII")
_ENTRY: Final = struct.Struct("<BBIII")


@dataclass(frozen=True, slots=True)
class _Entry:
    kind: int
    parameter: int
    first_group: int
    positions: int
    size: int


# ---------------------------------------------------------------------------------------------------------- building
def build(groups: Iterable[pa.Table | pa.RecordBatch], text: grams.Choice = grams.CHOSEN) -> bytes:
    """Index an object's row groups, in order. Takes about 0.8 CPU-seconds per million events of 110 bytes.

    Columns: `message` (no nulls) and, as far as they are there, those of values.KINDS and `attribute_types`, as in
    EVENT_SCHEMA. The
    same rows give the same bytes. Memory: 8 MiB, and 8 bytes for each distinct value of eight row groups.
    """
    builder = _Builder(text)
    for group in groups:
        builder.add(group)
    return builder.finish()


class _Builder:
    """Gathers eight row groups, then writes their planes."""

    def __init__(self, choice: grams.Choice) -> None:
        self._choice = choice
        self._groups = 0
        self._entries: list[_Entry] = []
        self._packed: list[bytes] = []
        self._flags: Bytes = np.empty(1 << grams.FLAG_BITS, np.uint8)
        self._reset()

    def _reset(self) -> None:
        self._text: Bytes = np.zeros(1 << grams.FLAG_BITS, np.uint8)
        self._text_bytes = 0
        self._values: dict[int, list[Hashes | None]] = {kind.code: [] for kind in values.KINDS}

    def add(self, group: pa.Table | pa.RecordBatch) -> None:
        lane = self._groups % LANES
        text = _text(_column(group, "message"))
        self._flags.fill(0)
        grams.mark(text, self._flags, self._choice.gram_bytes)
        self._flags <<= np.uint8(lane)
        self._text |= self._flags
        self._text_bytes += len(text)
        for kind in values.KINDS:
            self._values[kind.code].append(_hashes(group, kind))
        self._groups += 1
        if lane == LANES - 1:
            self._flush(LANES)

    def _flush(self, used: int) -> None:
        first = self._groups - used
        plane = grams.narrowed(self._text, used, self._text_bytes, self._choice.budget)
        self._put(TEXT, self._choice.gram_bytes, first, used, plane)
        for kind in values.KINDS:
            self._put(kind.code, kind.hashes, first, used, values.plane_of(kind, self._values[kind.code]))
        self._reset()

    def _put(self, kind: int, parameter: int, first: int, used: int, plane: Bytes) -> None:
        if is_too_full(plane, used):
            return
        packed = pack(plane)
        self._entries.append(_Entry(kind, parameter, first, len(plane), len(packed)))
        self._packed.append(packed)

    def finish(self) -> bytes:
        if self._groups % LANES:
            self._flush(self._groups % LANES)
        table = b"".join(
            _ENTRY.pack(entry.kind, entry.parameter, entry.first_group, entry.positions, entry.size)
            for entry in self._entries
        )
        return b"".join([_head(self._groups, table), table, *self._packed])


def _head(groups: int, table: bytes) -> bytes:
    fields = (_MAGIC, INDEX_VERSION, FOLD_VERSION, groups, len(table) // _ENTRY.size)
    return _HEAD.pack(*fields, zlib.crc32(table, zlib.crc32(_HEAD.pack(*fields, 0))))


def _column(group: pa.Table | pa.RecordBatch, name: str) -> pa.Array:
    column = group.column(name)
    if not isinstance(column, pa.ChunkedArray):
        return column
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def _text(messages: pa.StringArray) -> Bytes:
    """Give the concatenated text of a column as a view of its buffer."""
    _, offsets, data = messages.buffers()
    if not len(messages) or data is None:
        return np.zeros(0, np.uint8)
    ends = np.frombuffer(offsets, np.int32, len(messages) + 1, messages.offset * 4)
    return np.frombuffer(data, np.uint8, int(ends[-1] - ends[0]), int(ends[0]))


def _hashes(group: pa.Table | pa.RecordBatch, kind: Kind) -> Hashes | None:
    """Hash a kind's values in a row group; None where that cannot be told (no such column, no UTF-8, too much)."""
    if not set(kind.columns) <= set(group.schema.names):
        return None
    try:
        hashes = [_hashes_of(group, name) for name in kind.columns]
    except UnicodeDecodeError:
        return None
    known = [one for one in hashes if one is not None]
    return np.concatenate(known) if len(known) == len(hashes) else None


def _hashes_of(group: pa.Table | pa.RecordBatch, name: str) -> Hashes | None:
    column = _column(group, name)
    if name != "attributes":
        return values.of_column(name, column)
    has_types = "attribute_types" in group.schema.names
    types = _column(group, "attribute_types") if has_types else pa.nulls(len(column), pa.string())
    return values.of_attributes(column, types)


# ------------------------------------------------------------------------------------------------------------ asking
class _Probes:
    """The grams of one needle, and how often each was found so far: a look-up unpacks a chunk, so the rare ones first.

    A gram that was in every row group of LEARNED_PLANES planes is not looked for again: it would rule nothing out.
    """

    def __init__(self, count: int) -> None:
        self._order = list(range(count))
        self._asked = [0] * count
        self._found = [0] * count

    def lanes(self, plane: Plane, places: list[int], asked: int) -> int:
        """Give those of the lanes `asked` that may have all grams; `places` are where the plane marks them."""
        for gram in self._order:
            if self._found[gram] == self._asked[gram] >= LEARNED_PLANES * LANES:
                break  # so were all after it
            found = plane.at(places[gram])
            self._asked[gram] += LANES
            self._found[gram] += found.bit_count()
            asked &= found
            if not asked:
                break
        self._order.sort(key=self._share)
        return asked

    def _share(self, gram: int) -> float:
        return self._found[gram] / self._asked[gram] if self._asked[gram] else _UNKNOWN_SHARE


def can_tell(needs: Formula) -> bool:
    """Say whether an index as we build it may rule a row group out for `needs`; only costs depend on it."""
    match needs:
        case AllOf(parts):
            return any(map(can_tell, parts))
        case AnyOf(parts):
            return all(map(can_tell, parts))
        case Text(folded):
            return len(folded) >= grams.CHOSEN.gram_bytes
        case Holds():
            return True


class Index:
    """A stored index, opened. Unpacks only what it is asked for, and keeps that; not for several threads at once."""

    def __init__(self, blob: bytes | memoryview, groups: int, has_types: bool = True) -> None:
        """Open the index of an object of `groups` row groups; an empty blob is an object without one.

        `has_types`: whether the object's attributes have JSON types (from format 2 on). Raises CorruptData.
        """
        self.groups = groups
        self._has_types = has_types
        self._knows_types = True
        self._all = (1 << groups) - 1
        self._planes: dict[int, list[tuple[int, int, int, Plane]]] = {}
        data = memoryview(blob)
        if not data:
            return
        entries = self._table(data)
        at = _HEAD.size + len(entries) * _ENTRY.size
        decompressor = zstandard.ZstdDecompressor()
        for entry in entries:
            plane = Plane(data[at : at + entry.size], entry.positions, decompressor)
            place = (entry.first_group, entry.parameter, entry.positions, plane)
            self._planes.setdefault(entry.kind, []).append(place)
            at += entry.size

    def _table(self, data: memoryview) -> list[_Entry]:
        """Read head and table; no entries if they are of a version that is not known here."""
        if len(data) < _HEAD.size or bytes(data[:4]) != _MAGIC:
            raise CorruptData("the skip index does not begin as one: read the object without it, and compact it")
        magic, version, fold_version, groups, planes, crc = _HEAD.unpack_from(data)
        if version not in (INDEX_VERSION, _WITHOUT_TYPES) or fold_version != FOLD_VERSION:
            return []
        self._knows_types = version != _WITHOUT_TYPES
        end = _HEAD.size + planes * _ENTRY.size
        head = _HEAD.pack(magic, version, fold_version, groups, planes, 0)
        if len(data) < end or zlib.crc32(data[_HEAD.size : end], zlib.crc32(head)) != crc:
            raise CorruptData("the skip index's table is damaged: read the object without it, and compact it")
        entries = [_Entry(*fields) for fields in _ENTRY.iter_unpack(data[_HEAD.size : end])]
        sound = all(
            entry.first_group % LANES == 0 and entry.first_group < groups and 0 < entry.positions <= MAX_POSITIONS
            for entry in entries
        )
        if groups != self.groups or not sound or end + sum(entry.size for entry in entries) != len(data):
            raise CorruptData("the skip index is not this object's: read the object without it, and compact it")
        return entries

    def keep(self, needs: Formula) -> list[int]:
        """Give the row groups, ascending, that may hold what `needs` says. Never leaves one out that does.

        Raises CorruptData when bytes that it unpacks are damaged.
        """
        kept = self._eval(needs, self._all)
        return [group for group in range(self.groups) if kept >> group & 1]

    def _eval(self, needs: Formula, asked: int) -> int:
        """Give those of the row groups `asked` (a bit each) that may satisfy a formula."""
        if not asked:
            return 0
        match needs:
            case AllOf(parts):
                # The value filters err seldom and are asked once: they first.
                for part in sorted(parts, key=lambda part: not isinstance(part, Holds)):
                    asked = self._eval(part, asked)
                return asked
            case AnyOf(parts):
                found = 0
                for part in parts:
                    found |= self._eval(part, asked & ~found)
                return found
            case Text(folded):
                return self._text(folded, asked)
            case Holds():
                return self._value(needs, asked)

    def _text(self, folded: bytes, asked: int) -> int:
        """Ask the planes one after the other, and each first for the grams that were rarest in those before it."""
        probes: dict[int, _Probes] = {}
        for first, gram_bytes, positions, plane in self._planes.get(TEXT, ()):
            lanes = asked >> first & (1 << LANES) - 1
            places = grams.positions(folded, positions, gram_bytes) if lanes else []
            if places:
                learned = probes.setdefault(gram_bytes, _Probes(len(places)))
                asked &= ~((lanes & ~learned.lanes(plane, places, lanes)) << first)
        return asked

    def _value(self, atom: Holds, asked: int) -> int:
        if atom.field.attribute and not self._knows_types:
            return self._value_without_types(atom, asked)
        return self._hash(atom.field, atom.folded, asked)

    def _value_without_types(self, atom: Holds, asked: int) -> int:
        """Ask an index that has each key by itself, and of values the text alone, which tells nothing of typed ones."""
        folded = None if self._has_types else atom.folded
        found = 0
        for key in attribute.keys_of(atom.field.name):
            found |= self._hash(Field(key, attribute=True), folded, asked & ~found)
        return found

    def _hash(self, field: Field, folded: bytes | None, asked: int) -> int:
        if not asked:
            return 0
        kind = values.KIND_OF["attributes" if field.attribute else field.name]
        planes = self._planes.get(kind.code)
        if not planes:
            return asked
        value_hash = values.of_field(field, folded)
        for first, count, positions, plane in planes:
            asked = _narrow(plane, first, values.places(value_hash, count, positions), asked)
        return asked


def _narrow(plane: Plane, first: int, positions: list[int], asked: int) -> int:
    """Clear the bits of those row groups of a plane that lack one of the positions."""
    lanes = asked >> first & (1 << LANES) - 1
    if not lanes or not positions:
        return asked
    return asked & ~((lanes & ~plane.lanes(positions, lanes)) << first)
