"""OTLP in JSON: text to log records, and a large text to pieces.

Read by hand, since protobuf's own reader of JSON takes the ids for base64, where OTLP has hexadecimal digits, and gives
wrong ones without a word. Keys are in lowerCamelCase, integers of 64 bits are text or numbers, what is unknown is
ignored. What is wrong inside one record harms no other.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from opentelemetry.proto.logs.v1.logs_pb2 import SeverityNumber

from ess_ray import exact_json
from ess_ray.core.errors import BadRequest
from ess_ray.intake.compression import Content
from ess_ray.intake.formats.json_nested import Span, cut_nested, parse
from ess_ray.intake.formats.json_pieces import MAX_VALUE_BYTES
from ess_ray.intake.formats.otlp_rows import Log, Origin, int32, scope_attributes
from ess_ray.intake.names import object_of
from ess_ray.intake.rows import Broken

USUAL_RECORD_BYTES: Final = 256
"""A record without attributes of its own has about so many bytes of JSON: how often a resource is repeated in rows."""
_SEVERITIES: Final = {name: each.number for name, each in SeverityNumber.DESCRIPTOR.values_by_name.items()}
_INTEGER: Final = re.compile(r"[+-]?\d{1,4000}", re.ASCII)
_NUMBER: Final = re.compile(r"[+-]?\d{1,400}(\.\d{1,400})?([eE][+-]?\d{1,3})?", re.ASCII)


_ARRAYS: Final = (("resourceLogs",), ("scopeLogs",), ("logRecords",))


# ----------------------------------------------------------------------------------------------------- log records
def read_json(text: bytes) -> list[Log | Broken]:
    """Read a request's records. Raises BadRequest when it is none."""
    document = parse(text)
    return [log for resource_logs in _array(document, "resourceLogs") for log in _of_resource(resource_logs)]


def _of_resource(resource_logs: Any) -> Iterator[Log | Broken]:
    for scope_logs in _array(resource_logs, "scopeLogs"):
        yield from _of_scope(resource_logs, scope_logs, _array(scope_logs, "logRecords"))


def _of_scope(resource_logs: Any, scope_logs: Any, records: Sequence[Any]) -> Iterator[Log | Broken]:
    scope = _object(scope_logs, "scope")
    try:
        name, version = _text(scope, "name"), _text(scope, "version")
        origin = Origin(
            _attributes(_object(resource_logs, "resource")), scope_attributes(_attributes(scope), name, version)
        )
    except RecursionError:
        yield from (Broken("the attributes of its resource or scope are nested too deep") for _ in records)
        return
    for record in records:
        yield _log(record, origin)


def _log(record: Any, origin: Origin) -> Log | Broken:
    if not isinstance(record, dict):
        return Broken("a log record must be a JSON object")
    try:
        return Log(
            origin,
            _integer(record, "timeUnixNano"),
            _integer(record, "observedTimeUnixNano"),
            _severity(record.get("severityNumber")),
            _text(record, "severityText"),
            value_of(record.get("body")),
            _attributes(record),
            _whole(record, "droppedAttributesCount"),
            _whole(record, "flags"),
            _text(record, "traceId").lower(),
            _text(record, "spanId").lower(),
            _text(record, "eventName"),
        )
    except RecursionError:
        return Broken("the log record is nested too deep")


def value_of(value: Any) -> Any:
    """Give an AnyValue as the JSON value that it stands for; an empty one is None."""
    if not isinstance(value, dict):
        return value
    for kind, read in _KINDS.items():
        if (inner := value.get(kind)) is not None:
            return read(inner)
    return None


def _attributes(holder: dict[str, Any]) -> dict[str, Any]:
    """Give an object's attributes by their keys; of a key that is there twice the last one."""
    return _pairs(holder.get("attributes"))


def _pairs(pairs: Any) -> dict[str, Any]:
    if not isinstance(pairs, list):
        return {}
    return object_of([(_text(pair, "key"), value_of(pair.get("value"))) for pair in pairs if isinstance(pair, dict)])


def _values(value: Any, read: Any, empty: Any) -> Any:
    return read(value.get("values")) if isinstance(value, dict) else empty


def _items(values: Any) -> list[Any]:
    return [value_of(item) for item in values] if isinstance(values, list) else []


def _integer_value(value: Any) -> Any:
    return int(value) if isinstance(value, str) and _INTEGER.fullmatch(value) else value


def _double_value(value: Any) -> Any:
    """Read a number, also one that is text; what JSON has no number for stays its name."""
    if not (isinstance(value, str) and _NUMBER.fullmatch(value)):
        return value
    number = float(value)
    return number if abs(number) != float("inf") else value


_KINDS: Final[Mapping[str, Callable[[Any], Any]]] = {
    "stringValue": lambda value: value,
    "intValue": _integer_value,
    "boolValue": lambda value: value,
    "doubleValue": _double_value,
    "arrayValue": lambda value: _values(value, _items, []),
    "kvlistValue": lambda value: _values(value, _pairs, {}),
    "bytesValue": lambda value: value,
}


def _severity(value: Any) -> int:
    """Read a severity number: a number, though some write it as text, or by its name."""
    if isinstance(value, str):
        value = _SEVERITIES.get(value, _integer_value(value))
    return int32(value) if type(value) is int else 0


def _integer(record: dict[str, Any], name: str) -> int | str:
    """Give a 64-bit integer, be it text or a number; what is none as the text that it is."""
    value = _integer_value(record.get(name))
    if type(value) is float and value.is_integer():
        return int(value)
    return value if type(value) is int else 0 if value is None else str(value)


def _whole(record: dict[str, Any], name: str) -> int:
    value = _integer(record, name)
    return value if isinstance(value, int) else 0


def _text(holder: dict[str, Any], name: str) -> str:
    value = holder.get(name)
    return value if isinstance(value, str) else "" if value is None else exact_json.dumps(value).decode()


def _array(holder: Any, name: str) -> list[Any]:
    value = holder.get(name) if isinstance(holder, dict) else 0
    if value is None:
        return []
    if not isinstance(value, list):
        raise BadRequest(f"this is not OTLP logs in JSON: {name} must be an array in an object")
    return value


def _object(holder: dict[str, Any], name: str) -> dict[str, Any]:
    value = holder.get(name)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise BadRequest(f"this is not OTLP logs in JSON: {name} must be an object")
    return value


# ----------------------------------------------------------------------------------------------------------- pieces
def cut_json(text: Content, piece_bytes: int) -> list[Span]:
    """Cut a request into pieces: of resources, and where one is large of its scopes, and so on.

    Raises BadRequest, TooLarge where an array of OTLP's is there twice: one of them would have to be read whole.
    """
    return cut_nested(text, _ARRAYS, "OTLP", piece_bytes, USUAL_RECORD_BYTES)


def read_span(text: Content, span: Span) -> list[Log | Broken]:
    """Read the records of a piece. Raises BadRequest when they are none."""
    if span.end - span.start > MAX_VALUE_BYTES:  # more than a piece holds only where it is a single value
        return [Broken("the log record is too large to be read")]
    with memoryview(text) as view:
        elements = parse(b"[" + bytes(view[span.start : span.end]) + b"]")
    if not span.around:
        return [log for resource_logs in elements for log in _of_resource(resource_logs)]
    resource_logs, *scopes = span.around
    if scopes:
        return list(_of_scope(resource_logs, scopes[0], elements))
    return [
        log for scope_logs in elements for log in _of_scope(resource_logs, scope_logs, _array(scope_logs, "logRecords"))
    ]
