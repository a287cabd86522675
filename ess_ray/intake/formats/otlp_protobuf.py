"""OTLP in protobuf: bytes to log records, and a large body to pieces along its own lengths.

A piece is a run of whole resources, or of records of one scope with that scope and its resource: cut by what the bytes
say, so that a repeat is cut alike, and counted with what each record's row will hold of its resource.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Iterable, Iterator
from typing import Any, Final

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord, ResourceLogs, ScopeLogs

from ess_ray.core.errors import BadRequest
from ess_ray.core.event import MAX_EVENT_BYTES
from ess_ray.intake.compression import Content
from ess_ray.intake.formats.otlp_rows import Log, Origin, int32, scope_attributes
from ess_ray.intake.formats.protobuf_pieces import Part, cut, runs_of
from ess_ray.intake.formats.protobuf_wire import LENGTH_DELIMITED, Field, delimited, fields, is_delimited, last_of
from ess_ray.intake.names import object_of
from ess_ray.intake.rows import Broken

EVENT_BYTES: Final = 100
"""What a record counts beyond its bytes: about what a row takes beyond its text."""
MAX_RECORD_BYTES: Final = 4 * MAX_EVENT_BYTES
"""A record that is longer is no event, and is not read: its text stands in it as it is."""
MAX_DEPTH: Final = 100
"""Messages inside messages: where protobuf's own parser stops."""
_WHAT: Final = "OTLP logs"
_NON_FINITE: Final = {math.inf: "Infinity", -math.inf: "-Infinity"}


# ----------------------------------------------------------------------------------------------------- log records
def read_protobuf(body: Content) -> list[Log | Broken]:
    """Read a request's records. Raises BadRequest when it is none."""
    request = ExportLogsServiceRequest()
    _parse(request, bytes(body))
    return [
        _log(record, origin)
        for resource_logs in request.resource_logs
        for scope_logs, origin in _scopes(resource_logs)
        for record in scope_logs.log_records
    ]


def _scopes(resource_logs: ResourceLogs) -> Iterator[tuple[ScopeLogs, Origin]]:
    resource = attributes_of(resource_logs.resource.attributes)
    for scope_logs in resource_logs.scope_logs:
        scope = scope_logs.scope
        yield scope_logs, Origin(resource, scope_attributes(attributes_of(scope.attributes), scope.name, scope.version))


def _log(record: LogRecord, origin: Origin) -> Log:
    return Log(
        origin,
        record.time_unix_nano,
        record.observed_time_unix_nano,
        int32(record.severity_number),
        record.severity_text,
        record.body.string_value or value_of(record.body),
        attributes_of(record.attributes),
        record.dropped_attributes_count,
        record.flags,
        record.trace_id.hex(),
        record.span_id.hex(),
        record.event_name,
    )


def attributes_of(pairs: Iterable[KeyValue]) -> dict[str, Any]:
    """Give attributes by their keys; of a key that is there twice the last one."""
    # Nearly all are texts, and to ask which kind a value has costs as much as to read it.
    return object_of([(pair.key, pair.value.string_value or value_of(pair.value)) for pair in pairs])


def value_of(value: AnyValue) -> Any:
    """Give a value as JSON's: bytes are base64, what is no number of JSON's is its name, an empty one is None."""
    kind = value.WhichOneof("value")
    if kind in ("string_value", "int_value", "bool_value"):
        return getattr(value, kind)
    if kind == "double_value":
        number = value.double_value
        return number if math.isfinite(number) else _NON_FINITE.get(number, "NaN")
    if kind == "array_value":
        return [value_of(item) for item in value.array_value.values]
    if kind == "kvlist_value":
        return attributes_of(value.kvlist_value.values)
    if kind == "bytes_value":
        return base64.b64encode(value.bytes_value).decode()
    return None


def _parse(message: Any, content: bytes) -> None:
    """Parse into a message; text that is no UTF-8 is mended. Raises BadRequest."""
    try:
        message.ParseFromString(content)
    except DecodeError:
        # The parser refuses a whole request for one byte of one text, and agents do send such bytes.
        mended = _mended(content, message.DESCRIPTOR, 0)
        try:
            message.ParseFromString(mended)
        except DecodeError as error:
            raise BadRequest(f"this is not OTLP logs in protobuf: {error}") from error


def _mended(content: bytes, descriptor: Descriptor, depth: int) -> bytes:
    """Give a message whose texts are UTF-8, with U+FFFD for what is not. Raises BadRequest."""
    if depth > MAX_DEPTH:
        raise BadRequest(f"this is not OTLP logs in protobuf: messages are nested deeper than {MAX_DEPTH} levels")
    mended = bytearray()
    for field in fields(content, 0, len(content), _WHAT):
        known = descriptor.fields_by_number.get(field.number)
        inner = content[field.start : field.end]
        if known is not None and field.wire_type == LENGTH_DELIMITED and known.type == FieldDescriptor.TYPE_MESSAGE:
            inner = _mended(inner, known.message_type, depth + 1)
        elif known is not None and field.wire_type == LENGTH_DELIMITED and known.type == FieldDescriptor.TYPE_STRING:
            inner = inner.decode("utf-8", "replace").encode()
        else:
            mended += content[field.at : field.end]
            continue
        mended += delimited(field.number, inner)
    return bytes(mended)


# ----------------------------------------------------------------------------------------------------------- pieces
def cut_protobuf(body: Content, piece_bytes: int) -> list[Part]:
    """Cut a request into pieces. Raises BadRequest where its lengths do not fit together."""
    return cut(body, _RESOURCE_LOGS, _WHAT, _records, piece_bytes)


def _records(body: Content, resource_logs: Field, piece_bytes: int | None) -> Iterator[Part]:
    """Give the records of one resource in runs of one scope. What they share: resource and scope."""
    inside = list(fields(body, resource_logs.start, resource_logs.end, _WHAT))
    resource = last_of([field for field in inside if is_delimited(field, _RESOURCE)])
    for scope_logs in (field for field in inside if is_delimited(field, _SCOPE_LOGS)):
        of_scope = fields(body, scope_logs.start, scope_logs.end, _WHAT)
        shared = resource, last_of([field for field in of_scope if is_delimited(field, _SCOPE)])
        yield from runs_of(
            body, scope_logs, _LOG_RECORD, _WHAT, each_bytes=EVENT_BYTES, shared=shared, most=piece_bytes
        )


def _number(message: Any, name: str) -> int:
    number: int = message.DESCRIPTOR.fields_by_name[name].number
    return number


_RESOURCE_LOGS: Final = _number(ExportLogsServiceRequest, "resource_logs")
_RESOURCE: Final = _number(ResourceLogs, "resource")
_SCOPE_LOGS: Final = _number(ResourceLogs, "scope_logs")
_SCOPE: Final = _number(ScopeLogs, "scope")
_LOG_RECORD: Final = _number(ScopeLogs, "log_records")


def read_part(body: Content, part: Part) -> list[Log | Broken]:
    """Read the records of a piece. Raises BadRequest when they are none."""
    with memoryview(body) as view:
        if not part.shared:
            return read_protobuf(bytes(view[part.start : part.end]))
        if part.end - part.start > MAX_RECORD_BYTES:  # more than a piece holds only where it is a single record
            return [Broken(f"the event is larger than {MAX_EVENT_BYTES} bytes")]
        resource, scope = part.shared
        scope_logs = bytes(view[slice(*scope)]) + bytes(view[part.start : part.end])
        resource_logs = bytes(view[slice(*resource)]) + delimited(_SCOPE_LOGS, scope_logs)
    return read_protobuf(delimited(_RESOURCE_LOGS, resource_logs))
