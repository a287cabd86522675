"""Which rows of a block of messages can match at all: found by searching the block's text as one, not row by row.

A row that is left out cannot match; a row that is kept may not match either: `filter_batch` decides it. So every step
here may only widen: of a test only literals are taken that each match holds, and where too much is found all rows are
kept. Literals are sought by stringzilla. Case is ignored by setting bit 5 of every byte, in text and literal: letters
lose their case, some other characters become alike, nothing gets lost.

Hyperscan would search for whole patterns about as fast, but what it finds is no superset: version 5.4.12 (Vectorscan)
does not see `(?:[0-9][\\x00-\\x7f]|[\\x00-\\x7f][\\x00-\\x7f][a-f])[aA]` in the middle of a long ASCII text that holds
"bsba", and misses more at the text's end or with bytes from 128 on in a pattern (found by fuzzing: not all is known).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Final, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import stringzilla

from ess_ray.core.pattern import Alt, Chars, Repeat, Seq, Tree, ascii_only

if TYPE_CHECKING:
    from ess_ray.core.operators import Node

Rows = npt.NDArray[np.int64]
"""Row numbers of a block, ascending, each once."""

CASE_BIT: Final = 0x20
"""What tells ASCII's upper case from its lower case."""
MIN_LITERAL_BYTES: Final = 2
"""Of a literal to search for: a single byte is in every row."""
MAX_LITERAL_BYTES: Final = 64
"""Of a long literal, this much is sought: what holds it holds the rest nearly always."""
MAX_REPEATS: Final = 64
"""Copies of a repeated part that are written out; beyond, any number may follow."""
MAX_CHOICES: Final = 16
"""Literals sought for one condition: more cost as much as testing all rows."""
MAX_CONDITIONS: Final = 8
"""Conditions of one query: the rarest-looking ones; each rules rows out by itself."""
MAX_HITS_SHARE: Final = 0.25
"""Of a block's rows: more hits than that cost as much as testing all rows, and rule little out."""
MIN_HITS: Final = 64
"""Hits that are always taken, however small the block."""
FEW_SHARE: Final = 1 / 64
"""Of a block's rows: with no more candidates, another search costs more than testing them."""
BLOCKS_SKIPPED: Final = 15
"""After too many hits in a block, a condition is not tried in this many: what is common stays common."""

_REMEMBERED: Final = 1_024
"""Tests whose conditions, and characters whose bytes are kept a process: each scan of many asks for the same ones."""

_Byte = tuple[int, bool]
"""A byte of a literal, and whether CASE_BIT is set in it, as it may be of any case."""


class Block(Protocol):
    """Texts of rows in one buffer: row i is `data[offsets[i]:offsets[i + 1]]`; `offsets` may cost to ask for.

    `without_case` is the data with CASE_BIT set in every byte; `rows_beyond_ascii` are those that hold any such byte.
    """

    data: pa.Buffer
    rows: int

    @property
    def without_case(self) -> memoryview: ...

    @property
    def offsets(self) -> npt.NDArray[np.int32]: ...

    def rows_beyond_ascii(self) -> Rows: ...


@dataclass(frozen=True, slots=True)
class Literal:
    """Bytes to seek: as they are, or (`any_case`, CASE_BIT set in all of them) in the text without case."""

    text: bytes
    any_case: bool = False

    def seek(self, block: Block, max_hits: int) -> Rows | None:
        """Give the rows that hold it within their borders, or None after `max_hits` hits."""
        data = block.without_case if self.any_case else memoryview(block.data)
        hits: list[int] = []
        at = stringzilla.find(data, self.text)
        while at >= 0:
            if len(hits) >= max_hits:
                return None
            hits.append(at)
            at = stringzilla.find(data, self.text, at + 1)
        if not hits:
            return _NO_ROWS
        starts = np.array(hits, np.int64)
        first, last = _rows_at(block, starts), _rows_at(block, starts + len(self.text) - 1)
        return np.unique(first[(first == last) & (first >= 0) & (first < block.rows)])


@dataclass(frozen=True, slots=True)
class Condition:
    """What a matching row holds: one of the literals, or, if `or_beyond_ascii`, a character beyond ASCII."""

    choices: tuple[Literal, ...]
    or_beyond_ascii: bool = False

    def rows(self, block: Block, max_hits: int) -> Rows | None:
        """Give the rows that hold it, or None after too many hits."""
        found = []
        for choice in self.choices:
            rows = choice.seek(block, max_hits)
            if rows is None:
                return None
            max_hits -= len(rows)
            found.append(rows)
        if self.or_beyond_ascii:
            found.append(block.rows_beyond_ascii())
        return found[0] if len(found) == 1 else np.unique(np.concatenate([_NO_ROWS, *found]))

    @property
    def worth(self) -> float:
        """A guess how rare it is: the shortest literal's bytes. Only the order counts."""
        rarest = min((len(choice.text) - 0.5 * choice.any_case for choice in self.choices), default=1)
        return rarest - 0.05 * len(self.choices) - 0.25 * self.or_beyond_ascii


class Prefilter:
    """One scan's searches. It remembers which of them were of no use, so make one for each scan; not for threads."""

    def __init__(self, conditions: Iterable[Condition]) -> None:
        self.conditions = tuple(conditions)
        self._skip = [0] * len(self.conditions)

    def candidates(self, block: Block) -> Rows | None:
        """Give the rows that can match, or None: any may. Raises what asking for `offsets` raises."""
        found: Rows | None = None
        for place, condition in enumerate(self.conditions):
            if self._skip[place]:
                self._skip[place] -= 1
                continue
            rows = condition.rows(block, max(MIN_HITS, int(block.rows * MAX_HITS_SHARE)))
            if rows is None:
                self._skip[place] = BLOCKS_SKIPPED
                continue
            found = rows if found is None else np.intersect1d(found, rows, assume_unique=True)
            if len(found) <= block.rows * FEW_SHARE:
                break
        return found


def prefilter(nodes: Iterable[Node]) -> Prefilter | None:
    """Give the searches for rows that hold all that these tests (all of which must hold) require of `message`."""
    conditions = dict.fromkeys(condition for node in nodes for condition in necessary(node))
    best = sorted(conditions, key=lambda condition: condition.worth, reverse=True)[:MAX_CONDITIONS]
    return Prefilter(best) if best else None


_NO_ROWS: Final = np.empty(0, np.int64)


def _rows_at(block: Block, positions: Rows) -> Rows:
    """Tell in which row each position of the data lies, -1 or `rows` outside all. An empty row holds no position."""
    return np.searchsorted(block.offsets, positions, side="right").astype(np.int64) - 1


# ------------------------------------------------------------------------------------------- queries to conditions
@lru_cache(_REMEMBERED)
def necessary(node: Node) -> tuple[Condition, ...]:
    """Give conditions each of which the message of every row that matches `node` fulfils."""
    return node.conditions()


def conditions_of(tree: Tree) -> tuple[Condition, ...]:
    """Give conditions each of which every text that a pattern's tree accepts fulfils."""
    found = _conditions(tree)
    return (*found, *_in_ascii(tree, found))


def _in_ascii(tree: Tree, found: Sequence[Condition]) -> list[Condition]:
    """Give what rows of ASCII alone must hold, where that is more: 's' is no long s there, and \\w is a letter."""
    narrowed = ascii_only(tree)
    if narrowed is None:
        return [Condition((), or_beyond_ascii=True)]
    if narrowed is tree:
        return []
    known = {condition.choices for condition in found}
    sought = [condition.choices for condition in _conditions(narrowed) if condition.choices not in known]
    return [Condition(choices, or_beyond_ascii=True) for choices in sought]


def one_of(alternatives: Sequence[Sequence[Condition]]) -> list[Condition]:
    """Give the condition that one of the alternatives' conditions holds: of each the rarest-looking one."""
    if not alternatives or not all(alternatives):
        return []
    best = [max(conditions, key=lambda condition: condition.worth) for conditions in alternatives]
    choices = tuple(dict.fromkeys(choice for condition in best for choice in condition.choices))
    beyond = any(condition.or_beyond_ascii for condition in best)
    return [Condition(choices, beyond)] if len(choices) <= MAX_CHOICES else []


def _conditions(tree: Tree) -> list[Condition]:
    """Give the literals of a tree that each of its texts holds, and one of which for each alternation."""
    found: list[Condition] = []
    run: list[_Byte] = []
    for piece in _pieces(tree):
        if isinstance(piece, Alt) or piece is None:
            found.extend(_literal(run))
            run = []
            if piece is not None:
                found.extend(one_of([_conditions(choice) for choice in piece.choices]))
        else:
            run.append(piece)
    return [*found, *_literal(run)]


def _pieces(tree: Tree) -> Iterator[_Byte | Alt | None]:
    """Give a tree's bytes in order; an alternation; or None: anything may stand here."""
    match tree:
        case Chars():
            yield from _bytes(tree)
        case Seq(parts):
            for part in parts:
                yield from _bytes(part) if isinstance(part, Chars) else _pieces(part)
        case Alt():
            yield tree
        case Repeat(part, least, most) if least:
            for _ in range(min(least, MAX_REPEATS)):
                yield from _pieces(part)
            if most != least or least > MAX_REPEATS:
                yield None
                yield from _pieces(part)  # the last copy, before what follows
        case _:
            yield None


@lru_cache(_REMEMBERED)
def _bytes(chars: Chars) -> Sequence[_Byte | None]:
    """Give the bytes of a character, if they are the same ones (but for their case), whichever it is."""
    if not chars.reaches_beyond_ascii:
        codes = chars.ascii_codes()
        if len(codes) == 1:
            return [(min(codes), False)]
        if len({code | CASE_BIT for code in codes}) == 1:
            return [(min(codes) | CASE_BIT, True)]
    elif chars.only is not None and not chars.any_case:
        return [(byte, False) for byte in chr(chars.only).encode("utf-8", "surrogatepass")]
    return [None]


def _literal(run: list[_Byte]) -> list[Condition]:
    if len(run) < MIN_LITERAL_BYTES:
        return []
    run = run[:MAX_LITERAL_BYTES]
    any_case = any(folds for _, folds in run)
    text = bytes(code | CASE_BIT if any_case else code for code, _ in run)
    return [Condition((Literal(text, any_case),))]
