"""Protobuf's wire format, as far as finding fields needs it: where they are, without making objects of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

from ess_ray.core.errors import BadRequest
from ess_ray.intake.compression import Content

LENGTH_DELIMITED: Final = 2
_FIXED_BYTES: Final = {1: 8, 5: 4}
_MAX_VARINT_BYTES: Final = 10


class Field(NamedTuple):
    """A field on the wire: it begins at `at`, its content is [start, end)."""

    number: int
    wire_type: int
    at: int
    start: int
    end: int


def fields(content: Content, start: int, end: int, what: str) -> Iterator[Field]:
    """Give the fields of the message that stands in [start, end). Raises BadRequest where there is none: not `what`."""
    at = start
    while at < end:
        tag, content_at = _varint(content, at, end, what)
        wire_type = tag & 7
        if wire_type == LENGTH_DELIMITED:
            length, content_at = _varint(content, content_at, end, what)
            until = content_at + length
        elif wire_type == 0:
            _, until = _varint(content, content_at, end, what)
        elif wire_type in _FIXED_BYTES:
            until = content_at + _FIXED_BYTES[wire_type]
        else:
            raise BadRequest(f"this is not {what} in protobuf: no field has the wire type {wire_type}")
        if until > end or not tag >> 3:
            raise BadRequest(f"this is not {what} in protobuf: a field goes on behind the end of its message")
        yield Field(tag >> 3, wire_type, at, content_at, until)
        at = until


def _varint(content: Content, at: int, end: int, what: str) -> tuple[int, int]:
    """Read a number; gives where it ends, too."""
    value = shift = 0
    for position in range(at, min(end, at + _MAX_VARINT_BYTES)):
        byte = content[position]
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position + 1
        shift += 7
    raise BadRequest(f"this is not {what} in protobuf: a number does not end")


def delimited(number: int, inner: bytes) -> bytes:
    """Write a field."""
    head = bytearray()
    for value in (number << 3 | LENGTH_DELIMITED, len(inner)):
        left = value
        while left > 0x7F:
            head.append(left & 0x7F | 0x80)
            left >>= 7
        head.append(left)
    return bytes(head) + inner


def last_of(found: list[Field]) -> tuple[int, int]:
    """Give where the last of these is, with its tag; nothing where there is none."""
    return (found[-1].at, found[-1].end) if found else (0, 0)


def is_delimited(field: Field, number: int) -> bool:
    """Tell whether a field is this one, and has a length."""
    return field.number == number and field.wire_type == LENGTH_DELIMITED
