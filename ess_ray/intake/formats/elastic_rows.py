"""A document of Elasticsearch's to a row: the usual rules of events, and what its action says of it.

The action's `_id` is the event's id, and the same document under it is stored once; a document's own `id` identifies
nothing there, and is an attribute. The index is the attribute `_index`. A document without a message has its JSON as
one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any, Final

from ess_ray.core.event import MAX_ID_BYTES
from ess_ray.intake.attributes import Reading, Rejected
from ess_ray.intake.fields import FieldTable, find
from ess_ray.intake.names import free_name
from ess_ray.intake.rows import Broken, Row, read_row, text_of

INDEX: Final = "_index"
"""The attribute that is the name of the index."""
_ID: Final = "id"
_ATTRIBUTES: Final = "attributes"
_NO_OBJECT: Final = "a document must be a JSON object"


@dataclass(frozen=True, slots=True)
class Document:
    """A document as it was sent, and what its action and the address say of it."""

    source: Any
    index: str | None = None
    id: str | None = None


def read_document(document: Document | Broken, reading: Reading) -> Row:
    """Read one document. Raises as `rows.read_row` does."""
    row = read_row(event_of(document), reading)
    assert isinstance(document, Document)  # or it was rejected
    if _has_message(document.source, reading.table):
        return row
    return replace(row, message=text_of(document.source, reading.exact))


def event_of(document: Document | Broken) -> dict[str, Any]:
    """Give the event that a document is. Raises Rejected for what is no object."""
    if isinstance(document, Broken):
        raise Rejected(document.reason)
    source = document.source
    if type(source) is not dict:
        raise Rejected(_NO_OBJECT)
    event = dict(source)
    if _ID in event and (own := event.pop(_ID)) is not None:
        event[_ATTRIBUTES] = _with_attribute(event.get(_ATTRIBUTES), _ID, own)
    if document.id is not None:
        event[_ID] = document.id
    if document.index is None:
        return event
    if event.get(INDEX) is None:
        event[INDEX] = document.index
    else:
        event[_ATTRIBUTES] = _with_attribute(event.get(_ATTRIBUTES), INDEX, document.index)
    return event


def stored_id(given: str | None) -> str | None:
    """Give the id of an event for the `_id` of its action: one that is too long is as good as its hash."""
    if given is None or len(given) * 4 <= MAX_ID_BYTES:
        return given
    text = given.encode("utf-8", "replace")
    return given if len(text) <= MAX_ID_BYTES else sha256(text).hexdigest()


def _with_attribute(attributes: Any, name: str, value: Any) -> dict[str, Any]:
    """Give what stands under `attributes` with one more; the name is another's already, perhaps."""
    if attributes is None:
        return {name: value}
    if not isinstance(attributes, dict):
        return {_ATTRIBUTES: attributes, name: value}
    return {**attributes, free_name(name, attributes): value}


def _has_message(source: dict[str, Any], table: FieldTable) -> bool:
    """Tell whether a document has what `rows` takes for a message."""
    found = (find(source, name) for name in table.names["message"])
    return any(each is not None and (each.name == "message" or isinstance(each.value, str)) for each in found)
