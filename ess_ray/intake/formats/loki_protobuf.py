"""Loki's push requests in protobuf: bytes to lines, and a large body to pieces along its own lengths.

Five messages, described here by the numbers of their fields. Texts are bytes in this description, which is the same on
the wire: protobuf's parser would refuse a whole request for one text that is no UTF-8, and agents do send such.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import DecodeError
from google.protobuf.message_factory import GetMessageClass

from ess_ray.core.errors import BadRequest
from ess_ray.core.event import MAX_EVENT_BYTES
from ess_ray.intake.compression import Content
from ess_ray.intake.formats.holders import Around, Held, Time
from ess_ray.intake.formats.loki_labels import read_labels
from ess_ray.intake.formats.protobuf_pieces import Part, cut, runs_of
from ess_ray.intake.formats.protobuf_wire import Field, delimited, fields, is_delimited, last_of
from ess_ray.intake.names import object_of
from ess_ray.intake.rows import Broken

EVENT_BYTES: Final = 100
"""What an entry counts beyond its bytes: about what a row takes beyond its text."""
MAX_ENTRY_BYTES: Final = 4 * MAX_EVENT_BYTES
"""An entry that is longer is no event, and is not read: its text stands in it as it is."""
_WHAT: Final = "a push request of Loki's"
_PACKAGE: Final = "ess_ray.push"
_STREAM, _LABELS, _ENTRY = 1, 1, 2
_BYTES, _INT64, _INT32 = (
    FieldDescriptorProto.TYPE_BYTES,
    FieldDescriptorProto.TYPE_INT64,
    FieldDescriptorProto.TYPE_INT32,
)
_MESSAGES: Final[dict[str, dict[str, tuple[int, int | str, bool]]]] = {
    "Request": {"streams": (_STREAM, "Stream", True)},
    "Stream": {"labels": (_LABELS, _BYTES, False), "entries": (_ENTRY, "Entry", True)},
    "Entry": {"time": (1, "Moment", False), "line": (2, _BYTES, False), "metadata": (3, "Pair", True)},
    "Moment": {"seconds": (1, _INT64, False), "nanos": (2, _INT32, False)},
    "Pair": {"name": (1, _BYTES, False), "value": (2, _BYTES, False)},
}
"""By message and field: its number, its type, whether there may be several."""


def _request_class() -> Any:
    file = FileDescriptorProto(name="ess_ray/push.proto", package=_PACKAGE, syntax="proto3")
    for message, described in _MESSAGES.items():
        made = file.message_type.add(name=message)
        for name, (number, kind, several) in described.items():
            label = FieldDescriptorProto.LABEL_REPEATED if several else FieldDescriptorProto.LABEL_OPTIONAL
            if isinstance(kind, str):
                to = f".{_PACKAGE}.{kind}"
                made.field.add(
                    name=name, number=number, label=label, type=FieldDescriptorProto.TYPE_MESSAGE, type_name=to
                )
            else:
                made.field.add(name=name, number=number, label=label, type=kind)
    pool = DescriptorPool()
    pool.Add(file)
    return GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.Request"))


PushRequest: Final = _request_class()


def read_protobuf(body: bytes) -> list[Held | Broken]:
    """Read a request's lines. Raises BadRequest when it is none."""
    try:
        request = PushRequest.FromString(body)
    except DecodeError as error:
        raise BadRequest(f"this is not {_WHAT} in protobuf: {error}") from error
    return [held for stream in request.streams for held in _of_stream(stream)]


def _of_stream(stream: Any) -> Iterator[Held | Broken]:
    try:
        around = Around((read_labels(stream.labels.decode("utf-8", "replace")),))
    except ValueError as error:
        yield from (Broken(str(error)) for _ in stream.entries)
        return
    for entry in stream.entries:
        line = entry.line.decode("utf-8", "replace")
        own = object_of([(_text(pair.name), _text(pair.value)) for pair in entry.metadata]) if entry.metadata else {}
        yield Held(around, line, _time(entry.time), own)


def _text(sent: bytes) -> str:
    return sent.decode("utf-8", "replace")


def _time(moment: Any) -> Time | None:
    ns: int = moment.seconds * 1_000_000_000 + moment.nanos
    return Time(ns // 1_000, ns) if ns else None


# ----------------------------------------------------------------------------------------------------------- pieces
def cut_protobuf(body: Content, piece_bytes: int) -> list[Part]:
    """Cut a request into pieces. Raises BadRequest where its lengths do not fit together."""
    return cut(body, _STREAM, _WHAT, _entries, piece_bytes)


def _entries(body: Content, stream: Field, piece_bytes: int | None) -> Iterator[Part]:
    """Give the entries of a stream in runs. What they share: its labels."""
    labels = last_of([each for each in fields(body, stream.start, stream.end, _WHAT) if is_delimited(each, _LABELS)])
    return runs_of(body, stream, _ENTRY, _WHAT, each_bytes=EVENT_BYTES, shared=(labels,), most=piece_bytes)


def read_part(body: Content, part: Part) -> list[Held | Broken]:
    """Read the lines of a piece. Raises BadRequest when they are none."""
    with memoryview(body) as view:
        if not part.shared:
            return read_protobuf(bytes(view[part.start : part.end]))
        if part.end - part.start > MAX_ENTRY_BYTES:  # more than a piece holds only where it is a single entry
            return [Broken(f"the event is larger than {MAX_EVENT_BYTES} bytes")]
        (labels,) = part.shared
        stream = bytes(view[slice(*labels)]) + bytes(view[part.start : part.end])
    return read_protobuf(delimited(_STREAM, stream))
