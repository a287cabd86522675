"""OTLP requests for tests, in both of its encodings."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, Final

from google.protobuf.json_format import MessageToDict
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue, KeyValueList
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord, ResourceLogs, ScopeLogs
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

PROTOBUF: Final = "application/x-protobuf"
JSON: Final = "application/json"
_SCALARS: Final = {
    str: "string_value",
    bool: "bool_value",
    int: "int_value",
    float: "double_value",
    bytes: "bytes_value",
}


def any_value(value: Any) -> AnyValue:
    """Make a value of Python's one of OTLP's."""
    if value is None:
        return AnyValue()
    if isinstance(value, dict):
        return AnyValue(kvlist_value=KeyValueList(values=pairs(value.items())))
    if isinstance(value, list):
        return AnyValue(array_value=ArrayValue(values=[any_value(item) for item in value]))
    return AnyValue(**{_SCALARS[type(value)]: value})


def pairs(items: Iterable[tuple[str, Any]]) -> list[KeyValue]:
    return [KeyValue(key=key, value=any_value(value)) for key, value in items]


def record(body: Any = None, attributes: Any = (), **fields: Any) -> LogRecord:
    """Make a record; attributes are a dict or pairs."""
    items = attributes.items() if isinstance(attributes, dict) else attributes
    made = LogRecord(attributes=pairs(items), **fields)
    if body is not None:
        made.body.CopyFrom(any_value(body))
    return made


def scope_of(records: Iterable[LogRecord], name: str = "", version: str = "", **attributes: Any) -> ScopeLogs:
    made = ScopeLogs(log_records=records)
    made.scope.name, made.scope.version = name, version
    made.scope.attributes.extend(pairs(attributes.items()))
    return made


def resource_of(scopes: Iterable[ScopeLogs], attributes: dict[str, Any] | None = None) -> ResourceLogs:
    return ResourceLogs(resource=Resource(attributes=pairs((attributes or {}).items())), scope_logs=scopes)


def request_of(*records: LogRecord, **resource: Any) -> ExportLogsServiceRequest:
    """Make a request of one scope; dots in resource attributes are written as two underscores."""
    attributes = {name.replace("__", "."): value for name, value in resource.items()}
    return ExportLogsServiceRequest(resource_logs=[resource_of([scope_of(records)], attributes)])


def to_json(request: ExportLogsServiceRequest) -> dict[str, Any]:
    """Write a request as OTLP's JSON, by protobuf's own writer but for what OTLP has otherwise."""
    document: dict[str, Any] = MessageToDict(request, use_integers_for_enums=True)
    told = (log for each in document.get("resourceLogs", ()) for s in each.get("scopeLogs", ()) for log in _logs(s))
    sent = (log for each in request.resource_logs for s in each.scope_logs for log in s.log_records)
    for log, message in zip(told, sent, strict=True):
        if message.trace_id:
            log["traceId"] = message.trace_id.hex().upper()
        if message.span_id:
            log["spanId"] = message.span_id.hex()
    return document


def _logs(scope_logs: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = scope_logs.get("logRecords", [])
    return found


def encoded(request: ExportLogsServiceRequest, content_type: str) -> bytes:
    """Write a request in one of the encodings."""
    return request.SerializeToString() if content_type == PROTOBUF else json.dumps(to_json(request)).encode()
