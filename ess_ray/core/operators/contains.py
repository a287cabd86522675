"""A text in a field: `timeout` (ignoring case), `"Connection reset"` (exactly).

RE2 seeks it, whose time is linear in the text, three to four times as fast as Arrow's own search. Many of them side by
side are one alternation.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Final

import pyarrow as pa
import pyarrow.compute as pc

from ess_ray.core import regex
from ess_ray.core.field import MESSAGE, Field
from ess_ray.core.fold import fold_text
from ess_ray.core.literals import Formula, presence_of, text_of
from ess_ray.core.operators.operator import COST_FIND, COST_FIND_IGNORING_CASE, LiteralOperator, Operator, Writing
from ess_ray.core.operators.regex import Regex

MAX_QUOTED_CHARS: Final = 1_000
"""Of a literal given to RE2, four times as fast as Arrow's own search (KMP); beyond, its DFA outgrows its memory."""
MIN_ALTERNATIVES: Final = 3
"""Literals joined into one alternation: fewer are sought faster one by one, by RE2's search for their first bytes."""
MAX_ALTERNATION_CHARS: Final = 4_000
"""Of the literals in one alternation: RE2 takes patterns four times as long, whatever the letters fold to."""


@dataclass(frozen=True, slots=True)
class Contains(LiteralOperator):
    """The field's text contains `text`; `ignore_case` as RE2's (?i). Empty `text` matches every present value."""

    NAME: ClassVar[str] = "contains"

    def test(self, texts: pa.StringArray) -> pa.BooleanArray:
        if len(self.text) > MAX_QUOTED_CHARS and not self.ignore_case:
            return pc.match_substring(texts, self.text)
        return regex.find(texts, regex.quote(self.text), self.ignore_case)

    def test_cost(self) -> int:
        return COST_FIND_IGNORING_CASE if self.ignore_case else COST_FIND

    def in_words(self, writing: Writing) -> str:
        return f"{writing.name(self.field)} contains {writing.text(self.text, self.ignore_case)}"

    def needs(self, depth: int = 0) -> Formula:
        return text_of(fold_text(self.text)) if self.field == MESSAGE else presence_of(self.field)


def joined(alternatives: Iterable[Operator]) -> Sequence[Operator]:
    """Join alternative literals of one field into one alternation: RE2 seeks a thousand as fast as three."""
    others: list[Operator] = []
    groups: dict[tuple[Field, bool], list[list[Contains]]] = {}
    for one in alternatives:
        if not isinstance(one, Contains) or len(one.text) > MAX_ALTERNATION_CHARS:
            others.append(one)
            continue
        runs = groups.setdefault((one.field, one.ignore_case), [[]])
        if sum(len(leaf.text) + 1 for leaf in runs[-1]) + len(one.text) > MAX_ALTERNATION_CHARS:
            runs.append([])
        runs[-1].append(one)
    for (field, ignore_case), runs in groups.items():
        for run in runs:
            if len(run) < MIN_ALTERNATIVES:
                others.extend(run)
            else:
                others.append(Regex(field, "|".join(regex.quote(leaf.text) for leaf in run), ignore_case))
    return others
