"""Answers as Arrow streams: how one is written, read as it comes, and how its end tells whether it is whole.

A stream is what the Arrow IPC format says, so that any Arrow reader reads it: a schema, record batches, the mark of its
end. What is ours stands where Arrow has room for it:

- a page's state is JSON in the schema's metadata, under PAGE;
- a whole answer ends with an empty batch whose own metadata has END: `{"complete", "rows", "incomplete": [...]}`. If it
  is not complete, a message that was begun and has no rest follows in place of the mark: a reader that knows nothing of
  END fails there, after the last row. A stream without END was cut off.
"""

from __future__ import annotations

import io
import json
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import pyarrow as pa

from ess_ray.core.arrow_stream import body_bytes
from ess_ray.core.errors import CorruptData

MEDIA_TYPE: Final = "application/vnd.apache.arrow.stream"
PAGE: Final = b"ess.page"
END: Final = b"ess.end"
_PREFIX: Final = struct.Struct("<ii")
_CONTINUATION: Final = -1
_UNFINISHED: Final = _PREFIX.pack(_CONTINUATION, 8)
"""The beginning of a message that never comes: readers ask for its eight bytes, and find the end."""
MAX_METADATA_BYTES: Final = 64 * 1024 * 1024
"""Of one message: a schema of ours has some thousand bytes; more is no stream of ours, and nothing is kept waiting."""


@dataclass(frozen=True, slots=True)
class End:
    """How a whole answer ended: whether it has everything, its rows, and what is missing, for people."""

    complete: bool
    rows: int
    incomplete: tuple[str, ...] = ()

    def told(self) -> bytes:
        """Give it as END has it."""
        return json.dumps({"complete": self.complete, "rows": self.rows, "incomplete": self.incomplete}).encode()

    @classmethod
    def read(cls, text: bytes) -> End:
        """Read what `told` gave. Raises CorruptData."""
        try:
            value = json.loads(text)
            return cls(bool(value["complete"]), int(value["rows"]), tuple(map(str, value["incomplete"])))
        except (ValueError, KeyError, TypeError) as error:
            raise CorruptData(f"the end of an Arrow stream does not tell how it ended: {error}") from error


class StreamWriter:
    """Writes one stream piece by piece; each call gives the bytes that are final by now."""

    def __init__(self, schema: pa.Schema, metadata: Mapping[bytes, bytes] | None = None) -> None:
        self._schema = schema.with_metadata(metadata)
        self._out = io.BytesIO()
        # zstd: every reader of compressed streams has it, and events shrink to a fifth.
        options = pa.ipc.IpcWriteOptions(compression="zstd")
        self._writer = pa.ipc.new_stream(self._out, self._schema, options=options)
        self._rows = 0

    def add(self, rows: pa.Table) -> bytes:
        """Write rows of the schema."""
        self._writer.write_table(rows.replace_schema_metadata(self._schema.metadata))
        self._rows += len(rows)
        return self._drain()

    def close(self) -> bytes:
        """End a stream whose schema tells all that is to be known."""
        self._writer.close()
        return self._drain()

    def end(self, incomplete: Sequence[str] = ()) -> bytes:
        """End a whole answer, telling whether it is one."""
        end = End(not incomplete, self._rows, tuple(incomplete))
        nothing = pa.RecordBatch.from_pylist([], self._schema)
        self._writer.write_batch(nothing, custom_metadata={END: end.told()})
        return self._drain() + _UNFINISHED if incomplete else self.close()

    def _drain(self) -> bytes:
        data = self._out.getvalue()
        self._out.seek(0)
        self._out.truncate()
        return data


class StreamReader:
    """Reads one stream as its bytes come, a batch at a time. No I/O: it is fed."""

    def __init__(self) -> None:
        self._waiting = bytearray()
        self._first: bytes | None = None
        self.schema: pa.Schema | None = None
        """Once its message has come."""
        self.end: End | None = None
        """Once an answer has told how it ended."""
        self.closed = False
        """Whether the mark of the stream's end has come."""

    def feed(self, data: bytes) -> Iterator[pa.RecordBatch]:
        """Take bytes, and give the batches that are whole by now. Raises CorruptData for what is no stream."""
        self._waiting += data
        while (message := self._next_message()) is not None:
            if self._first is None:
                self._first = message
                self.schema = _opened(message).schema
                continue
            batch, metadata = _batch_of(self._first, message)
            if metadata is not None and END in metadata:
                self.end = End.read(metadata[END])
            elif len(batch):
                yield batch

    def page(self) -> dict[str, Any]:
        """Give what the schema's metadata tells of a page. Raises CorruptData."""
        metadata = {} if self.schema is None else self.schema.metadata or {}
        try:
            told: dict[str, Any] = json.loads(metadata[PAGE])
        except (KeyError, ValueError) as error:
            raise CorruptData(f"an Arrow stream is no page of an answer: {error!r}") from error
        return told

    def _next_message(self) -> bytes | None:
        if self.closed or len(self._waiting) < _PREFIX.size:
            return None
        mark, metadata_bytes = _PREFIX.unpack_from(self._waiting)
        if mark != _CONTINUATION or not 0 <= metadata_bytes <= MAX_METADATA_BYTES:
            raise CorruptData("this is no Arrow stream: a message begins without its mark")
        if not metadata_bytes:
            self.closed = True
            return None
        body_at = _PREFIX.size + metadata_bytes
        if len(self._waiting) < body_at:
            return None
        try:
            size = body_at + body_bytes(memoryview(bytes(self._waiting[_PREFIX.size : body_at])))
        except ValueError as error:
            raise CorruptData(f"a message of an Arrow stream cannot be read: {error}") from error
        if len(self._waiting) < size:
            return None
        message = bytes(self._waiting[:size])
        del self._waiting[:size]
        return message


def _opened(data: bytes) -> pa.RecordBatchStreamReader:
    try:
        return pa.ipc.open_stream(data)
    except pa.ArrowInvalid as error:
        raise CorruptData(f"an Arrow stream cannot be read: {error}") from error


def _batch_of(schema: bytes, message: bytes) -> tuple[pa.RecordBatch, Mapping[bytes, bytes] | None]:
    try:
        found = _opened(schema + message).read_next_batch_with_custom_metadata()
    except (pa.ArrowInvalid, OSError, StopIteration) as error:
        raise CorruptData(f"a batch of an Arrow stream cannot be read: {error}") from error
    return found.batch, found.custom_metadata
