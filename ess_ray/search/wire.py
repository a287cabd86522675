"""Scan tasks and their results as JSON values: what goes to a Lambda invocation and comes back from it.

A task is an object of JSON, since Lambda takes nothing else; its collector stands there by name. What the collector
made is a table, whatever it is, and an Arrow IPC stream in the result: in the answer as base64, or in a store where the
answer would be larger than Lambda hands over. Needs neither pickle nor pydantic, so that a function's package is small
and an answer can run nothing.
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

from ess_ray.core.collect import ROWS, Collector, Partial, decode_collector, encode_collector, integer_of, text_of
from ess_ray.core.errors import BadRequest, CorruptData
from ess_ray.core.operators import decode_node
from ess_ray.core.query import Query
from ess_ray.ports import Cost, ObjectEntry, ObjectStore, ScanResult, ScanTask

FORMAT: Final = 5
"""Of tasks and answers: a function of another format refuses the task, so that it is deployed anew."""
MAX_PAYLOAD_BYTES: Final = 6_291_556
"""Lambda's limit for a request, and for an answer, of a synchronous invocation."""
MAX_INLINE_BYTES: Final = MAX_PAYLOAD_BYTES - 512 * 1024
"""Of a table as base64: room is left for figures, and for the reasons of a task whose every object failed."""
MAX_REASON_CHARS: Final = 1_000
"""Of a failure: a task of 512 objects then stays within the room that is left."""
_ENTRY: Final = ("key", "size", "tenant", "date", "hour", "rows", "min_us", "max_us", "modified_us")
_ENTRY_TEXTS: Final = frozenset({"key", "tenant", "date"})
_FLAGS: Final = tuple(field.name for field in fields(ScanTask) if field.type == "bool")
"""Of a task: those that it has are carried, without anything being added here."""
_FOUND: Final = ("rows_matched", "duplicates_suppressed")
_COST: Final = ("bytes_read", "gets", "footer_hits", "footer_misses")
"""Of a cost: what the function knows. What it is billed, only who invokes it is told."""


def encode_task(task: ScanTask) -> dict[str, Any]:
    """Give a task as JSON values."""
    return {
        "format": FORMAT,
        "tenant": task.tenant,
        "query": encode_query(task.query),
        "entries": [[getattr(entry, name) for name in _ENTRY] for entry in task.entries],
        "collector": encode_collector(task.collector),
        **{name: getattr(task, name) for name in _FLAGS},
    }


def decode_task(value: Any) -> ScanTask:
    """Read what `encode_task` gave. Raises BadRequest for anything else."""
    _check_format(value, "a scan task")
    try:
        return ScanTask(
            text_of(value["tenant"]),
            decode_query(value["query"]),
            tuple(_decode_entry(entry) for entry in value["entries"]),
            decode_collector(value["collector"]),
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
    start_us, end_us = (None if value[name] is None else integer_of(value[name]) for name in ("start_us", "end_us"))
    return Query(root, start_us, end_us, integer_of(value["limit"]), value["order"])


def _decode_entry(values: Sequence[Any]) -> ObjectEntry:
    told: dict[str, Any] = {
        name: text_of(value) if name in _ENTRY_TEXTS else integer_of(value)
        for name, value in zip(_ENTRY, values, strict=True)
    }
    return ObjectEntry(**told)


def encode_result(result: ScanResult, answers: ObjectStore) -> dict[str, Any]:
    """Give a result as JSON values; a table that is too large for an answer is put into `answers`. Raises Unavailable.

    What an invocation is billed is not in it.
    """
    stream = _to_stream(result.partial.table)
    answer: dict[str, Any] = {
        "format": FORMAT,
        **{name: getattr(result.partial, name) for name in _FOUND},
        **{name: getattr(result.cost, name) for name in _COST},
        "failed": [[key, reason[:MAX_REASON_CHARS]] for key, reason in result.failed],
    }
    if stream.size * 4 // 3 <= MAX_INLINE_BYTES:
        return {**answer, "table": base64.b64encode(stream).decode("ascii")}
    key = f"{uuid4().hex}.arrow"
    answers.put(key, stream)
    return {**answer, "table_at": key}


def decode_result(value: Any, answers: ObjectStore, collector: Collector = ROWS) -> ScanResult:
    """Read what `encode_result` gave of a task with this collector; a table that lies in `answers` is fetched, and
    deleted there.

    Raises BadRequest for another format, CorruptData for what is none, NotFound and Unavailable as the store does.
    """
    _check_format(value, "an answer of the scan function")
    try:
        failed = tuple((str(key), str(reason)) for key, reason in value["failed"])
        table = _from_stream(_stream_of(value, answers))
        if not table.schema.equals(collector.schema()):
            raise ValueError(f"its {collector.name} have other columns")
        partial = Partial(table, **{name: int(value[name]) for name in _FOUND})
        cost = Cost(**{name: int(value[name]) for name in _COST})
    except (KeyError, TypeError, ValueError, binascii.Error, pa.ArrowException) as error:
        raise CorruptData(f"the scan function's answer cannot be read: {type(error).__name__}: {error}") from error
    if "table_at" in value:
        answers.delete(value["table_at"])
    return ScanResult(partial, cost, failed)


def _check_format(value: Any, what: str) -> None:
    told = value.get("format") if isinstance(value, Mapping) else None
    if told != FORMAT:
        raise BadRequest(
            f"{what} has format {told!r}, {FORMAT} is spoken here: system and function are of different versions; "
            "deploy the function anew (ess lambda package)"
        )


def _stream_of(value: Mapping[str, Any], answers: ObjectStore) -> pa.Buffer:
    if "table_at" not in value:
        return pa.py_buffer(base64.b64decode(value["table"], validate=True))
    key = value["table_at"]
    info = answers.head(key)
    return pa.py_buffer(answers.get_range(key, 0, info.size if info is not None else 1))


def _to_stream(table: pa.Table) -> pa.Buffer:
    sink = pa.BufferOutputStream()
    with ipc.new_stream(sink, table.schema, options=ipc.IpcWriteOptions(compression="zstd")) as writer:
        writer.write_table(table)
    return sink.getvalue()


def _from_stream(stream: pa.Buffer) -> pa.Table:
    with ipc.open_stream(stream) as reader:
        return reader.read_all()
