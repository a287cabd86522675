"""Queries, and what is sought for them, in words: for people who want to know what a search will do."""

from __future__ import annotations

from typing import Final

from ess_ray.core.chunk import index_first, sought_first
from ess_ray.core.index import can_tell
from ess_ray.core.literals import AllOf, AnyOf, Formula, Holds, Text, needs
from ess_ray.core.operators.operator import Writing
from ess_ray.core.prefilter import CASE_BIT, Condition, Literal
from ess_ray.core.query import Field, Node, Query
from ess_ray.language import name_of, quoted


def query_in_words(node: Node) -> str:
    """Write a query's tree as a sentence."""
    return node.in_words(_WRITING)


def prefilter_in_words(query: Query) -> list[str]:
    """Tell what lets a search leave out row groups, and rows, without testing them."""
    sought = _tellable(needs(query))
    if sought is None:
        told = ["skip index: of no use, as the query requires nothing that it knows"]
    else:
        when = "read first" if index_first(query) else "read when the first row groups do not fill the limit"
        told = [f"skip index ({when}): row groups must hold {_formula_in_words(sought)}"]
    conditions = sought_first(query)
    if not conditions:
        return [*told, "messages: no text is sought in them before rows are tested"]
    return [*told, *(f"messages: rows must hold {_condition_in_words(condition)}" for condition in conditions)]


def _name(field: Field) -> str:
    return f"attributes.{field.name}" if field.attribute else name_of(field)


_WRITING: Final = Writing(_name, quoted)


def _tellable(formula: Formula) -> Formula | None:
    """Give the parts of a formula that an index can tell anything of."""
    if isinstance(formula, AllOf):
        parts = tuple(part for part in map(_tellable, formula.parts) if part is not None)
        return AllOf(parts) if parts else None
    return formula if can_tell(formula) else None


def _formula_in_words(formula: Formula) -> str:
    match formula:
        case Text(folded):
            return f"the text {quoted(_shown(folded))}"
        case Holds(field, None):
            return f"a value of {_name(field)}"
        case Holds(field, folded):
            return f"{_name(field)} {quoted(_shown(folded or b''))}"
        case AllOf(parts):
            return " and ".join(_in_brackets(part) for part in parts)
        case AnyOf(parts):
            return " or ".join(_in_brackets(part) for part in parts) or "what no row holds"


def _in_brackets(part: Formula) -> str:
    words = _formula_in_words(part)
    return f"({words})" if isinstance(part, AllOf | AnyOf) and len(part.parts) > 1 else words


def _condition_in_words(condition: Condition) -> str:
    choices = [_literal_in_words(choice) for choice in condition.choices]
    return " or ".join([*choices, *(["a character beyond ASCII"] if condition.or_beyond_ascii else [])])


def _literal_in_words(literal: Literal) -> str:
    # Sought with CASE_BIT set in all of it, which makes an underscore unreadable, and no other common character.
    text = literal.text.replace(bytes([ord("_") | CASE_BIT]), b"_") if literal.any_case else literal.text
    return _WRITING.text(_shown(text), literal.any_case)


def _shown(text: bytes) -> str:
    return text.decode("utf-8", "backslashreplace")
