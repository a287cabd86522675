"""What an OTLP record becomes, in both encodings: the mapping one by one."""

from __future__ import annotations

import math
from hashlib import sha256
from typing import Any

import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord

from ess_ray.core.event import MAX_EVENT_BYTES
from ess_ray.intake.fields import FIELD_TABLE
from ess_ray.intake.formats.format import Body
from ess_ray.intake.formats.otlp import OTLP_LOGS
from tests.otlp import JSON, PROTOBUF, encoded, record, request_of, resource_of, scope_of
from tests.otlp_rows import LIMITS, NOW_NS, NOW_US, SPAN, TRACE, attributes_of, decode, encoding, row_of, rows_of, shown

__all__ = ["encoding"]


def test_a_whole_record(encoding: str) -> None:
    log = record(
        "hello",
        {"http.request.method": "GET", "count": 3, "ratio": 0.5, "ok": True, "tags": ["a", 1]},
        time_unix_nano=NOW_NS - 1_999,
        observed_time_unix_nano=NOW_NS,
        severity_number=10,
        severity_text="warning",
        trace_id=TRACE,
        span_id=SPAN,
        flags=1,
        dropped_attributes_count=2,
        event_name="my.event",
    )
    scope = scope_of([log], "my.logger", "1.2", of="scope")
    resource = {"service.name": "shop", "host.name": "web-1", "region": "eu"}
    request = ExportLogsServiceRequest(resource_logs=[resource_of([scope], resource)])
    assert rows_of(request, encoding) == [
        {
            "timestamp": NOW_US - 2,
            "level": "WARN",
            "severity_number": 10,
            "service": "shop",
            "host": "web-1",
            "message": "hello",
            "trace_id": TRACE.hex(),
            "span_id": SPAN.hex(),
            "attributes": {
                "http.request.method": "GET",
                "count": "3",
                "ratio": "0.5",
                "ok": "true",
                "tags": '["a",1]',
                "event_name": "my.event",
                "flags": "1",
                "dropped_attributes_count": "2",
                "otel.observed_timestamp": str(NOW_NS),
                "of": "scope",
                "scope.name": "my.logger",
                "scope.version": "1.2",
                "region": "eu",
            },
            "attribute_types": "snnbjsnnnssss",
        }
    ]


def test_observed_timestamp_is_that_of_receipt(encoding: str) -> None:
    body = encoded(request_of(record("m", observed_time_unix_nano=NOW_NS - 10**9)), encoding)
    observed = decode(body, encoding).batch.column("observed_timestamp").cast("int64").to_pylist()
    assert observed == [NOW_US]


@pytest.mark.parametrize(
    ("time_ns", "observed_ns", "expected_us"),
    [
        (NOW_NS - 5_000, NOW_NS, NOW_US - 5),
        (0, NOW_NS - 7_999, NOW_US - 8),
        (0, 0, NOW_US),
        (NOW_NS + 600 * 10**9, 0, NOW_US + 600 * 10**6),
    ],
)
def test_times(encoding: str, time_ns: int, observed_ns: int, expected_us: int) -> None:
    log = record("m", {"time": "2020-01-01T00:00:00Z"}, time_unix_nano=time_ns, observed_time_unix_nano=observed_ns)
    row = row_of(encoding, log)
    assert (row["timestamp"], row["attributes"]["time"]) == (expected_us, "2020-01-01T00:00:00Z")


@pytest.mark.parametrize("time_ns", [1_000, NOW_NS + 601 * 10**9, 2**64 - 1, 2**63])
def test_a_time_that_no_event_has_is_that_of_receipt_and_the_original_is_kept(encoding: str, time_ns: int) -> None:
    decoded = decode(encoded(request_of(record("m", time_unix_nano=time_ns)), encoding), encoding)
    (row,) = shown(decoded)
    assert row["timestamp"] == NOW_US
    assert row["attributes"] == {"original_timestamp": str(time_ns)}
    ((index, why),) = decoded.adjusted
    assert index == 0
    assert "time of receipt" in why


@pytest.mark.parametrize(
    ("number", "text", "level", "stored"),
    [
        (0, "", None, None),
        (1, "", "TRACE", 1),
        (4, "", "TRACE", 4),
        (5, "", "DEBUG", 5),
        (9, "", "INFO", 9),
        (12, "", "INFO", 12),
        (13, "", "WARN", 13),
        (17, "", "ERROR", 17),
        (21, "", "FATAL", 21),
        (24, "", "FATAL", 24),
        (25, "", None, 25),
        (17, "Critical", "CRITICAL", 17),
        (0, "err", "ERROR", 17),
        (0, "odd", "ODD", None),
        (9, "  ", "INFO", 9),
    ],
)
def test_levels(encoding: str, number: int, text: str, level: str | None, stored: int | None) -> None:
    row = row_of(encoding, record("m", severity_number=number, severity_text=text))
    assert (row.get("level"), row.get("severity_number")) == (level, stored)


def test_without_a_severity_an_attribute_may_tell_it(encoding: str) -> None:
    row = row_of(encoding, record("m", {"level": "error", "x": "y"}))
    assert (row["level"], row["severity_number"], row["attributes"]) == ("ERROR", 17, {"x": "y"})
    told = row_of(encoding, record("m", {"level": "error"}, severity_number=9))
    assert (told["level"], told["attributes"]) == ("INFO", {"level": "error"})


@pytest.mark.parametrize(
    ("body", "message", "attributes"),
    [
        ("text", "text", {}),
        ("", "", {}),
        ("a line\r\n", "a line", {}),
        (" nul \0 stays ", " nul \0 stays ", {}),
        (5, "5", {}),
        (2**63 - 1, str(2**63 - 1), {}),
        (0.25, "0.25", {}),
        (True, "true", {}),
        (b"\x00\xff", "AP8=", {}),
        ([1, "a", None, b"\xff", [2**62]], f'[1,"a",null,"/w==",[{2**62}]]', {}),
        ({"a": 2**62, "b": b"\xff"}, '{"a":4611686018427387904,"b":"/w=="}', {}),
        ({"message": "m", "a": 1, "b": {"c": "d"}}, "m", {"body.a": "1", "body.b.c": "d"}),
        ({"msg": "m\n", "message": 5}, "m", {"body.message": "5"}),
        ({"body": "b", "msg": "m"}, "m", {"body.body": "b"}),
        ({"log": "l"}, '{"log":"l"}', {}),
        ({}, "{}", {}),
        ([], "[]", {}),
        (math.inf, "Infinity", {}),
        (-math.inf, "-Infinity", {}),
        (math.nan, "NaN", {}),
    ],
)
def test_bodies(encoding: str, body: Any, message: str, attributes: dict[str, str]) -> None:
    row = row_of(encoding, record(body))
    assert (row["message"], row["attributes"]) == (message, attributes)


@pytest.mark.parametrize(
    ("log", "message", "attributes"),
    [
        (record(event_name="ordered"), "ordered", {"event_name": "ordered"}),
        (record(None, {"message": "m", "a": "b"}), "m", {"a": "b"}),
        (record(None, {"a": "b", "n": 1}), '{"a":"b","n":1}', {"a": "b", "n": "1"}),
        (record(), "", {}),
        (record("m", {"message": "other"}), "m", {"message": "other"}),
    ],
)
def test_without_a_body(encoding: str, log: LogRecord, message: str, attributes: dict[str, str]) -> None:
    row = row_of(encoding, log)
    assert (row["message"], row["attributes"]) == (message, attributes)


def test_the_record_goes_before_its_scope_and_that_before_the_resource_and_all_are_kept(encoding: str) -> None:
    scope = scope_of([record("m", {"a": "record", "b.c": "record"}), record("n")], "name", a="scope", b={"c": "scope"})
    resource = resource_of([scope], {"a": "resource", "b.c#2": "own", "scope.name": "resource"})
    first, second = rows_of(ExportLogsServiceRequest(resource_logs=[resource]), encoding)
    assert first["attributes"] == {
        **{"a": "record", "a#2": "scope", "a#3": "resource"},
        **{"b.c": "record", "b.c#2": "own", "b.c#3": "scope"},
        **{"scope.name": "name", "scope.name#2": "resource"},
    }
    assert second["attributes"] == {
        **{"a": "scope", "a#2": "resource", "b.c": "scope", "b.c#2": "own"},
        **{"scope.name": "name", "scope.name#2": "resource"},
    }


def test_of_a_key_that_is_there_twice_the_last_one_counts(encoding: str) -> None:
    assert attributes_of(encoding, record("m", [("a", 1), ("b", 2), ("a", 3)])) == {"a": "3", "b": "2"}


def test_our_own_names_are_not_taken(encoding: str) -> None:
    assert attributes_of(encoding, record("m", {"_ess.offset": "7", "id": "x", "timestamp": "t"})) == {
        "_ess.offset#2": "7",
        "id": "x",
        "timestamp": "t",
    }


def test_fields_are_found_by_the_names_that_count_everywhere_of_the_record_first(encoding: str) -> None:
    log = record("m", {"service": "billing", "k8s": {"pod": "p"}, "dd.trace_id": "ABC"})
    row = row_of(encoding, log, service__name="unknown_service", hostname="h")
    assert (row["service"], row["host"], row["trace_id"]) == ("billing", "h", "abc")
    assert row["attributes"] == {"k8s.pod": "p", "service.name": "unknown_service"}
    assert row_of(encoding, record("m"), service__name="unknown_service:python")["service"] == "unknown_service:python"


def test_names_of_a_tenants_own_count(encoding: str) -> None:
    table = FIELD_TABLE.with_names({"service": ["team"]})
    body = encoded(request_of(record("m"), team="blue", service__name="shop"), encoding)
    (row,) = shown(OTLP_LOGS.decode(Body(body, encoding, table), NOW_US, LIMITS))
    assert (row["service"], row["attributes"]) == ("blue", {"service.name": "shop"})


def test_ids_of_zeros_are_none_and_the_records_own_go_first(encoding: str) -> None:
    row = row_of(encoding, record("m", {"trace_id": "ab"}, trace_id=bytes(16), span_id=SPAN))
    assert (row["trace_id"], row["span_id"]) == ("ab", SPAN.hex())
    row = row_of(encoding, record("m", {"trace_id": "ab"}, trace_id=TRACE))
    assert row["trace_id"] == TRACE.hex()


def test_a_uid_identifies_a_record_and_both_encodings_agree_on_what_it_is(encoding: str) -> None:
    logs = [record("m", {"log.record.uid": "u", "a": 1}), record("n", {"log.record.uid": "u"}), record("m", {"a": 1})]
    request = request_of(*logs, region="eu")
    ids, hashes = (decode(encoded(request, encoding), encoding).batch.column(n) for n in ("event_id", "event_hash"))
    assert ids.to_pylist() == ["u", "u", None]
    one, other, none = hashes.to_pylist()
    assert one != other
    assert none is None
    assert hashes.equals(decode(encoded(request, PROTOBUF), PROTOBUF).batch.column("event_hash"))
    elsewhere = decode(encoded(request_of(*logs, region="us"), encoding), encoding).batch.column("event_hash")
    assert elsewhere.to_pylist()[0] != one
    assert attributes_of(encoding, logs[0]) == {"a": "1"}


def test_a_long_uid_is_its_hash(encoding: str) -> None:
    row = row_of(encoding, record("m", {"log.record.uid": "x" * 129}))
    assert row["event_id"] == sha256(b"x" * 129).hexdigest()


def test_what_is_too_large_or_too_deep_is_rejected_alone(encoding: str) -> None:
    deep: Any = "x"
    for _ in range(30):
        deep = [deep]
    logs = [record("a"), record("x" * (MAX_EVENT_BYTES + 1)), record("b"), record("c", {"deep": deep})]
    decoded = decode(encoded(request_of(*logs), encoding), encoding)
    assert decoded.batch.column("message").to_pylist() == ["a", "b", "c"]
    ((index, why),) = decoded.rejected
    assert (index, "larger than" in why) == (1, True)


def test_a_resource_that_is_too_large_for_any_event_rejects_its_records_alone(encoding: str) -> None:
    large = resource_of([scope_of([record("a"), record("b", {"app": "x"})])], {"x": "y" * (MAX_EVENT_BYTES + 1)})
    request = ExportLogsServiceRequest(resource_logs=[large, resource_of([scope_of([record("c")])])])
    decoded = decode(encoded(request, encoding), encoding)
    assert decoded.batch.column("message").to_pylist() == ["c"]
    assert [index for index, _ in decoded.rejected] == [0, 1]


def test_a_request_may_be_empty() -> None:
    for body, kind in ((b"", PROTOBUF), (b"{}", JSON), (b'{"resourceLogs":null,"other":1}', JSON), (b"", None)):
        assert len(decode(body, kind).batch) == 0
