"""Which names of an event mean which field: one table, whatever the way in.

Agents and loggers have names of their own for what an event is made of, and cannot be told others. Of a field's names
the first one that an event has counts, and is then no attribute besides. A name with dots stands for nested objects and
for the dotted key alike (`{"log": {"level": "info"}}`, `{"log.level": "info"}`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final

from ess_ray.core.aliases import SENT_AS
from ess_ray.core.errors import BadRequest


@dataclass(frozen=True)
class FieldTable:
    """The names of each field, in the order in which they are looked at. The field's own name is the first."""

    names: Mapping[str, tuple[str, ...]] = field(
        default_factory=lambda: {name: (name, *others) for name, others in SENT_AS.items()}
    )

    @cached_property
    def keys(self) -> frozenset[str]:
        """Give every top-level key that may hold a field under another name than its own, and is no field itself: what
        stands under those is looked for event by event, where it is no text."""
        named = [name for own, names in self.names.items() for name in names if name != own]
        return frozenset(named) | {name.split(".", 1)[0] for name in named} - self.names.keys()

    @cached_property
    def heads(self) -> Mapping[str, frozenset[str]]:
        """Give, by field, every top-level key under which it may be found."""
        return {own: frozenset(names) | {name.split(".", 1)[0] for name in names} for own, names in self.names.items()}

    @cached_property
    def layouts(self) -> dict[Any, dict[Any, Any]]:
        """Give the layouts that are known of events with these names (see `layouts.group_of`)."""
        return {}

    def with_names(self, first: Mapping[str, Sequence[str]]) -> FieldTable:
        """Give a table that looks at other names first: field -> names. Raises BadRequest for what is no field here."""
        unknown = sorted(first.keys() - self.names.keys())
        if unknown:
            raise BadRequest(f"{unknown[0]!r} is no field that can have other names: use {', '.join(self.names)}")
        changed = {own: tuple(dict.fromkeys((own, *names, *self.names[own]))) for own, names in first.items()}
        return FieldTable({**self.names, **changed})


FIELD_TABLE: Final = FieldTable()


@dataclass(frozen=True, slots=True)
class Found:
    """Where an event has a field: `holder[key]`, which is `value`. `name` is the table's."""

    name: str
    holder: dict[str, Any]
    key: str

    @property
    def value(self) -> Any:
        return self.holder[self.key]


def find(event: dict[str, Any], name: str) -> Found | None:
    """Find what an event holds under a name, dotted or nested; None where there is nothing, or null."""
    holder, key = event, name
    while holder.get(key) is None:
        head, _, key = key.partition(".")
        inner = holder.get(head) if key else None
        if not isinstance(inner, dict):
            return None
        holder = inner
    return Found(name, holder, key)
