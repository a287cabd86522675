"""GELF messages, Graylog's: one JSON object each, perhaps compressed, to events.

`_x` is the attribute `x`, or the field that has this name; `short_message` is the message, `level` syslog's severity.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import orjson

from ess_ray.core.errors import EssError
from ess_ray.core.event import MAX_EVENT_BYTES
from ess_ray.intake.attributes import Reading, Rejected, attribute_text
from ess_ray.intake.compression import decompress
from ess_ray.intake.decoded import Decoded
from ess_ray.intake.fields import FIELD_TABLE, FieldTable
from ess_ray.intake.formats.held_columns import held_columns
from ess_ray.intake.formats.holders import Around, Held, time_of
from ess_ray.intake.formats.json_values import TooDeep, lenient
from ess_ray.intake.formats.syslog import SOURCE_IP, TRUNCATED, Received
from ess_ray.intake.limits import IntakeLimits
from ess_ray.intake.names import kept_apart
from ess_ray.intake.rows import Broken

MAX_MESSAGE_BYTES: Final = 2 * MAX_EVENT_BYTES
"""Decompressed: an event's texts with JSON's escapes. More is refused while it is decompressed."""
_GZIP: Final = b"\x1f\x8b"
_ZLIB: Final = b"\x78"
_APART: Final = frozenset({"version", "short_message", "timestamp"})
_TEXTS: Final = ("short_message", "full_message")
_ABSENT: Final = (None, "")
_NO_OBJECT: Final = "a GELF message must be a JSON object"
_SPARE_BYTES: Final = 2 * 1024
_EXACT: Final = frozenset({str, int, bool, type(None)})
_FLAT: Final = _EXACT | {float}
_SHORT: Final = 16
"""Bytes of a number without an exponent of which no digit is lost: a double tells 15 of them and a point, and what has
no point is an integer."""
_NUMBERS: Final = re.compile(rb'"\s*:\s*(-?\d[\d.eE+-]*)')
"""Numbers that are values of an object's, and perhaps others in texts."""


class NotGelf(NamedTuple):
    """Why a message is none."""

    reason: str


def plain(content: bytes) -> bytes | NotGelf:
    """Undo a message's compression: gzip, zlib or none, told by its first bytes."""
    encoding = "gzip" if content.startswith(_GZIP) else "deflate" if content.startswith(_ZLIB) else None
    try:
        return bytes(decompress(content, encoding, MAX_MESSAGE_BYTES))
    except EssError as error:
        return NotGelf(error.message)


def decode(messages: Sequence[Received], now_us: int, limits: IntakeLimits, table: FieldTable = FIELD_TABLE) -> Decoded:
    """Read messages, received at `now_us`, as events; `rejected` names those that are no GELF. Pure."""
    around = {message.source_ip: around_of(message) for message in messages}
    held = [held_of(message, around[message.source_ip]) for message in messages if message.content]
    return held_columns(held, Reading(now_us, limits, exact=True, table=table))


def around_of(message: Received) -> Around:
    """Give what stands around the messages of one sender."""
    return Around(({} if message.source_ip is None else {SOURCE_IP: message.source_ip},))


def held_of(message: Received, known: Around | None = None) -> Held | Broken:
    """Give the event that a message is, or why it is none.

    A text that begins as an object and is cut, or no JSON, is an event's message as it came. `known`: its `around_of`.
    """
    around = known or around_of(message)
    content = plain(message.content)
    if isinstance(content, NotGelf):
        return Broken(content.reason)
    try:
        value = _parse(content)
    except TooDeep as error:
        return Broken(error.message)
    except EssError:
        if not content.lstrip().startswith(b"{"):
            return Broken(_NO_OBJECT)
        text = _cut(content.decode("utf-8", "replace"))
        own = around.holders[0]
        return Held(Around((own | {TRUNCATED: True},)) if message.is_cut else around, text)
    return event_of(value, around)


def event_of(message: Any, around: Around) -> Held | Broken:
    """Give the event that a parsed message is, whichever way it came: `_x` is the attribute `x`, or the field of this
    name. `around`: attributes beside its own."""
    if isinstance(message, Broken):
        return message
    if not isinstance(message, dict):
        return Broken(_NO_OBJECT)
    body = next((text for name in _TEXTS if (text := message.get(name)) not in _ABSENT), None)
    own, added = {}, {}
    for name, value in message.items():
        if name.startswith("_"):
            if name != "_":
                added[name[1:]] = value
        elif name not in _APART:
            own[name] = value
    if own.get("full_message") == body:
        own.pop("full_message", None)
    if body is None:  # the table's other names of a message, as in any event; else the object itself
        own, added = kept_apart([*own.items(), *added.items()]), {}
        try:
            body = None if own else attribute_text(message, True)
        except Rejected as error:
            return Broken(str(error))
    if isinstance(body, str) and (text := _cut(body)) != body:
        body, added = text, {**added, TRUNCATED: True}
    return Held(around, body, time_of(message.get("timestamp")), own, added)


def _parse(content: bytes) -> Any:
    """Parse JSON, leniently and with all digits. Raises BadRequest, TooDeep."""
    text = content.rstrip(b"\r\n\0")
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        return lenient(text)
    return value if isinstance(value, dict) and _is_exact(value, text) else lenient(text)


def _is_exact(value: dict[str, Any], text: bytes) -> bool:
    """Tell whether the fast parser surely lost no digit of a flat object."""
    kinds = set(map(type, value.values()))
    if kinds <= _EXACT:
        return True
    return kinds <= _FLAT and all(
        len(number) <= _SHORT and b"e" not in number.lower() for number in _NUMBERS.findall(text)
    )


def _cut(text: str) -> str:
    """Cut a message that no event could hold."""
    most = MAX_EVENT_BYTES - _SPARE_BYTES
    if len(text) * 4 <= most:
        return text
    encoded = text.encode("utf-8", "replace")
    return text if len(encoded) <= most else encoded[:most].decode("utf-8", "ignore")
