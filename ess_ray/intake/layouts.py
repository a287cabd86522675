"""Events by their shape: which names they have, and values of which types.

An agent sends thousands of events of one shape. Which of its values are fields, and what the others are called as
attributes, depends on the shape alone: so that is found out once, by the rules of one event, on the first that has it,
and is a `Layout`: places in a list of values, kept for the requests to come.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any, Final, Literal, Protocol

from ess_ray.intake.attributes import TYPE_LETTERS, Attributes, Rejected, without_prefix
from ess_ray.intake.fields import FieldTable, Found
from ess_ray.intake.rows import STRING_FIELDS

MAX_VALUES: Final = 256
"""Of one event, with what stands around it: more is nobody's usual event."""
MAX_NAME_CHARS: Final = 4 * 1024
"""Of all names of a layout: it is kept as long as the process lives."""
MAX_GROUP_CHARS: Final = 16 * 1024
"""Of the text that stands around events, and is repeated in each."""
MAX_LAYOUTS: Final = 512
"""Kept of a table of fields at a time: a few megabytes. Agents of one kind have some ten."""
MAX_DEPTH: Final = 8
"""Levels of objects in an event."""
FIELDS: Final = ("timestamp", "message", "level", *STRING_FIELDS)
_MISSING: Final = -1
"""The place of what an event does not have: None stands behind its values."""
_PLAIN: Final = frozenset({str, int, float, bool, type(None)})

Shape = tuple[Any, ...]


class Unusual(Exception):
    """What has no layout: the rules of one event decide."""


class Empty:
    """Stands for the type of a text that is empty: under some names that counts as absent."""


def shape_of(holder: Mapping[str, Any], values: list[Any], depth: int = 1) -> Shape:
    """Give an object's shape, and add its values to `values`, those of an object in it in that one's place.

    Raises Unusual where it is nested deeper than MAX_DEPTH.
    """
    given = list(holder.values())
    kinds: tuple[type, ...] = tuple(map(type, given))
    if "" in given:
        kinds = tuple(Empty if value == "" else kind for kind, value in zip(kinds, given, strict=True))
    if dict not in kinds:
        values += given
        return tuple(holder), kinds
    if depth >= MAX_DEPTH:
        raise Unusual
    inner = []
    for kind, value in zip(kinds, given, strict=True):
        if kind is dict:
            inner.append(shape_of(value, values, depth + 1))
        else:
            values.append(value)
    return tuple(holder), kinds, tuple(inner)


@dataclass(frozen=True, slots=True, eq=False)
class Layout:
    """Where fields and attributes of events of one shape are, in their values with None behind them."""

    fields: Callable[[list[Any]], tuple[Any, ...]]
    """Gives FIELDS, those that it has; else None."""
    named: Mapping[str, str]
    """By field that it has, the name under which it is there."""
    attributes: Callable[[list[Any]], Sequence[Any]]
    names: tuple[str, ...]
    """Of what `attributes` gives."""
    letters: str
    """Of its types (`event.RECORD_SCHEMA`)."""


@dataclass(frozen=True, slots=True)
class Group:
    """What stands around several events: its values, and None behind them.

    `layouts`: of events in it, by what they depend on besides; None for what has none. `chars`: of its text.
    """

    values: list[Any]
    layouts: dict[Any, Layout | None]
    chars: int


class Around(Protocol):
    """What stands around several events. `group`: of it, made by the first of them; False where it is not plain."""

    group: Group | Literal[False] | None


def group_around(around: Around, holders: Sequence[dict[str, Any]], table: FieldTable, told: object = None) -> Group:
    """Give what `group_of` gives, found once. Raises Unusual."""
    if around.group is False:
        raise Unusual
    try:
        around.group = group_of(holders, table, told)
    except Unusual:
        around.group = False
        raise
    return around.group


def group_of(holders: Sequence[dict[str, Any]], table: FieldTable, told: object = None) -> Group:
    """Give what stands around events. `told`: what layouts depend on beside its shape. Raises Unusual."""
    values: list[Any] = []
    shapes = tuple(shape_of(holder, values) for holder in holders)
    chars = sum(len(value) for value in values if type(value) is str)
    if len(values) > MAX_VALUES or chars > MAX_GROUP_CHARS:
        raise Unusual
    known: dict[Any, dict[Any, Layout | None]] = table.layouts
    if len(known) >= MAX_LAYOUTS:
        known.clear()
    return Group([*values, None], known.setdefault((shapes, told), {}), chars)


def layout_once(table: FieldTable, group: Group, key: Any, find: Callable[[], Layout]) -> Layout:
    """Find the layout of events of a group, and keep it, or that they have none. Raises Unusual where so it is."""
    if key in group.layouts:
        raise Unusual
    layout = None
    try:
        layout = find()
    except Rejected as error:
        raise Unusual from error
    finally:
        if sum(map(len, list(table.layouts.values()))) >= MAX_LAYOUTS:
            table.layouts.clear()
        group.layouts[key] = layout
    return layout


def layout_of(holders: Sequence[dict[str, Any]], taken: Mapping[str, Found], may_clash: bool = True) -> Layout:
    """Find the layout of an event and of what stands around it. `taken`: what of them its fields are.

    Raises Unusual where it has none; so it is, unless they `may_clash`, where an attribute cannot have its own name.
    """
    places: dict[tuple[int, str], int] = {}
    gone = {(id(found.holder), found.key) for found in taken.values()}
    flat = Attributes()
    leaves = (leaf for holder in holders for leaf in _leaves(holder, ""))
    for place, (holder, key, name, value) in enumerate(leaves):
        if type(value) not in _PLAIN:
            raise Unusual
        places[id(holder), key] = place
        if value is not None and (id(holder), key) not in gone:
            flat.add(without_prefix(name), str(place), TYPE_LETTERS[type(value)])
    if not may_clash and flat.waits:
        raise Unusual
    flat.settle()
    names = tuple(flat.texts)
    if len(places) > MAX_VALUES or sum(map(len, names)) > MAX_NAME_CHARS or not gone <= places.keys():
        raise Unusual
    return Layout(
        itemgetter(*(_place(places, taken.get(field)) for field in FIELDS)),
        {field: found.name for field, found in taken.items()},
        _getter([int(place) for place in flat.texts.values()]),
        names,
        "".join(flat.letters),
    )


def _place(places: Mapping[tuple[int, str], int], found: Found | None) -> int:
    return _MISSING if found is None else places[id(found.holder), found.key]


def _leaves(holder: dict[str, Any], prefix: str) -> Iterator[tuple[dict[str, Any], str, str, Any]]:
    """Give (object, key, dotted name, value) of all values in an object, in the order in which `shape_of` does."""
    for key, value in holder.items():
        if type(value) is dict:
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield holder, key, prefix + key, value


def _getter(places: list[int]) -> Callable[[list[Any]], Sequence[Any]]:
    """Give what takes these places of a list."""
    start = places[0] if places else 0
    if places == list(range(start, start + len(places))):
        return itemgetter(slice(start, start + len(places)))
    return itemgetter(*places)
