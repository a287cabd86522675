"""Scan tasks and their results as JSON values: what goes to a Lambda invocation and comes back from it.

A task is an object of JSON, since Lambda takes nothing else. Of a result the rows are an Arrow IPC stream: in the
answer as base64, or in a store where the answer would be larger than Lambda hands over. Needs neither pickle nor
pydantic, so that a function's package is small and an answer can run nothing. May live here: encoding, decoding, their
limits. May not: who sends it where.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any, Final
from uuid import uuid4

import pyarrow as pa
from pyarrow import ipc

from ess_ray.core.aggregate import Counting, FieldNames, Grouping, LocalClock
from ess_ray.core.errors import BadRequest, CorruptData
from ess_ray.core.event import EVENT_SCHEMA
from ess_ray.core.merge import EMPTY
from ess_ray.core.operators import decode_node
from ess_ray.core.query import Field, Query
from ess_ray.ports import ObjectEntry, ObjectStore, ScanResult, ScanTask

FORMAT: Final = 4
"""Of tasks and answers: a function of another format refuses the task, so that it is deployed anew."""
MAX_PAYLOAD_BYTES: Final = 6_291_556
"""Lambda's limit for a request, and for an answer, of a synchronous invocation."""
MAX_INLINE_BYTES: Final = MAX_PAYLOAD_BYTES - 512 * 1024
"""Of rows as base64: room is left for figures, and for the reasons of a task whose every object failed."""
MAX_REASON_CHARS: Final = 1_000
"""Of a failure: a task of 512 objects then stays within the room that is left."""
_ENTRY: Final = ("key", "size", "tenant", "date", "hour", "rows", "min_us", "max_us", "modified_us")
_ENTRY_TEXTS: Final = frozenset({"key", "tenant", "date"})
_FLAGS: Final = tuple(field.name for field in fields(ScanTask) if field.type == "bool")
"""Of a task: those that it has are carried, without anything being added here."""
_FIGURES: Final = ("rows_matched", "bytes_read", "gets", "duplicates_suppressed", "footer_hits", "footer_misses")


def encode_task(task: ScanTask) -> dict[str, Any]:
    """Give a task as JSON values."""
    return {
        "format": FORMAT,
        "tenant": task.tenant,
        "query": encode_query(task.query),
        "entries": [[getattr(entry, name) for name in _ENTRY] for entry in task.entries],
        "grouping": None if task.grouping is None else _encode_grouping(task.grouping),
        **{name: getattr(task, name) for name in _FLAGS},
    }


def decode_task(value: Any) -> ScanTask:
    """Read what `encode_task` gave. Raises BadRequest for anything else."""
    _check_format(value, "a scan task")
    try:
        return ScanTask(
            _text(value["tenant"]),
            decode_query(value["query"]),
            tuple(_decode_entry(entry) for entry in value["entries"]),
            grouping=None if value["grouping"] is None else _decode_grouping(value["grouping"]),
            **{name: bool(value[name]) for name in _FLAGS},
        )
    except (KeyError, TypeError, ValueError, IndexError, RecursionError, OverflowError) as error:
        raise BadRequest(f"this is no scan task of format {FORMAT}: {type(error).__name__}: {error}") from None


def encode_query(query: Query) -> dict[str, Any]:
    """Give a query as JSON values."""
    return {
        "root": query.root.encoded(),
        "start_us": query.start_us,
        "end_us": query.end_us,
        "limit": query.limit,
        "order": query.order,
    }


def decode_query(value: Any) -> Query:
    """Read what `encode_query` gave. Raises KeyError, TypeError, ValueError, IndexError or RecursionError."""
    if value["order"] not in ("newest", "oldest"):
        raise ValueError(f"order {value['order']!r}")
    root = decode_node(value["root"])
    start_us, end_us = (None if value[name] is None else _integer(value[name]) for name in ("start_us", "end_us"))
    return Query(root, start_us, end_us, _integer(value["limit"]), value["order"])


def _decode_entry(values: Sequence[Any]) -> ObjectEntry:
    told: dict[str, Any] = {
        name: _text(value) if name in _ENTRY_TEXTS else _integer(value)
        for name, value in zip(_ENTRY, values, strict=True)
    }
    return ObjectEntry(**told)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{str(value)[:80]!r} is no text")
    return value


def _integer(value: Any) -> int:
    """Take a whole number that fits 64 bits: what comes of others is known only when it is too late."""
    if not isinstance(value, int) or not -(2**63) <= value < 2**63:
        raise TypeError(f"{str(value)[:80]!r} is no whole number of 64 bits")
    return value


def encode_result(result: ScanResult, answers: ObjectStore) -> dict[str, Any]:
    """Give a result as JSON values; rows that are too many for an answer are put into `answers`. Raises Unavailable.

    Counts take the place of the rows, which a result that has counts does not have.
    """
    stream = _to_stream(result.rows if result.counts is None else result.counts)
    answer: dict[str, Any] = {
        "format": FORMAT,
        "counted": result.counts is not None,
        **{name: getattr(result, name) for name in _FIGURES},
        "failed": [[key, reason[:MAX_REASON_CHARS]] for key, reason in result.failed],
    }
    if stream.size * 4 // 3 <= MAX_INLINE_BYTES:
        return {**answer, "rows": base64.b64encode(stream).decode("ascii")}
    key = f"{uuid4().hex}.arrow"
    answers.put(key, stream)
    return {**answer, "rows_at": key}


def decode_result(value: Any, answers: ObjectStore) -> ScanResult:
    """Read what `encode_result` gave; rows that lie in `answers` are fetched, and deleted there.

    Raises BadRequest for another format, CorruptData for what is none, NotFound and Unavailable as the store does.
    """
    _check_format(value, "an answer of the scan function")
    try:
        failed = tuple((str(key), str(reason)) for key, reason in value["failed"])
        figures = {name: int(value[name]) for name in _FIGURES}
        rows, counts = _from_stream(_stream_of(value, answers)), None
        if value["counted"]:
            rows, counts = EMPTY, rows
        _check_columns(rows, counts)
    except (KeyError, TypeError, ValueError, binascii.Error, pa.ArrowException) as error:
        raise CorruptData(f"the scan function's answer cannot be read: {type(error).__name__}: {error}") from error
    if "rows_at" in value:
        answers.delete(value["rows_at"])
    return ScanResult(rows, failed=failed, counts=counts, **figures)


def _check_columns(rows: pa.Table, counts: pa.Table | None) -> None:
    """Raise ValueError for what are no events, and no counts."""
    if not rows.schema.equals(EVENT_SCHEMA):
        raise ValueError("its rows have other columns")
    if counts is not None and not {"start_us", "other", "count"} <= set(counts.column_names):
        raise ValueError("its counts have other columns")


def _check_format(value: Any, what: str) -> None:
    told = value.get("format") if isinstance(value, Mapping) else None
    if told != FORMAT:
        raise BadRequest(
            f"{what} has format {told!r}, {FORMAT} is spoken here: system and function are of different versions; "
            "deploy the function anew (ess lambda package)"
        )


def _stream_of(value: Mapping[str, Any], answers: ObjectStore) -> pa.Buffer:
    if "rows_at" not in value:
        return pa.py_buffer(base64.b64decode(value["rows"], validate=True))
    key = value["rows_at"]
    info = answers.head(key)
    return pa.py_buffer(answers.get_range(key, 0, info.size if info is not None else 1))


def _to_stream(rows: pa.Table) -> pa.Buffer:
    sink = pa.BufferOutputStream()
    with ipc.new_stream(sink, rows.schema, options=ipc.IpcWriteOptions(compression="zstd")) as writer:
        writer.write_table(rows)
    return sink.getvalue()


def _from_stream(stream: pa.Buffer) -> pa.Table:
    with ipc.open_stream(stream) as reader:
        return reader.read_all()


def _encode_grouping(counting: Counting) -> list[Any]:
    match counting:
        case Grouping(interval_us, by, clock):
            return ["groups", interval_us, [_of(field) for field in by], clock.since_us, clock.ahead_us]
        case FieldNames():
            return ["field names"]


def _decode_grouping(value: Sequence[Any]) -> Counting:
    match value:
        case ["groups", int() | None as interval_us, [*by], [*since_us], [*ahead_us]]:
            if interval_us is not None and _integer(interval_us) < 1:
                raise ValueError(f"an interval of {interval_us} us")
            fields_by = tuple(Field(str(name), bool(attribute)) for name, attribute in by)
            return Grouping(interval_us, fields_by, _decode_clock(since_us, ahead_us))
        case ["field names"]:
            return FieldNames()
    raise ValueError(f"nothing to count by: {str(value)[:80]}")


def _decode_clock(since_us: Sequence[Any], ahead_us: Sequence[Any]) -> LocalClock:
    if not since_us or len(since_us) != len(ahead_us):
        raise ValueError("a clock without a time for each of its offsets")
    return LocalClock(tuple(map(_integer, since_us)), tuple(map(_integer, ahead_us)))


def _of(field: Field) -> tuple[str, bool]:
    return field.name, field.attribute
