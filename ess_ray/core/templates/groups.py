"""Templates -> patterns: those that differ in words which vary are one, as Drain (He and others, 2017) does.

Drain takes messages as they come, so that what it makes of them depends on their order. Here all templates are known,
each with its count: they are taken in one order, the most frequent first, and the result is a function of them alone.

1. Templates of one shape (the same characters between words, in the same places) may be alike.
2. In that order each joins the first leader with which it shares MIN_ALIKE of its words, or becomes one itself.
3. A place at which those of one leader have MIN_VALUES words and more is a variable; where they have fewer, each word
   stays as it is, and parts them: "accepted" and "refused" are two patterns, a thousand names are one.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from ess_ray.core.templates import kinds

MIN_ALIKE: Final = 0.5
"""Of the words of two templates, what must be the same: as in Drain."""
MIN_VALUES: Final = 10
"""Different words at a place from which on it is a variable: kinds of things are fewer as a rule, names are more."""
MAX_LEADERS: Final = 512
"""Of one shape: beyond, templates stay by themselves; each is compared with all that is left of its shape."""

_BETWEEN: Final = re.compile(r"""([\s=,;:()\[\]{}|/"'<>@&?!]+)""")
_VARYING: Final = re.compile(f"[{kinds.NUM.mark}{kinds.HEX.mark}{kinds.ID.mark}{kinds.ANY.mark}]")
"""Placeholders that a text of one kind may be, by chance: an identifier that has no letters is a number."""

Words = npt.NDArray[np.int32]


def patterns_of(counts: Mapping[str, int]) -> dict[str, str]:
    """Give the pattern (a template, too) of each template, by how many rows each has."""
    shapes: dict[tuple[str, ...], list[tuple[str, list[str]]]] = defaultdict(list)
    for template in sorted(counts, key=lambda template: (-counts[template], template)):
        parts = _BETWEEN.split(template)
        shapes[tuple(parts[1::2])].append((template, parts[::2]))
    found: dict[str, str] = {}
    for between, members in shapes.items():
        if len(members) == 1:
            found[members[0][0]] = members[0][0]
            continue
        words = [words for _, words in members]
        for group in _groups(_numbered(words)):
            pattern = _written(between, [words[at] for at in group])
            found.update((members[at][0], pattern) for at in group)
    return found


def _numbered(rows: Sequence[Sequence[str]]) -> Words:
    """Number words; those that differ only in what kind a placeholder is have one number."""
    numbers: dict[str, int] = {}
    return np.array(
        [[numbers.setdefault(_VARYING.sub(kinds.ANY.mark, word), len(numbers)) for word in row] for row in rows],
        np.int32,
    )


def _groups(words: Words) -> list[list[int]]:
    """Give which rows are one pattern."""
    left = np.arange(len(words))
    groups: list[list[int]] = []
    leaders = 0
    while len(left) and leaders < MAX_LEADERS:
        alike = (words[left] == words[left[0]]).mean(axis=1) >= MIN_ALIKE
        groups += _parted(words, left[alike])
        left = left[~alike]
        leaders += 1
    return groups + [[at] for at in left.tolist()]


def _parted(words: Words, members: npt.NDArray[np.int64]) -> list[list[int]]:
    """Part the rows of one leader by the words at places which do not vary enough."""
    if len(members) == 1:
        return [members.tolist()]
    mine = words[members]
    few = [at for at in range(words.shape[1]) if len(np.unique(mine[:, at])) < MIN_VALUES]
    parts: dict[bytes, list[int]] = defaultdict(list)
    for at, row in zip(members.tolist(), np.ascontiguousarray(mine[:, few]), strict=True):
        parts[row.tobytes()].append(at)
    return list(parts.values())


def _written(between: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    words = [_word(set(column)) for column in zip(*rows, strict=True)]
    return words[0] + "".join(gap + word for gap, word in zip(between, words[1:], strict=True))


def _word(values: set[str]) -> str:
    if len(values) == 1:
        return next(iter(values))
    common = {_VARYING.sub(kinds.ANY.mark, value) for value in values}
    return common.pop() if len(common) == 1 else kinds.ANY.mark
