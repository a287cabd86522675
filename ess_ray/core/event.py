"""What an event is: its fields, its Arrow schemas, and the rules for levels.

Three shapes of the same event, in the order in which it passes through them:

- RECORD_SCHEMA: what one log record carries (an Arrow IPC stream), as the push side encodes it.
- EVENT_SCHEMA: a record's rows with their identity (log_id, vnode, offset, row): buffers, objects, answers.
- the JSON object that an answer shows (`to_json_rows`): without HIDDEN_COLUMNS.

Log records and stored objects have one format version between them, FORMAT_VERSION; what an older one lacks is null.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from math import isfinite
from typing import Any, Final, TypeVar

import pyarrow as pa

from ess_ray.core.decimals import read_decimal
from ess_ray.core.timestamps import format_timestamp

Rows = TypeVar("Rows", pa.Table, pa.RecordBatch)

TIMESTAMP: Final = pa.timestamp("us", tz="UTC")
ATTRIBUTES: Final = pa.map_(pa.string(), pa.string())

EVENT_HASH_BYTES: Final = 16

RECORD_SCHEMA: Final = pa.schema(
    [
        pa.field("timestamp", TIMESTAMP, nullable=False),
        pa.field("observed_timestamp", TIMESTAMP, nullable=False),
        pa.field("level", pa.string()),
        pa.field("severity_number", pa.int32()),
        pa.field("service", pa.string()),
        pa.field("host", pa.string()),
        pa.field("message", pa.string(), nullable=False),
        pa.field("trace_id", pa.string()),
        pa.field("span_id", pa.string()),
        pa.field("attributes", ATTRIBUTES),
        pa.field("event_id", pa.string()),
        pa.field("attribute_types", pa.string()),
        pa.field("event_hash", pa.binary(EVENT_HASH_BYTES)),
    ]
)
"""`attribute_types`: the JSON types of the entries of `attributes`, one letter each in the order of the keys: s (text),
n (number), b (true or false), z (null), j (array or object); null when all are text. `event_hash`: of an event that has
an id, as the client sent it; null without one."""
IDENTITY_FIELDS: Final = (
    pa.field("log_id", pa.string(), nullable=False),
    pa.field("vnode", pa.int32(), nullable=False),
    pa.field("offset", pa.int64(), nullable=False),
    pa.field("row", pa.int32(), nullable=False),
)
EVENT_SCHEMA: Final = pa.schema([*RECORD_SCHEMA, *IDENTITY_FIELDS])

FORMAT_VERSION: Final = 2
"""Of log records and of objects alike. Raised when an older ess_ray could no longer read what is written; every older
format is read for ever. Format 1 had neither HIDDEN_COLUMNS nor checksums."""
_ADDED_BY: Final = {"attribute_types": 2, "event_hash": 2}
"""Columns that a later format than 1 brought, by that format."""
HIDDEN_COLUMNS: Final = frozenset(_ADDED_BY)
"""Columns that say how other columns are to be read: neither fields of an event, nor shown in answers."""
SHOWN_COLUMNS: Final = tuple(name for name in EVENT_SCHEMA.names if name not in HIDDEN_COLUMNS)


def in_order(names: Iterable[str]) -> list[str]:
    """Give columns in the order of EVENT_SCHEMA."""
    wanted = frozenset(names)
    return [name for name in EVENT_SCHEMA.names if name in wanted]


ORDER: Final = ("timestamp", "log_id", "vnode", "offset", "row")
"""The total order of events; `newest` is its exact reverse."""

MAX_EVENT_BYTES: Final = 512 * 1024
"""One event with its attributes: so that a record (900 KiB) always holds at least one."""
MAX_ID_BYTES: Final = 128
"""The client's `id`: ids are remembered for an hour, 5 M of them a process."""
MAX_ATTRIBUTE_DEPTH: Final = 100
"""Levels of nesting in `attributes`: deeper is nobody's log event, and JSON parsers stop near 1,000."""

_LEVELS: Final = {
    "TRACE": ("TRACE", 1),
    "VERBOSE": ("TRACE", 1),
    "DEBUG": ("DEBUG", 5),
    "INFO": ("INFO", 9),
    "INFORMATION": ("INFO", 9),
    "INFORMATIONAL": ("INFO", 9),
    "NOTICE": ("NOTICE", 10),
    "WARN": ("WARN", 13),
    "WARNING": ("WARN", 13),
    "ERROR": ("ERROR", 17),
    "ERR": ("ERROR", 17),
    "SEVERE": ("ERROR", 17),
    "CRITICAL": ("CRITICAL", 18),
    "CRIT": ("CRITICAL", 18),
    "ALERT": ("ALERT", 19),
    "FATAL": ("FATAL", 21),
    "EMERG": ("EMERGENCY", 22),
    "EMERGENCY": ("EMERGENCY", 22),
    "PANIC": ("EMERGENCY", 22),
}


def normalize_level(level: str) -> tuple[str, int | None]:
    """Give the stored level (upper-case, aliases merged) and its OpenTelemetry severity number (None if unknown)."""
    upper = level.strip().upper()
    return _LEVELS.get(upper, (upper, None))


_SYSLOG_LEVELS: Final = ("EMERGENCY", "ALERT", "CRITICAL", "ERROR", "WARN", "NOTICE", "INFO", "DEBUG")
"""By syslog's severity, RFC 5424, 0 to 7."""
_LOGGER_LEVELS: Final = {10: "TRACE", 20: "DEBUG", 30: "INFO", 40: "WARN", 50: "ERROR", 60: "FATAL"}
"""By the numbers of pino and bunyan."""
_OTEL_LEVELS: Final = ("TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL")
"""OpenTelemetry's severity numbers, four for each, from 1 on."""


def level_of_severity(number: int) -> tuple[str, int | None] | None:
    """Read a level that is a number: syslog's severity, or a JavaScript logger's. None for any other."""
    name = _SYSLOG_LEVELS[number] if 0 <= number < len(_SYSLOG_LEVELS) else _LOGGER_LEVELS.get(number)
    return None if name is None else normalize_level(name)


def level_of_number(severity_number: int) -> str | None:
    """Name the level of an OpenTelemetry severity number; None beyond 1 to 24."""
    at = (severity_number - 1) // 4
    return _OTEL_LEVELS[at] if 0 <= at < len(_OTEL_LEVELS) else None


def schema_of_format(schema: pa.Schema, format_version: int) -> pa.Schema:
    """Give the part of RECORD_SCHEMA or EVENT_SCHEMA that a format has."""
    return pa.schema([field for field in schema if _ADDED_BY.get(field.name, 1) <= format_version])


def with_all_columns(rows: Rows, schema: pa.Schema) -> Rows:
    """Give rows of an older format (or some columns of them) all columns of `schema`: those that they lack are null."""
    if rows.schema.equals(schema):
        return rows
    have = frozenset(rows.schema.names)
    arrays = [rows.column(f.name) if f.name in have else pa.nulls(rows.num_rows, f.type) for f in schema]
    return type(rows).from_arrays(arrays, schema=schema)


_JSON_NUMBER = re.compile(r"-?(?:0|[1-9]\d{0,4000})(?:\.\d{1,4000})?(?:[eE][+-]?\d{1,9})?", re.ASCII)
"""As long as Python reads it; of what is written by intake, that is all."""


def _typed(pairs: list[tuple[str, str | None]] | None, letters: str | None) -> dict[str, Any]:
    """Give attributes by their names, of the JSON types that their letters tell; without letters all are text."""
    if pairs is None:
        return {}
    if letters is None or len(letters) != len(pairs):
        return dict(pairs)
    return {
        key: text if letter == "s" or text is None else _value(text, letter)
        for (key, text), letter in zip(pairs, letters, strict=True)
    }


def _value(text: str, letter: str) -> Any:
    if letter == "b" and text in ("true", "false"):
        return text == "true"
    if letter == "n" and _JSON_NUMBER.fullmatch(text):
        number = int(text) if text.lstrip("-").isdigit() else read_decimal(text)
        return number if isinstance(number, int) or isfinite(number) else text
    return text


def to_json_rows(table: pa.Table) -> list[dict[str, Any]]:
    """Turn rows of EVENT_SCHEMA into the JSON objects of an answer: `id`, `attributes` always an object, RFC 3339.

    Attributes that were numbers, true or false are so again; integers have all their digits, however many. An array is
    its JSON text.
    """
    columns: dict[str, list[Any]] = {}
    for name in SHOWN_COLUMNS:
        column = table.column(name)
        if name in ("timestamp", "observed_timestamp"):
            micros = column.cast(pa.int64()).to_pylist()
            columns[name] = [None if us is None else format_timestamp(us) for us in micros]
        elif name == "attributes":
            types = table.column("attribute_types").to_pylist()
            columns[name] = [_typed(pairs, letters) for pairs, letters in zip(column.to_pylist(), types, strict=True)]
        else:
            columns[name] = column.to_pylist()
    columns["id"] = columns.pop("event_id")
    keys = list(columns)
    return [dict(zip(keys, values, strict=True)) for values in zip(*columns.values(), strict=True)]
