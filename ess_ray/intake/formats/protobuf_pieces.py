"""A large protobuf body cut into pieces along its own lengths: whole groups of events, or events of one group.

A group is what OTLP calls a resource and Loki a stream: what its events share is written with each piece of it. Cut by
what the bytes say, so that a repeat is cut alike.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from ess_ray.intake.compression import Content
from ess_ray.intake.formats.protobuf_wire import Field, fields, is_delimited

Place = tuple[int, int]
"""Where bytes stand: [start, end)."""


@dataclass(frozen=True, slots=True)
class Part:
    """A piece: whole groups; or events of one group, in which case it has the places of what they share.

    `size`: what it counts: its bytes, and for each event what its row will hold besides.
    """

    start: int
    end: int
    size: int
    shared: tuple[Place, ...] = ()


EventsOf = Callable[[Content, Field, int | None], Iterator[Part]]
"""(body, group, bytes of a piece) to runs of the group's events (see `runs_of`)."""


def cut(body: Content, group: int, what: str, events_of: EventsOf, piece_bytes: int) -> list[Part]:
    """Cut a body, whose groups are its fields of the number `group`. Raises BadRequest where its lengths do not fit
    together: not `what`."""
    parts: list[Part] = []
    start = end = size = 0
    for field in fields(body, 0, len(body), what):
        if not is_delimited(field, group):
            continue
        length = field.end - field.at
        weight = length if length > piece_bytes else sum(part.size for part in events_of(body, field, None))
        if size and size + weight > piece_bytes:
            parts.append(Part(start, end, size))
            size = 0
        if weight > piece_bytes:
            parts += events_of(body, field, piece_bytes)
            continue
        start, end, size = field.at if not size else start, field.end, size + weight
    return [*parts, Part(start, end, size)] if size else parts


def runs_of(
    body: Content,
    message: Field,
    event: int,
    what: str,
    *,
    each_bytes: int,
    shared: tuple[Place, ...],
    most: int | None,
) -> Iterator[Part]:
    """Give the events of a message, its fields of the number `event`, in runs of at most `most` bytes (None: in as few
    as there are without another field between). Each event counts `each_bytes`, and what is shared, beyond its own."""
    beyond = each_bytes + sum(end - start for start, end in shared)
    start = end = size = 0
    for field in fields(body, message.start, message.end, what):
        if not is_delimited(field, event):
            continue
        weight = field.end - field.at + beyond
        if size and ((most and size + weight > most) or field.at != end):
            yield Part(start, end, size, shared)
            size = 0
        start, end, size = field.at if not size else start, field.end, size + weight
    if size:
        yield Part(start, end, size, shared)
