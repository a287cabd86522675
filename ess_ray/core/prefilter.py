"""Which rows of a block of messages can match at all: found by searching the block's text as one, not row by row.

A row that is left out cannot match; a row that is kept may not match either: `filter_batch` decides it. So every step
here may only widen: assertions are gone (they would miss matches at row borders, which this search does not see), a
pattern is cut to a part of it that each match holds, and where too much is found all rows are kept. A literal goes to
stringzilla, anything else to Hyperscan, which reports where matches end: the end of a row's own match lies in that row.

Hyperscan 5.4.12 was found to miss matches that end where its text ends, and, with bytes from 128 on in a pattern, some
within. So its text is padded, its patterns are ASCII alone, and rows that hold anything else are kept: fuzzed a million
times against a plain matcher, nothing was missed so.

May live here: queries to searches, hits to rows. May not: pages, fetching, deciding a match.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from functools import lru_cache, reduce
from typing import Any, Final, Protocol

import hyperscan
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import stringzilla

from ess_ray.core import pattern
from ess_ray.core.pattern import Alt, AnyByte, Bytes, OneOf, Repeat, Seq, Tree
from ess_ray.core.query import And, Contains, Equals, Node, Or, Regex

Rows = npt.NDArray[np.int64]
"""Row numbers of a block, ascending, each once."""

MIN_PIECE_BYTES: Final = 2
"""Of a piece to search for: a single byte is in every row."""
MAX_PIECE_BYTES: Final = 64
"""Of a long literal, this much is sought: what holds it holds the rest nearly always, and engines stay small."""
MAX_POSITIONS: Final = 1_500
"""Of a pattern in Hyperscan, each character and copy counted: compiling one of these takes up to 0.1 s."""
MAX_HITS_SHARE: Final = 0.25
"""Of a block's rows: more hits than that cost as much as testing all rows, and rule little out."""
MIN_HITS: Final = 64
"""Hits that are always taken, however small the block."""
FEW_SHARE: Final = 1 / 64
"""Of a block's rows: with no more candidates, another search costs more than testing them."""
BLOCKS_SKIPPED: Final = 15
"""After too many hits in a block, a piece is not sought in this many: what is common stays common."""
_COMPILED: Final = 256
"""Searches kept a process; a Hyperscan database takes some 10 to 500 KiB."""


class Block(Protocol):
    """Texts of rows in one buffer: row i is `data[offsets[i]:offsets[i + 1]]`; `offsets` may cost to ask for.

    `padded` is the data with zeros after it.
    """

    data: pa.Buffer
    rows: int

    @property
    def padded(self) -> pa.Buffer: ...

    @property
    def offsets(self) -> npt.NDArray[np.int32]: ...

    def rows_beyond_ascii(self) -> Rows: ...


class Prefilter:
    """One scan's searches. It remembers which of them were of no use, so make one for each scan; not for threads."""

    def __init__(self, searches: Iterable[_Search]) -> None:
        self._searches = tuple(searches)
        self._skip = [0] * len(self._searches)

    def candidates(self, block: Block) -> Rows | None:
        """Give the rows that can match, or None: any may. Raises what asking for `offsets` raises."""
        found: Rows | None = None
        for place, search in enumerate(self._searches):
            if self._skip[place]:
                self._skip[place] -= 1
                continue
            rows = search.rows(block, max(MIN_HITS, int(block.rows * MAX_HITS_SHARE)))
            if rows is None:
                self._skip[place] = BLOCKS_SKIPPED
                continue
            found = rows if found is None else np.intersect1d(found, rows, assume_unique=True)
            if len(found) <= block.rows * FEW_SHARE:
                break
        return found


def prefilter(nodes: Iterable[Node]) -> Prefilter | None:
    """Give the searches whose rows hold all that these tests (all of which must hold) require of `message`."""
    pieces = [piece for node in nodes for piece in necessary(node)]
    searches = [
        search for piece in dict.fromkeys(sorted(pieces, key=_worth, reverse=True)) if (search := _search(piece))
    ]
    return Prefilter(searches) if searches else None


# ------------------------------------------------------------------------------------------------ queries to pieces
def necessary(node: Node) -> list[Tree]:
    """Give pieces of text each of which the message of every row that matches `node` holds."""
    match node:
        case And(children):
            return [piece for child in children for piece in necessary(child)]
        case Or(children):
            best = [max(necessary(child), key=_worth, default=None) for child in children]
            choices = tuple(piece for piece in best if piece is not None)
            return [Alt(choices)] if choices and len(choices) == len(best) else []
        case Contains(field, text, ignore_case) | Equals(field, text, ignore_case):
            tree: Tree | None = pattern.literal(text, ignore_case)
        case Regex(field, text, ignore_case):
            tree = pattern.superset(text, ignore_case)
        case _:
            return []
    if field.attribute or field.name != "message" or tree is None:
        return []
    pieces = [_cut(_trimmed(part)) for part in _parts(tree)]
    pieces += [part for piece in pieces for part in _literals_beyond_ascii(piece)]
    return [piece for piece in pieces if pattern.min_bytes(piece) >= MIN_PIECE_BYTES]


def _literals_beyond_ascii(piece: Tree) -> list[Tree]:
    """Give a sequence's literals that only the literal search can look for."""
    parts = piece.parts if isinstance(piece, Seq) else ()
    return [part for part in parts if isinstance(part, Bytes) and not part.text.isascii()]


def _parts(tree: Tree) -> list[Tree]:
    """Split at `.*` and its like: across them the search would run from one row into the next."""
    if not isinstance(tree, Seq):
        return [tree]
    parts: list[list[Tree]] = [[]]
    for part in tree.parts:
        if _is_gap(part):
            parts.append([])
        else:
            parts[-1].append(part)
    return [pattern.sequence(run) for run in parts]


def _is_gap(tree: Tree) -> bool:
    if not isinstance(tree, Repeat) or tree.most is not None:
        return False
    return isinstance(tree.part, OneOf) and tree.part.wide and len(pattern.ALL_ASCII - tree.part.ascii) <= 1


def _trimmed(tree: Tree) -> Tree:
    """Leave out what a piece may begin or end with but need not: fewer hits for the same rows."""
    match tree:
        case Seq(parts):
            first, last = 0, len(parts)
            while first < last and not pattern.min_bytes(parts[first]):
                first += 1
            while first < last and not pattern.min_bytes(parts[last - 1]):
                last -= 1
            kept = list(parts[first:last])
            if kept:
                kept[0] = _trimmed(kept[0])
                kept[-1] = _trimmed(kept[-1])
            return pattern.sequence(kept)
        case Repeat(part, least, most) if least != most:
            return _trimmed(pattern.repeat(part, least, least))
        case Alt(choices):
            return Alt(tuple(map(_trimmed, choices)))
        case _:
            return tree


def _cut(tree: Tree) -> Tree:
    """Cut a long sequence to its first part: every match holds that too."""
    if isinstance(tree, Bytes):
        return Bytes(tree.text[:MAX_PIECE_BYTES])
    if not isinstance(tree, Seq):
        return tree
    kept: list[Tree] = []
    size = 0
    for part in tree.parts:
        if kept and size >= MAX_PIECE_BYTES:
            break
        kept.append(_cut(part) if isinstance(part, Bytes) else part)
        size += pattern.min_bytes(kept[-1])
        if isinstance(part, Bytes) and len(part.text) > MAX_PIECE_BYTES:
            break
    return _trimmed(pattern.sequence(kept))


def _worth(tree: Tree) -> float:
    """Guess how rare a piece is, in letters: which one to seek first. Only the order counts."""
    match tree:
        case Bytes(text):
            return len(text)
        case OneOf(codes, wide):
            return 0.05 if wide else 0.9 if len(codes) <= 2 else 0.4 if len(codes) <= 16 else 0.2
        case AnyByte():
            return 0
        case Seq(parts):
            return sum(map(_worth, parts))
        case Alt(choices):
            return min(map(_worth, choices)) - 0.01 * len(choices)
        case Repeat(part, least, _):
            return least * _worth(part)


# -------------------------------------------------------------------------------------------------- pieces to rows
class _Search(Protocol):
    def rows(self, block: Block, max_hits: int) -> Rows | None:
        """Give the rows that hold the piece (and perhaps more), or None after `max_hits` hits."""
        ...


@lru_cache(_COMPILED)
def _search(piece: Tree) -> _Search | None:
    """Make the search for a piece, once a process; None where no engine takes it."""
    if isinstance(piece, Bytes):
        return _Literal(piece.text)
    in_ascii = pattern.ascii_only(piece)
    choices = () if in_ascii is None else in_ascii.choices if isinstance(in_ascii, Alt) else (in_ascii,)
    if sum(map(_positions, choices)) > MAX_POSITIONS or not all(map(pattern.min_bytes, choices)):
        return None
    try:
        return _Automaton([_spelt(choice) for choice in choices])
    except hyperscan.HyperscanError:
        return None


class _Literal:
    """Seeks bytes. A hit across a row border is none, so what is kept does hold them."""

    def __init__(self, text: bytes) -> None:
        self._text = text

    def rows(self, block: Block, max_hits: int) -> Rows | None:
        data, text = memoryview(block.data), self._text
        hits: list[int] = []
        at = stringzilla.find(data, text)
        while at >= 0:
            if len(hits) >= max_hits:
                return None
            hits.append(at)
            at = stringzilla.find(data, text, at + 1)
        if not hits:
            return _NO_ROWS
        starts = np.array(hits, np.int64)
        first, last = _rows_at(block, starts), _rows_at(block, starts + len(text) - 1)
        return np.unique(first[(first == last) & _inside(block, first)])


class _Automaton:
    """Seeks one or more expressions with Hyperscan. For many threads: each has its own scratch memory.

    The expressions are what ASCII texts can match; with none, only rows beyond ASCII can.
    """

    def __init__(self, expressions: list[bytes]) -> None:
        self._threads = threading.local()
        self._database = hyperscan.Database(mode=hyperscan.HS_MODE_BLOCK) if expressions else None
        if self._database is None:
            return
        self._database.compile(expressions=expressions, ids=list(range(len(expressions))), flags=[0] * len(expressions))

    def rows(self, block: Block, max_hits: int) -> Rows | None:
        ends = self._ends(block, max_hits)
        if ends is None:
            return None
        beyond = block.rows_beyond_ascii()
        if not len(ends):
            return beyond
        rows = _rows_at(block, ends - 1)
        return np.unique(np.concatenate([rows[_inside(block, rows)], beyond]))

    def _ends(self, block: Block, max_hits: int) -> Rows | None:
        """Give where matches end, or None after too many."""
        if self._database is None:
            return _NO_ROWS
        scratch = getattr(self._threads, "scratch", None)
        if scratch is None:
            scratch = self._threads.scratch = hyperscan.Scratch(self._database)
        ends: list[int] = []
        try:
            data: Any = memoryview(block.padded)  # the stub knows str and bytes only
            self._database.scan(data, _collector(ends, max_hits), scratch=scratch)
        except hyperscan.ScanTerminated:
            return None
        return np.array(ends, np.int64)


def _collector(ends: list[int], most: int) -> Callable[[int, int, int, int, object], bool]:
    def hit(expression: int, start: int, end: int, flags: int, context: object) -> bool:
        ends.append(end)
        return len(ends) > most

    return hit


_NO_ROWS: Final = np.empty(0, np.int64)


def _rows_at(block: Block, positions: Rows) -> Rows:
    """Tell in which row each position of the data lies, -1 or `rows` outside all. An empty row holds no position."""
    return np.searchsorted(block.offsets, positions, side="right").astype(np.int64) - 1


def _inside(block: Block, rows: Rows) -> npt.NDArray[np.bool_]:
    inside: npt.NDArray[np.bool_] = (rows >= 0) & (rows < block.rows)
    return inside


# ------------------------------------------------------------------------------------------- trees to expressions
def _positions(tree: Tree) -> int:
    match tree:
        case Bytes(text):
            return len(text)
        case OneOf(_, wide):
            return 1 + wide
        case AnyByte():
            return 1
        case Seq(parts):
            return sum(map(_positions, parts))
        case Alt(choices):
            return sum(map(_positions, choices))
        case Repeat(part, least, most):
            return _positions(part) * max(1, least, most or 0)


def _spelt(tree: Tree) -> bytes:
    """Write a tree without characters beyond ASCII in Hyperscan's syntax."""
    match tree:
        case Bytes(text):
            return b"".join(b"\\x%02x" % code for code in text)
        case OneOf(codes, _):
            return _byte_class(codes)
        case AnyByte():
            return _byte_class(pattern.ALL_ASCII)
        case Seq(parts):
            return b"(?:%b)" % b"".join(map(_spelt, parts))
        case Alt(choices):
            return b"(?:%b)" % b"|".join(map(_spelt, choices))
        case Repeat(part, least, most):
            return b"(?:%b){%d,%b}" % (_spelt(part), least, b"" if most is None else b"%d" % most)


def _byte_class(codes: frozenset[int]) -> bytes:
    """Write a set of bytes as a class; an empty one matches nothing."""
    if not codes:
        return b"[^\\x00-\\xff]"
    runs: list[list[int]] = reduce(_grow, sorted(codes), [])
    return b"[%b]" % b"".join(b"\\x%02x-\\x%02x" % (low, high) for low, high in runs)


def _grow(runs: list[list[int]], code: int) -> list[list[int]]:
    if runs and runs[-1][1] == code - 1:
        runs[-1][1] = code
    else:
        runs.append([code, code])
    return runs
