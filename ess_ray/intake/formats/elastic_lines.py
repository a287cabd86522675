"""The lines of Elasticsearch's `_bulk`: a line that says what is to be done, and one that is the document."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import orjson

from ess_ray.core.errors import BadRequest, TooLarge
from ess_ray.intake.compression import Content
from ess_ray.intake.formats.json_pieces import EVENT_BYTES
from ess_ray.intake.formats.json_values import lenient

STORING: Final = ("create", "index")
"""Actions that store a document: here they are the same, as no event is replaced."""
OTHERS: Final = ("update", "delete")
WITHOUT_DOCUMENT: Final = "delete"
"""The action that has no line but its own."""
DEFAULT_INDEX: Final = "logs"
"""What the answer calls the index where neither the address nor the action does."""
MAX_ACTIONS: Final = 1_000_000
"""Of one request: its answer has an item for each, so that more would take hundreds of megabytes. A body of the largest
size has so many where they are 67 bytes each; agents send some thousands."""
MAX_ACTION_BYTES: Final = 64 * 1024
"""A line that says what is to be done: names of an index and of a document have 512 bytes at the most elsewhere."""
_NAMES: Final = ("_index", "_id")
_REMEMBERED: Final = 256
"""Lines that are remembered while a body is read: without ids they are nearly all the same."""
_BOM: Final = b"\xef\xbb\xbf"
_LINE_END: Final = b"\n"
_TEXT: Final = re.compile(rb"\S")


@dataclass(frozen=True, slots=True)
class Action:
    """What is to be done: its name, and of which document of which index. None where the line does not say it."""

    name: str
    index: str | None
    id: str | None


class Line(NamedTuple):
    """An action and where its document is in the body: from `start` to `end`, both 0 where it has none. The next
    action's line begins at `after`."""

    action: Action
    start: int
    end: int
    after: int


class Span(NamedTuple):
    """A piece of a body, of whole actions: the first of them, counted from 0, and where it begins and ends."""

    first: int
    start: int
    end: int

    @property
    def size(self) -> int:
        return self.end - self.start


def lines_of(body: Content, start: int = 0, end: int | None = None, first: int = 0) -> Iterator[Line]:
    """Give the actions from `start` on, the first of which is number `first` of its request; blank lines between them
    are nothing. Raises BadRequest for what is no action, and for a last one without its document."""
    at, end, number = start, len(body) if end is None else end, first
    if at == 0 and body[: len(_BOM)] == _BOM:
        at = len(_BOM)
    known: dict[bytes, Action] = {}
    while at < end:
        line_end = _line_end(body, at, end)
        text = bytes(body[at:line_end]).strip()
        at = line_end + 1
        if not text:
            continue
        action = known.get(text)
        if action is None:
            action = _action_of(text, number)
            if len(known) < _REMEMBERED:
                known[text] = action
        number += 1
        if action.name == WITHOUT_DOCUMENT:
            yield Line(action, 0, 0, at)
            continue
        line_end = _line_end(body, at, end)
        if _TEXT.search(body, at, line_end) is None and _TEXT.search(body, line_end) is None:
            raise BadRequest(f"the action at index {number - 1}, {action.name}, has no document: nothing follows it")
        yield Line(action, at, line_end, line_end + 1)
        at = line_end + 1


def cut_lines(body: Content, piece_bytes: int) -> list[Span]:
    """Cut a body into pieces of whole actions. Raises as `lines_of` does; TooLarge (see MAX_ACTIONS)."""
    spans: list[Span] = []
    first = start = last_end = 0
    count = 0
    for line in lines_of(body):
        weight = line.after - start + EVENT_BYTES * (count - first + 1)
        if weight > piece_bytes and count > first:
            spans.append(Span(first, start, last_end))
            first, start = count, last_end
        count += 1
        last_end = min(line.after, len(body))
        if count > MAX_ACTIONS:
            raise TooLarge(f"the request has more than {MAX_ACTIONS} actions: send smaller batches", limit=MAX_ACTIONS)
    if not count:
        raise BadRequest("the body is empty: send a line that is an action, and one that is its document")
    return [*spans, Span(first, start, last_end)]


def _line_end(body: Content, at: int, end: int) -> int:
    found = body.find(_LINE_END, at, end)
    return end if found < 0 else found


def _action_of(text: bytes, number: int) -> Action:
    """Read a line that says what is to be done. Raises BadRequest."""
    where = f"the action at index {number}"
    if len(text) > MAX_ACTION_BYTES:
        raise BadRequest(f"{where} is longer than {MAX_ACTION_BYTES} bytes: is it a document without its action?")
    read = _json_of(text, where)
    if not isinstance(read, dict) or len(read) != 1:
        raise BadRequest(f'{where} is malformed: it is an object of one name, as {{"create": {{}}}}')
    ((name, about),) = read.items()
    if name not in STORING and name not in OTHERS:
        raise BadRequest(f"{where} is malformed: {name[:100]!r} is none of {', '.join((*STORING, *OTHERS))}")
    if not isinstance(about, dict):
        raise BadRequest(f"{where} is malformed: {name} holds an object")
    return Action(name, *(_text_of(about, each, where) for each in _NAMES))


def _json_of(text: bytes, where: str) -> Any:
    try:
        read = orjson.loads(text)
    except orjson.JSONDecodeError:
        read = None  # bad bytes in a name, perhaps: the lenient reader tells
    if isinstance(read, dict) and not any(_has_float(about) for about in read.values()):
        return read
    try:
        return lenient(text)
    except BadRequest as error:
        raise BadRequest(f"{where} is malformed: {error.message}") from error


def _has_float(about: Any) -> bool:
    """Tell whether a name may be an integer beyond 64 bits, whose digits the fast reader drops."""
    return isinstance(about, dict) and any(isinstance(about.get(name), float) for name in _NAMES)


def _text_of(about: dict[str, Any], name: str, where: str) -> str | None:
    """Give a name as text; null and nothing are no name."""
    value = about.get(name)
    if isinstance(value, dict | list | bool):
        raise BadRequest(f"{where} is malformed: {name} is a text")
    return None if value is None else str(value) or None
