"""Kafka's record batches without a broker: how appends are cut, and that damage is told."""

from __future__ import annotations

import pytest
from aiokafka.record.default_records import DefaultRecordBatchBuilder

from ess_ray.adapters.kafka_append import MAX_BATCH_BYTES, cut_batches
from ess_ray.adapters.kafka_log import decode_batches
from ess_ray.core.errors import CorruptData
from ess_ray.ports import MAX_RECORD_BYTES, Record

BROKER_MAX_BYTES = 1_048_588
"""Kafka's default `max.message.bytes`, which counts a whole batch."""


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
