"""Kafka's record batches with every record in them, also one that has a header key that is no UTF-8.

Programs may send any bytes as a key, and brokers keep them; aiokafka refuses such a record, and all behind it with it.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from itertools import islice
from typing import Any, Final

from aiokafka.errors import CorruptRecordException
from aiokafka.record.default_records import DefaultRecord, DefaultRecordBatch, _DefaultRecordBatchPy
from aiokafka.record.memory_records import MemoryRecords

_LEADING: Final = struct.Struct(">qi")
"""What every batch begins with: its first offset, and how many bytes are behind these."""


def batches_of(data: bytes) -> Iterator[tuple[DefaultRecordBatch, memoryview]]:
    """Give the whole batches with their bytes. Raises CorruptRecordException."""
    batches, start = MemoryRecords(data), 0
    while (batch := batches.next_batch()) is not None:
        end = start + _LEADING.size + _LEADING.unpack_from(data, start)[1]
        yield batch, memoryview(data)[start:end]
        start = end


def records_of(batch: DefaultRecordBatch, data: memoryview) -> Iterator[DefaultRecord]:
    """Give a batch's records; `data`: its bytes. U+FFFD stands for what is no UTF-8 in the keys of headers.

    Raises CorruptRecordException, UnsupportedCodecError.
    """
    given = 0
    try:
        for record in batch:
            yield record
            given += 1
    except (UnicodeDecodeError, CorruptRecordException) as error:
        # aiokafka's reader in C raises the first as it is, that in Python as the cause of the second.
        if not isinstance(error.__cause__ or error, UnicodeDecodeError):
            raise
        yield from islice(_lenient(data), given, None)


def _lenient(data: memoryview) -> Iterator[DefaultRecord]:
    batch = iter(_DefaultRecordBatchPy(data))  # decompressed by this
    batch._buffer = _LenientBytes(batch._buffer)
    yield from batch


class _LenientBytes(bytearray):
    """Bytes whose slices decode as text whatever they are: aiokafka decodes nothing but keys of headers."""

    def __getitem__(self, at: Any) -> Any:
        found = super().__getitem__(at)
        return _LenientBytes(found) if isinstance(at, slice) else found

    def decode(self, encoding: str = "utf-8", errors: str = "replace") -> str:
        return super().decode(encoding, errors)
