"""Fields' names: which may stand without quotes, and which fields they name."""

from __future__ import annotations

import re
import unicodedata
from typing import Final

from ess_ray.core.aliases import COLUMN_OF
from ess_ray.core.errors import BadRequest, QueryError
from ess_ray.core.field import ATTRIBUTES_PREFIX, COLUMNS, OWN_COLUMNS, OWN_PREFIX, Field

_IN_NAMES: Final = frozenset("_.-/@")
_SENT_COLUMNS: Final = COLUMNS - OWN_COLUMNS
_OWN_NAMES: Final = frozenset(OWN_PREFIX + name for name in OWN_COLUMNS)
_TAKEN: Final = _SENT_COLUMNS | _OWN_NAMES | {"id", "attributes", *COLUMN_OF}
"""Names that mean more, or something else, than the attribute that is called so."""
_SURROGATE = re.compile("[\ud800-\udfff]")


def without_surrogates(text: str) -> str:
    """Replace lone surrogates, as in all that is pushed: they are no text that could be found, or answered with."""
    return _SURROGATE.sub("\ufffd", text)


def is_bare_name(text: str) -> bool:
    """Tell whether a name may stand before its colon without quotes.

    A letter of any script, `_` or `@`, then letters with their marks, digits and `_.-/@`.
    """
    return text != "" and (text[0].isalpha() or text[0] in "_@") and all(map(_is_in_names, text))


def _is_in_names(character: str) -> bool:
    return character.isalnum() or character in _IN_NAMES or unicodedata.category(character)[0] == "M"


def field_named(name: str) -> Field:
    """Find what a field's name means: a column, else an attribute's name. Raises BadRequest where there is none.

    Columns of ours have OWN_PREFIX: without it, what a client calls so is meant.
    """
    name = without_surrogates(name)
    if name == "id":
        return Field("event_id")
    if name in _SENT_COLUMNS:
        return Field(name)
    if name in _OWN_NAMES:
        return Field(name.removeprefix(OWN_PREFIX))
    key = name.removeprefix(ATTRIBUTES_PREFIX)
    if not key or name == "attributes":
        raise BadRequest(f'"{name}" names no field: an attribute is attributes.KEY, or just KEY')
    return Field(key, attribute=True)


def fields_named(name: str, at: int) -> tuple[Field, ...]:
    """Find the fields that a name means in a query; `at`: where it stands. Raises QueryError.

    A name under which clients send a column means that column, too.
    """
    try:
        field = field_named(name)
    except BadRequest:
        raise QueryError("name the attribute: attributes.KEY:value, or just KEY:value", at) from None
    column = COLUMN_OF.get(name)
    return (field,) if column is None else (field, Field(column))


def name_of(field: Field) -> str:
    """Give the name that means this field and no other, without quotes."""
    if not field.attribute:
        own = OWN_PREFIX if field.name in OWN_COLUMNS else ""
        return "id" if field.name == "event_id" else own + field.name
    taken = field.name in _TAKEN or field.name.startswith(ATTRIBUTES_PREFIX)
    return f"{ATTRIBUTES_PREFIX}{field.name}" if taken else field.name
