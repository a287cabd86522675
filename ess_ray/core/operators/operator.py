"""What every operator answers: which rows match, what a block must hold for it, which bytes to seek, what it costs.

An operator is a file of this package: a frozen value that a query's tree is made of, and all that is known about it.
Here stand the questions, and what operators on fields have in common: a new one says no more than what is its own.
"""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Final, Self

import pyarrow as pa
import pyarrow.compute as pc

from ess_ray.core import attribute, pattern
from ess_ray.core.field import MESSAGE, Field
from ess_ray.core.literals import ANYTHING, Formula, presence_of
from ess_ray.core.operators import attributes
from ess_ray.core.operators.block import Block
from ess_ray.core.operators.told import field_values, read_sought
from ess_ray.core.prefilter import Condition, conditions_of

if TYPE_CHECKING:
    from ess_ray.core.operators import Node

MAX_NARROWED_SHARE: Final = 0.5
"""Of a block's rows: fewer are copied together before the next test. A copy costs a tenth of testing the same bytes."""

# What a test of one row costs, in tenths of nanoseconds per row, measured on 110-byte messages. Only the order counts.
COST_FIND, COST_FIND_IGNORING_CASE = 450, 900
COST_ATTRIBUTE: Final = 330
"""Looking a key up in the attributes, before its value can be tested."""
COST_LONG_TEXT: Final = 10
"""Times dearer: text in `message`, against the short fields."""


@dataclass(frozen=True, slots=True)
class Writing:
    """How fields' names and texts are written for people: as in the query language, which `core` does not know."""

    name: Callable[[Field], str]
    quoted: Callable[[str], str]

    def text(self, text: str, ignore_case: bool) -> str:
        """Write a text that is sought."""
        return self.quoted(text) + self.case(ignore_case)

    @staticmethod
    def case(ignore_case: bool) -> str:
        """Write whether case is ignored, behind what is sought."""
        return " (any case)" if ignore_case else ""


class Operator(ABC):
    """A part of a query's tree. Frozen and hashable; pickles."""

    __slots__ = ()

    NAME: ClassVar[str]
    """What it is called in JSON, for ever: queries are kept beside their answers."""

    @abstractmethod
    def match(self, block: Block) -> pa.BooleanArray:
        """Tell for every row of the block whether it matches; never null.

        Raises BadRequest for a regular expression that RE2 refuses, KeyError for a column that is not there.
        """

    @abstractmethod
    def cost(self) -> int:
        """Tell what `match` costs a row, to put the cheapest first."""

    @abstractmethod
    def tested(self) -> Iterator[FieldOperator]:
        """Give every operator in this one that tests a field."""

    @abstractmethod
    def in_words(self, writing: Writing) -> str:
        """Tell people what is asked of a row, as a sentence."""

    def nested(self, writing: Writing) -> str:
        """Tell so as a part of a sentence: in brackets where others join in it."""
        return self.in_words(writing)

    @abstractmethod
    def values(self) -> list[Any]:
        """Give what it consists of as JSON values."""

    def encoded(self) -> list[Any]:
        """Give it as JSON values: its name, then what it consists of."""
        return [self.NAME, *self.values()]

    @classmethod
    @abstractmethod
    def decode(cls, values: Sequence[Any], decode: Callable[[Any], Node]) -> Self:
        """Read what `values` gave, the operators in it by `decode`. Raises ValueError for anything else."""

    def columns(self) -> frozenset[str]:
        """Name the stored columns that `match` asks for (for an attribute: all attributes, and their types)."""
        return frozenset().union(*(leaf.columns() for leaf in self.tested()))

    def needs(self, depth: int = 0) -> Formula:
        """Tell what a block must hold to have a row that matches, `depth` nodes below a query's root.

        A superset: where nothing is known, ANYTHING.
        """
        return ANYTHING

    def conditions(self) -> tuple[Condition, ...]:
        """Give conditions each of which the message of every row that matches fulfils; none where nothing is known."""
        return ()

    def among(self, block: Block, undecided: pa.BooleanArray) -> pa.BooleanArray:
        """Tell which of the undecided rows match; false for all others."""
        count = undecided.true_count
        if count == 0:
            return undecided
        if count > block.rows * MAX_NARROWED_SHARE:
            return pc.and_(undecided, self.match(block))
        return pc.replace_with_mask(undecided, undecided, self.match(block.narrow(undecided)))


@dataclass(frozen=True, slots=True)
class FieldOperator(Operator):
    """Tests a field of a row: a column, or whatever stands under an attribute's name: one that passes is enough."""

    field: Field

    @abstractmethod
    def test_column(self, block: Block) -> pa.BooleanArray:
        """Test a column's values; null where there is none."""

    @abstractmethod
    def test_key(self, key: str, held: pa.MapArray, block: Block) -> pa.BooleanArray:
        """Test what rows have under a key of their attributes `held`; never null."""

    @abstractmethod
    def test_cost(self) -> int:
        """Tell what the test of a short column costs a row."""

    def match(self, block: Block) -> pa.BooleanArray:
        if not self.field.attribute:
            return pc.fill_null(self.test_column(block), False)
        held = block.column("attributes")
        masks = (self.test_key(key, held, block) for key in attribute.keys_in(held, self.field.name))
        return functools.reduce(pc.or_, masks)

    def cost(self) -> int:
        if self.field.attribute:
            return self.test_cost() + COST_ATTRIBUTE
        return self.test_cost() * (COST_LONG_TEXT if self.field == MESSAGE else 1)

    def tested(self) -> Iterator[FieldOperator]:
        yield self

    def columns(self) -> frozenset[str]:
        return frozenset({"attributes", "attribute_types"} if self.field.attribute else {self.field.name})

    def needs(self, depth: int = 0) -> Formula:
        return presence_of(self.field)


@dataclass(frozen=True, slots=True)
class TextOperator(FieldOperator):
    """Tests a field's text."""

    @abstractmethod
    def test(self, texts: pa.StringArray) -> pa.BooleanArray:
        """Test texts; null where there is none."""

    @property
    def numeral(self) -> str | None:
        """The text of the number with which attributes that are numbers pass, too, if they equal it."""
        return None

    def test_column(self, block: Block) -> pa.BooleanArray:
        return attributes.of_texts(self.test, block.text(self.field))

    def test_key(self, key: str, held: pa.MapArray, block: Block) -> pa.BooleanArray:
        return attributes.test(self, key, held, block.column("attribute_types"))


@dataclass(frozen=True, slots=True)
class LiteralOperator(TextOperator):
    """Seeks a literal in a field's text, exactly or ignoring case."""

    text: str
    ignore_case: bool

    def values(self) -> list[Any]:
        return [*field_values(self.field), self.text, self.ignore_case]

    @classmethod
    def decode(cls, values: Sequence[Any], decode: Callable[[Any], Node]) -> Self:
        return cls(*read_sought(values))

    def conditions(self) -> tuple[Condition, ...]:
        return conditions_of(pattern.literal(self.text, self.ignore_case)) if self.field == MESSAGE else ()
