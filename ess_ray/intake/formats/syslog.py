"""Syslog messages, RFC 5424 and RFC 3164 and what is near them, to events.

Nothing is refused: senders wait for no answer and cannot be told. What cannot be understood is a message as it came;
what is too large is cut, and says so in the attribute `truncated`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import tzinfo
from typing import Any, Final, NamedTuple

from ess_ray.core.event import MAX_EVENT_BYTES
from ess_ray.intake.attributes import Reading
from ess_ray.intake.columns import to_columns
from ess_ray.intake.decoded import Decoded
from ess_ray.intake.fields import FIELD_TABLE, FieldTable
from ess_ray.intake.formats.syslog_3164 import read_3164
from ess_ray.intake.formats.syslog_5424 import read_5424
from ess_ray.intake.limits import IntakeLimits
from ess_ray.record import ATTRIBUTE_BYTES

SOURCE_IP: Final = "source.ip"
TRUNCATED: Final = "truncated"
_PRIORITY: Final = re.compile(r"<(\d{1,3})>", re.ASCII)
_NO_PRIORITY: Final = 13
"""What RFC 3164 (4.3.3) has a relay assume: user.notice."""
_FACILITIES: Final = (
    *("kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp"),
    *("ntp", "audit", "alert", "clock"),
    *(f"local{number}" for number in range(8)),
)
_ENDS: Final = b"\r\n\0"
"""What senders put behind a message, inside of its frame or datagram."""
_VERSION: Final = "1 "
_DIGITS: Final = tuple("123456789")
_SURELY_SMALL_BYTES: Final = 8 * 1024
"""A message that is no longer cannot become an event over the limit: names of structured data, which are repeated, have
255 characters at the most."""
_SPARE_BYTES: Final = 2 * 1024
"""Of an event's limit, left for what the cut adds."""


class Received(NamedTuple):
    """A message as it came. `source_ip`: of whoever sent it. `is_cut`: there was more of it."""

    content: bytes
    source_ip: str | None = None
    is_cut: bool = False


def decode(
    messages: Sequence[Received],
    now_us: int,
    limits: IntakeLimits,
    table: FieldTable = FIELD_TABLE,
    zone: tzinfo | None = None,
) -> Decoded:
    """Read messages, received at `now_us`, as events; blank ones are none. `zone`: of times that name none; None is
    this machine's. Pure, but for that zone."""
    events = [event_of(message, now_us, zone) for message in messages if message.content.strip(b" \t\r\n\0")]
    size = sum(len(message.content) for message in messages)
    return to_columns(events, size, Reading(now_us, limits, exact=True, table=table))


def event_of(message: Received, now_us: int, zone: tzinfo | None = None) -> dict[str, Any]:
    """Give the event that a message is: one of at most MAX_EVENT_BYTES."""
    text = message.content.rstrip(_ENDS).decode("utf-8", "replace")
    event = _read(text, now_us, zone)
    attributes = event["attributes"]
    if message.source_ip is not None:
        attributes[SOURCE_IP] = message.source_ip
    if message.is_cut:
        attributes[TRUNCATED] = True
    if len(message.content) > _SURELY_SMALL_BYTES:
        _make_fit(event, text)
    return event


def _read(text: str, now_us: int, zone: tzinfo | None) -> dict[str, Any]:
    found = _PRIORITY.match(text)
    priority = _NO_PRIORITY if found is None else int(found[1])
    if found is None or priority >= len(_FACILITIES) * 8:
        priority, at = _NO_PRIORITY, 0
    else:
        at = found.end()
    attributes: dict[str, Any] = {"facility": _FACILITIES[priority >> 3]}
    event: dict[str, Any] = {"level": priority & 7, "attributes": attributes}
    new = read_5424(text, at) if at and text[at : at + 1] in _DIGITS else None
    if new is not None:
        event |= {"timestamp": new.time, "host": new.host, "service": new.app, "message": new.text}
        attributes |= {"procid": new.procid, "msgid": new.msgid, **new.data}
        return event
    if at and text.startswith(_VERSION, at):
        event["message"] = text  # it says that it is RFC 5424's, and is not: as it came
        return event
    old = read_3164(text, at, now_us, zone)
    event |= {"timestamp": old.time, "host": old.host, "service": old.tag, "message": old.text}
    attributes["procid"] = old.pid
    return event


def _make_fit(event: dict[str, Any], text: str) -> None:
    """Cut the message of an event that would be too large; where its other parts are, they are left in the text."""
    attributes = event["attributes"]
    others = _bytes_of(event)
    if others > MAX_EVENT_BYTES // 2:
        kept = {name: attributes[name] for name in ("facility", SOURCE_IP, TRUNCATED) if name in attributes}
        attributes.clear()
        attributes.update(kept)
        event |= {"host": None, "service": None, "message": text}
        others = _bytes_of(event)
    most = MAX_EVENT_BYTES - _SPARE_BYTES - others
    encoded = event["message"].encode()
    if len(encoded) > most:
        event["message"] = encoded[:most].decode("utf-8", "ignore")
        attributes[TRUNCATED] = True


def _bytes_of(event: dict[str, Any]) -> int:
    """Count what an event takes beside its message, as the limit counts it."""
    texts = sum(len(event[name].encode()) for name in ("host", "service") if event.get(name))
    return texts + sum(
        ATTRIBUTE_BYTES + len(name.encode()) + len(str(value).encode())
        for name, value in event["attributes"].items()
        if value is not None
    )
