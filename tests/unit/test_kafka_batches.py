"""Kafka's record batches without a broker: how appends are cut, what others write, and that damage is told."""

from __future__ import annotations

import struct
from typing import Final

import pytest
from aiokafka.codec import gzip_encode
from aiokafka.errors import CorruptRecordException
from aiokafka.record.default_records import DefaultRecordBatchBuilder, _DefaultRecordBatchPy
from aiokafka.record.util import calc_crc32c

from ess_ray.adapters.kafka_append import MAX_BATCH_BYTES, cut_batches
from ess_ray.adapters.kafka_batches import records_of
from ess_ray.adapters.kafka_log import decode_batches
from ess_ray.core.errors import CorruptData
from ess_ray.ports import MAX_RECORD_BYTES, Record, StoredRecord

BROKER_MAX_BYTES = 1_048_588
"""Kafka's default `max.message.bytes`, which counts a whole batch."""
PLAIN: Final = 0
GZIP: Final = 1
LOG_APPEND_TIME: Final = 1 << 3
"""The flag of a batch whose time is the broker's."""


def batch_of(records: list[Record]) -> bytes:
    builder = DefaultRecordBatchBuilder(
        2, 0, is_transactional=0, producer_id=1, producer_epoch=0, base_sequence=0, batch_size=1 << 30
    )
    for i, record in enumerate(records):
        builder.append(i, 1, None, record.value, list(record.headers))
    return bytes(builder.build())


@pytest.mark.parametrize(
    "records",
    [
        [Record(0, b"x" * MAX_RECORD_BYTES, (("idempotency-key", b"k" * 100),))] * 3,
        [Record(0, b"", (("a", b""),) * 7)] * 20_000,
        [Record(0, b"x" * 999)] * 5_000,
        [Record(0, b"")] * 50_000,
    ],
)
def test_a_cut_keeps_order_and_every_batch_fits_the_broker(records: list[Record]) -> None:
    batches = cut_batches(records)
    assert [record for batch in batches for record in batch] == records
    assert all(len(batch_of(batch)) <= BROKER_MAX_BYTES for batch in batches)
    assert all(sum(len(r.value) for r in batch) <= MAX_BATCH_BYTES for batch in batches)


def test_a_call_that_fits_is_one_batch() -> None:
    assert len(cut_batches([Record(0, b"x" * 1000)] * 900)) == 1
    assert cut_batches([]) == []


def test_damage_is_told_and_never_read() -> None:
    data = batch_of([Record(0, b"first"), Record(0, b"second")])
    found, next_offset = decode_batches(data, 0, 0, 1 << 20)
    assert [record.value for record in found] == [b"first", b"second"]
    assert next_offset == 2
    damaged = bytearray(data)
    damaged[-3] ^= 1
    with pytest.raises(CorruptData, match="virtual node 4"):
        decode_batches(bytes(damaged), 4, 0, 1 << 20)


def test_a_batch_that_was_cut_off_is_left_for_the_next_read() -> None:
    one, two = batch_of([Record(0, b"first")]), batch_of([Record(0, b"second")])
    found, next_offset = decode_batches(one + two[:-1], 0, 0, 1 << 20)
    assert [record.value for record in found] == [b"first"]
    assert next_offset == 1


# ----------------------------------------------------------------------------------------- header keys that are no text
LATIN_1: Final = "größe".encode("latin-1")
FOREIGN: Final = [
    Record(0, b'{"message":"before"}', (("größe", b"1"), ("trace", b"\xff"))),
    Record(0, LATIN_1, (("ok", b""), ("grXXe", LATIN_1), ("grXXe", b"\xff"), ("end", b"e"))),
    Record(0, b'{"message":"after"}', (("after", b"a"),)),
]
"""The second one's `grXXe` stands for LATIN_1, which is as long."""
READ: Final = [
    StoredRecord(41, b'{"message":"before"}', (("größe", b"1"), ("trace", b"\xff")), 7_000),
    StoredRecord(
        42, LATIN_1, (("ok", b""), ("gr\ufffd\ufffde", LATIN_1), ("gr\ufffd\ufffde", b"\xff"), ("end", b"e")), 7_000
    ),
    StoredRecord(43, b'{"message":"after"}', (("after", b"a"),), 7_000),
]


def foreign_batch(codec: int) -> bytes:
    """Give FOREIGN as a broker keeps it that took it at 7 ms: a client in C may send any bytes as a key."""
    batch = batch_of(FOREIGN)
    head, records = bytearray(batch[:61]), batch[61:].replace(b"grXXe", LATIN_1)
    records = gzip_encode(records) if codec == GZIP else records
    struct.pack_into(">qi", head, 0, READ[0].offset, len(head) - 12 + len(records))
    struct.pack_into(">h", head, 21, codec | LOG_APPEND_TIME)
    struct.pack_into(">q", head, 35, 7)
    struct.pack_into(">I", head, 17, calc_crc32c(bytes(head[21:]) + records))
    return bytes(head) + records


@pytest.mark.parametrize("codec", [PLAIN, GZIP])
def test_a_header_key_that_is_no_utf8_costs_no_record(codec: int) -> None:
    good = batch_of([Record(0, b"first")] * 41), batch_of([Record(0, b"last")])
    last = struct.pack(">q", 44) + good[1][8:]
    found, next_offset = decode_batches(good[0] + foreign_batch(codec) + last, 0, 0, 1 << 20)
    assert [record.offset for record in found] == list(range(45))
    assert list(found[41:44]) == READ
    assert {record.value for record in found[:41]} == {b"first"}
    assert found[44] == StoredRecord(44, b"last", (), None)
    assert next_offset == 45


@pytest.mark.parametrize("codec", [PLAIN, GZIP])
@pytest.mark.parametrize("position", [41, 42, 43, 44])
@pytest.mark.parametrize("max_bytes", [1, 30])
def test_a_read_may_begin_and_end_anywhere_around_such_a_key(codec: int, position: int, max_bytes: int) -> None:
    found, next_offset = decode_batches(foreign_batch(codec), 0, position, max_bytes)
    wanted = READ[position - 41 :]
    fits = 2 if max_bytes == 30 and position < 43 else 1
    assert list(found) == wanted[:fits]
    assert next_offset == min(position + fits, 44)


def test_it_costs_none_where_aiokafka_has_its_reader_in_python_either() -> None:
    """It has that one where its extension in C was not built; it tells of such a key in another way."""
    data = memoryview(foreign_batch(GZIP))
    found = list(records_of(_DefaultRecordBatchPy(data), data))
    assert [tuple(record.headers) for record in found] == [record.headers for record in READ]
    short = memoryview(foreign_batch(PLAIN)[:-1])
    with pytest.raises(CorruptRecordException):
        list(records_of(_DefaultRecordBatchPy(short), short))


@pytest.mark.parametrize("codec", [PLAIN, GZIP])
def test_damage_beside_such_a_key_is_told(codec: int) -> None:
    damaged = bytearray(foreign_batch(codec))
    damaged[-3] ^= 1
    with pytest.raises(CorruptData, match="virtual node 4"):
        decode_batches(bytes(damaged), 4, 0, 1 << 20)
