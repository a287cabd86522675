"""Attributes: nested values to flat names and texts, and what the events of one request share while they are read.

Attribute values: text as it is, numbers and true/false as their JSON text, a list as its JSON text, objects flattened
with dots, an empty object is nothing. Of two ways to one attribute (`{"a": {"b": 1}, "a.b": 2}`) the later one is
called `a.b#2`, the next `a.b#3`. Lists count as levels of nesting.

A full name may begin with `attributes.`, dotted or nested: that is no part of the attribute's name, as in a query, so
that what is pushed is found by the name that it was pushed under.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import orjson

from ess_ray.core.decimals import LongDecimal
from ess_ray.core.errors import TooLarge
from ess_ray.core.event import MAX_ATTRIBUTE_DEPTH, MAX_EVENT_BYTES
from ess_ray.core.field import ATTRIBUTES_PREFIX, OWN_PREFIX
from ess_ray.exact_json import dumps_unusual
from ess_ray.intake.digits import Exactness
from ess_ray.intake.fields import FIELD_TABLE, FieldTable
from ess_ray.intake.limits import IntakeLimits

EXACT_BELOW: Final = 2.0**63
"""A float this large may have been an integer whose digits a fast parser dropped."""
TYPE_LETTERS: Final = {str: "s", int: "n", float: "n", LongDecimal: "n", bool: "b", list: "j", dict: "j"}
"""The letter of an attribute's JSON type (`event.RECORD_SCHEMA`)."""
_PREFIX_CHARS: Final = len(ATTRIBUTES_PREFIX)
MAX_FLAT_CHARS: Final = 64 * 1024 * 1024
"""Characters of all attributes read together: dotted keys repeat their prefix: a small body could become gigabytes."""


class Rejected(Exception):
    """An event that is not taken; the text is the reason, for a person."""


class Inexact(Exception):
    """A number may have lost digits in the fast parser: read the body again, exactly."""


@dataclass(slots=True)
class Reading:
    """What the events of one request share while they are read: how the JSON was parsed, and room for attributes."""

    now_us: int
    limits: IntakeLimits
    exact: Exactness
    table: FieldTable = FIELD_TABLE
    chars_left: int = MAX_FLAT_CHARS

    def spend(self, chars: int) -> None:
        """Raise TooLarge once the request's attributes are too much together."""
        self.chars_left -= chars
        if self.chars_left < 0:
            raise TooLarge("the attributes of this request are too large once flattened: send smaller batches")


class Attributes:
    """Attributes, flat: their texts by name, and their JSON types, a letter each.

    What comes under a name that is taken, or ours, is added by `settle`, under the next free one: `name#2`. So a
    client's own `name#2` keeps its name.
    """

    __slots__ = ("_later", "letters", "texts")

    def __init__(self) -> None:
        self.texts: dict[str, str] = {}
        self.letters: list[str] = []
        self._later: list[tuple[str, str, str]] = []

    def add(self, name: str, text: str, letter: str) -> None:
        """Add one."""
        if name in self.texts or name.startswith(OWN_PREFIX):
            self._later.append((name, text, letter))
            return
        self.texts[name] = text
        self.letters.append(letter)

    @property
    def waits(self) -> bool:
        """Tell whether something waits for a free name."""
        return bool(self._later)

    def settle(self) -> None:
        """Add what has waited for a free name."""
        if not self._later:
            return
        for name, text, letter in self._later:
            number = 2
            while (free := f"{name}#{number}") in self.texts:
                number += 1
            self.texts[free] = text
            self.letters.append(letter)
        self._later = []

    @property
    def types(self) -> str | None:
        """The column `attribute_types`: null when all are text."""
        return types_of("".join(self.letters))


def types_of(letters: str) -> str | None:
    """Give an event's `attribute_types` for the letters of its attributes."""
    return letters if letters.strip("s") else None


def without_prefix(name: str) -> str:
    """Give an attribute's name by its full one, which may begin with `attributes.`."""
    return (name[_PREFIX_CHARS:] or name) if name[:_PREFIX_CHARS] == ATTRIBUTES_PREFIX else name


def flatten(attributes: dict[str, Any], reading: Reading) -> Attributes:
    """Give what stands under `attributes`, flat. Raises Rejected, Inexact, TooLarge."""
    flat = Attributes()
    flatten_into(attributes, reading, flat, are_attributes=True)
    flat.settle()
    return flat


def flatten_into(
    attributes: dict[str, Any],
    reading: Reading,
    flat: Attributes,
    taken: set[tuple[int, str]] = frozenset(),  # type: ignore[assignment]
    *,
    are_attributes: bool = False,
) -> None:
    """Add nested attributes to `flat` under dotted keys, in document order, without what was taken: (holder, key).

    `are_attributes`: they stand under `attributes`, which is no part of their names.
    """
    spent = 0
    prefix_chars = 0 if are_attributes else _PREFIX_CHARS
    texts, letters, exact = flat.texts, flat.letters, reading.exact
    # A stack of iterators, not recursion: the depth is the client's choice.
    stack: list[tuple[str, int, Any]] = [("", id(attributes), iter(attributes.items()))]
    while stack:
        prefix, holder, items = stack[-1]
        for key, value in items:
            if value is None or (taken and (holder, key) in taken):
                continue
            name = prefix + key
            kind = type(value)
            if kind is dict:
                if len(stack) >= MAX_ATTRIBUTE_DEPTH:
                    raise Rejected(f"attributes are nested deeper than {MAX_ATTRIBUTE_DEPTH} levels")
                stack.append((name + ".", id(value), iter(value.items())))
                break
            if kind is str:
                text = value
            elif kind is int:
                text = str(value)
            else:
                text = attribute_text(value, exact, len(stack))
            name = (name[prefix_chars:] or name) if name[:prefix_chars] == ATTRIBUTES_PREFIX else name
            if name in texts or name[: len(OWN_PREFIX)] == OWN_PREFIX:
                flat.add(name, text, TYPE_LETTERS[kind])
            else:  # what `add` would do, for a tenth of its time
                texts[name] = text
                letters.append(TYPE_LETTERS[kind])
            # Dotted keys repeat their prefix: count while flattening, before a small body has become a large event.
            spent += len(name) + len(text)
            if spent > MAX_EVENT_BYTES:
                raise Rejected(f"the event is larger than {MAX_EVENT_BYTES} bytes")
        else:
            stack.pop()
    reading.spend(spent)


def attribute_text(value: Any, exact: Exactness, level: int = 1) -> str:
    """Write a number, true, false, a list or an object as its JSON text. Raises Rejected, Inexact."""
    if type(value) is int:
        return str(value)
    if value is True or value is False:
        return "true" if value else "false"
    if isinstance(value, float):
        check_numbers((value,), exact)
        return repr(value)
    _check_depth(value, exact, level + 1)
    try:
        return orjson.dumps(value).decode()
    except TypeError:  # deeper than its 254 levels cannot come here, integers beyond 64 bits and long decimals can
        return dumps_unusual(value).decode()


def check_numbers(values: Sequence[float], exact: Exactness) -> None:
    """Raise Inexact where a number was read that may have been another."""
    if exact is True or not values:
        return
    smallest, largest = _sizes(values)
    if largest >= EXACT_BELOW or (exact is not False and exact.may_have_lost(smallest, largest)):
        raise Inexact


def _sizes(values: Sequence[float]) -> tuple[float, float]:
    """Give the least and the greatest, without their signs."""
    if len(values) == 1:
        return abs(values[0]), abs(values[0])
    sizes = np.abs(np.array(values, np.float64))
    return float(sizes.min()), float(sizes.max())


def _check_depth(value: list[Any] | dict[str, Any], exact: Exactness, level: int) -> None:
    stack: list[tuple[int, Any]] = [(level, value)]
    while stack:
        level, item = stack.pop()
        if isinstance(item, float):
            check_numbers((item,), exact)
        elif isinstance(item, dict | list):
            if level > MAX_ATTRIBUTE_DEPTH:
                raise Rejected(f"attributes are nested deeper than {MAX_ATTRIBUTE_DEPTH} levels")
            stack += [(level + 1, inner) for inner in (item.values() if isinstance(item, dict) else item)]
