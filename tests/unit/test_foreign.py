"""Foreign records: one JSON event each, told apart from ours by the header alone."""

from __future__ import annotations

from typing import Any

import pytest

from ess_ray.core.errors import CorruptData
from ess_ray.core.event import EVENT_SCHEMA, RECORD_SCHEMA
from ess_ray.intake.fields import FIELD_TABLE
from ess_ray.intake.foreign import decode_any
from ess_ray.intake.limits import IntakeLimits
from ess_ray.ports import StoredRecord
from ess_ray.record import DecodedRecord, decode_record, encode_records

NOW_US = 1_790_000_000_000_000
JSON = (("content-type", b"application/json"),)


def decode(value: bytes, headers: tuple[tuple[str, bytes], ...] = (), received_us: int | None = None) -> DecodedRecord:
    record = StoredRecord(7, value, headers, received_us)
    return decode_any(record, "log", 3, tenant="ops", now_us=NOW_US, limits=IntakeLimits())


def row(decoded: DecodedRecord) -> dict[str, Any]:
    assert decoded.batch.schema.equals(EVENT_SCHEMA)
    (only,) = decoded.batch.to_pylist()
    return dict(only)


@pytest.mark.parametrize("headers", [(), JSON, (("tenant", b"other"),)])
def test_a_json_event_is_read_whatever_its_other_headers(headers: tuple[tuple[str, bytes], ...]) -> None:
    decoded = decode(b'{"message": "hi\\nthere", "level": "warning", "host": "h", "facility": {"code": 4}}', headers)
    assert decoded.tenant == "ops", "the topic's tenant, never one that the record claims"
    assert decoded.request is None
    found = row(decoded)
    assert (found["message"], found["level"], found["host"]) == ("hi\nthere", "WARN", "h")
    assert dict(found["attributes"]) == {"facility.code": "4"}
    assert (found["log_id"], found["vnode"], found["offset"], found["row"]) == ("log", 3, 7, 0)


def test_an_event_without_a_time_has_that_of_its_receipt_however_late_it_is_read() -> None:
    late = decode(b'{"message": ""}', received_us=NOW_US - 3_600_000_000).batch
    for name in ("timestamp", "observed_timestamp"):
        assert late.column(name).cast("int64").to_pylist() == [NOW_US - 3_600_000_000]
    assert decode(b'{"message": ""}').batch.column("timestamp").cast("int64").to_pylist() == [NOW_US]


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (b"", "empty"),
        (b"<34>Oct 11 su: failed", "JSON"),
        (b"[]", "0 events"),
        (b'[{"message": "a"}, {"message": "b"}]', "2 events"),
        (b'[{"message": "a"}, {"no": "message"}]', "2 events"),
        (b'"text"', "event"),
        (b"[" * 100_000, "JSON"),
    ],
)
def test_what_is_not_one_valid_event_says_why(value: bytes, reason: str) -> None:
    with pytest.raises(CorruptData, match=rf"offset 7 of virtual node 3.*{reason}"):
        decode(value)


def test_an_event_without_a_message_or_with_an_impossible_time_is_kept() -> None:
    assert decode(b'{"kind": "x"}').batch.column("message").to_pylist() == ['{"kind":"x"}']
    old = decode(b'{"message": "a", "timestamp": "1970-01-01T00:00:00Z"}').batch
    assert old.column("attributes").to_pylist() == [[("original_timestamp", "1970-01-01T00:00:00Z")]]


def test_a_record_of_ours_is_read_as_such_and_never_as_json() -> None:
    (record,) = encode_records(decode(b'{"message": "x"}').batch.select(RECORD_SCHEMA.names), 3, "mine")
    stored = StoredRecord(9, record.value, record.headers)
    limits = IntakeLimits()
    ours = decode_any(stored, "log", 3, tenant="ops", now_us=NOW_US, limits=limits)
    assert ours.tenant == "mine"
    assert ours.batch.equals(decode_record(stored, "log", 3).batch)
    broken = StoredRecord(9, b'{"message": "x"}', record.headers)
    with pytest.raises(CorruptData, match="checksum"):
        decode_any(broken, "log", 3, tenant="ops", now_us=NOW_US, limits=limits)


def test_a_tenants_own_names_of_fields_count_here_too() -> None:
    limits = IntakeLimits(tables={"ops": FIELD_TABLE.with_names({"message": ["what"]})})
    record = StoredRecord(7, b'{"what": "hello", "msg": "other"}', ())
    for tenant, message in (("ops", "hello"), ("another", "other")):
        found = row(decode_any(record, "log", 3, tenant=tenant, now_us=NOW_US, limits=limits))
        assert found["message"] == message
