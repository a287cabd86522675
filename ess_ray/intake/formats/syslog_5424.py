"""RFC 5424's header and structured data, read as leniently as loses nothing."""

from __future__ import annotations

import re
from collections import Counter
from typing import Final, NamedTuple

_HEADER: Final = re.compile(r"[1-9]\d{0,2} (-|\d{4}-\d\d-\d\dT[^ ]+) ([^ ]+) ([^ ]+) ([^ ]+) ([^ ]+)(?: |$)", re.ASCII)
_NAME: Final = r'[^ =\]"\x00-\x1f]{1,255}'
"""Longer than the RFC's 32: names stand in each attribute's, so that they are bounded all the same."""
_ELEMENT: Final = re.compile(rf"\[({_NAME})")
_PARAM: Final = re.compile(rf' +({_NAME})="([^"\\]*(?:\\.[^"\\]*)*)"', re.DOTALL)
_ELEMENT_END: Final = re.compile(r" *\]")
_ESCAPED: Final = re.compile(r'\\(["\\\]])')
_NIL: Final = "-"
_BYTE_ORDER_MARK: Final = "\ufeff"
_PREFIX: Final = "structured_data."


class Message5424(NamedTuple):
    """A message's parts; what is `-` is None. `data`: by attributes' names."""

    time: str | None
    host: str | None
    app: str | None
    procid: str | None
    msgid: str | None
    data: dict[str, str]
    text: str


def read_5424(text: str, at: int = 0) -> Message5424 | None:
    """Read what stands behind the priority; None where it is no such message."""
    header = _HEADER.match(text, at)
    if header is None:
        return None
    time, host, app, procid, msgid = (None if each == _NIL else each for each in header.groups())
    data, end = _structured_data(text, header.end())
    message = text[end:].removeprefix(_BYTE_ORDER_MARK)
    return Message5424(time, host, app, procid, msgid, data, message)


def _structured_data(text: str, at: int) -> tuple[dict[str, str], int]:
    """Read structured data; gives it, and where the message begins. Some senders leave the `-` out where there is
    none: what is no structured data belongs to the message."""
    if text[at : at + 1] == _NIL and text[at + 1 : at + 2] in ("", " "):
        return {}, at + 2
    data: dict[str, str] = {}
    numbers: Counter[str] = Counter()
    end = at
    while (element := _ELEMENT.match(text, end)) is not None:
        end = element.end()
        name = _PREFIX + element[1]
        has_params = False
        while (param := _PARAM.match(text, end)) is not None:
            has_params, end = True, param.end()
            value = param[2]
            _add(data, numbers, f"{name}.{param[1]}", _ESCAPED.sub(r"\1", value) if "\\" in value else value)
        closed = _ELEMENT_END.match(text, end)
        if closed is None:
            return {}, at
        end = closed.end()
        if not has_params:
            _add(data, numbers, name, "")
    if text[end : end + 1] not in ("", " "):
        return {}, at
    return data, end + 1 if end > at else end


def _add(data: dict[str, str], numbers: Counter[str], name: str, value: str) -> None:
    """Add a value; a name may come again (RFC 5424, 6.3.3), and is then `name#2`, as of any attribute."""
    free = name
    while free in data:
        numbers[name] += 1
        free = f"{name}#{numbers[name] + 1}"
    data[free] = value
