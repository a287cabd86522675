"""What an OTLP record becomes, in both encodings: the mapping one by one, what is refused, and the answers."""

from __future__ import annotations

import json
import math
from hashlib import sha256
from typing import Any

import pytest
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest, ExportLogsServiceResponse
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord, ScopeLogs

from ess_ray.core.errors import BadRequest, TooLarge, Unsupported
from ess_ray.core.event import MAX_EVENT_BYTES, RECORD_SCHEMA
from ess_ray.intake.decoded import Decoded
from ess_ray.intake.fields import FIELD_TABLE
from ess_ray.intake.formats import otlp
from ess_ray.intake.formats.format import Body, Stored
from ess_ray.intake.formats.json_events import decode_events
from ess_ray.intake.formats.otlp import OTLP_LOGS
from ess_ray.intake.limits import IntakeLimits
from ess_ray.problem import Refusal
from tests.otlp import JSON, PROTOBUF, encoded, record, request_of, resource_of, scope_of

NOW_US = 1_790_000_000_000_000
NOW_NS = NOW_US * 1_000
LIMITS = IntakeLimits()
TRACE, SPAN = bytes(range(1, 17)), bytes(range(0xF1, 0xF9))


@pytest.fixture(params=[PROTOBUF, JSON], ids=["protobuf", "json"])
def encoding(request: pytest.FixtureRequest) -> str:
    kind: str = request.param
    return kind


def decode(body: bytes, content_type: str | None) -> Decoded:
    decoded = OTLP_LOGS.decode(Body(body, content_type), NOW_US, LIMITS)
    assert decoded.batch.schema.equals(RECORD_SCHEMA)
    decoded.batch.validate(full=True)
    return decoded


def shown(decoded: Decoded) -> list[dict[str, Any]]:
    """Give rows: times in microseconds, attributes as a dict, without what is null."""
    rows = []
    times = decoded.batch.column("timestamp").cast("int64").to_pylist()
    for row, us in zip(decoded.batch.to_pylist(), times, strict=True):
        attributes = row.pop("attributes") or []
        assert len(dict(attributes)) == len(attributes), "a key twice"
        del row["observed_timestamp"]
        rows.append(
            {key: value for key, value in row.items() if value is not None}
            | {"timestamp": us, "attributes": dict(attributes)}
        )
    return rows


def rows_of(request: ExportLogsServiceRequest, encoding: str) -> list[dict[str, Any]]:
    decoded = decode(encoded(request, encoding), encoding)
    assert decoded.rejected == []
    return shown(decoded)


def row_of(encoding: str, log: LogRecord, **resource: Any) -> dict[str, Any]:
    (row,) = rows_of(request_of(log, **resource), encoding)
    return row


def attributes_of(encoding: str, log: LogRecord, **resource: Any) -> dict[str, str]:
    attributes: dict[str, str] = row_of(encoding, log, **resource)["attributes"]
    return attributes


# ---------------------------------------------------------------------------------------------------------- mapping
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


# ------------------------------------------------------------------------------------------------- protobuf and JSON
def test_text_of_protobuf_that_is_no_utf8_is_replaced() -> None:
    log = record("body §", {"key §": "value §", "inner": {"k": ["§"]}}, event_name="§", trace_id="§".encode() * 8)
    body = request_of(log, region="§").SerializeToString().replace("§".encode(), b"\xff\xfe")
    (row,) = shown(decode(body, PROTOBUF))
    assert row["message"] == "body \ufffd\ufffd"
    assert row["trace_id"] == "fffe" * 8, "bytes are no text"
    assert row["attributes"] == {
        "key \ufffd\ufffd": "value \ufffd\ufffd",
        "inner.k": '["\ufffd\ufffd"]',
        "event_name": "\ufffd\ufffd",
        "region": "\ufffd\ufffd",
    }


@pytest.mark.parametrize(
    "body", [b"no protobuf", b"\x0a\xff", b"\x0a\x05abc", b"\x0a\x02\x12\x7f", b'{"resourceLogs":[]}', b"\x00\x01"]
)
def test_what_is_no_protobuf_is_refused(body: bytes) -> None:
    with pytest.raises(BadRequest, match="not OTLP logs"):
        decode(body, PROTOBUF)


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b" ", b"no json", b"5", b"[]", b'{"resourceLogs":{}}', b'{"resourceLogs":[5]}', b"{"),
        *(b'{"resourceLogs":[{"scopeLogs":5}]}', b'{"resourceLogs":[{"scopeLogs":[{"logRecords":{}}]}]}'),
        *(b'{"resourceLogs":[{"resource":5,"scopeLogs":[{}]}]}', b'{"resourceLogs":[{"scopeLogs":[{"scope":[]}]}]}'),
    ],
)
def test_what_is_no_json_of_otlps_is_refused(body: bytes) -> None:
    with pytest.raises(BadRequest):
        decode(body, JSON)


def json_row(log: Any) -> dict[str, Any]:
    document = {"resourceLogs": [{"scopeLogs": [{"logRecords": [log]}]}]}
    (row,) = shown(decode(json.dumps(document).encode(), JSON))
    return row


@pytest.mark.parametrize("time", [NOW_NS - 1_000, str(NOW_NS - 1_000), float(NOW_NS - 1_000_000)])
def test_integers_of_json_may_be_text_or_numbers(time: Any) -> None:
    row = json_row({"timeUnixNano": time, "body": {"intValue": "9007199254740993"}, "severityNumber": "9"})
    assert NOW_US - 1_001 <= row["timestamp"] <= NOW_US - 1
    assert (row["message"], row["level"]) == ("9007199254740993", "INFO")


def test_ids_of_json_are_hexadecimal_in_any_case_and_nothing_else_is_guessed() -> None:
    row = json_row({"traceId": "5B8EFFF798038103D269B633813FC60C", "spanId": "EEE19B7EC3C1B174"})
    assert (row["trace_id"], row["span_id"]) == ("5b8efff798038103d269b633813fc60c", "eee19b7ec3c1b174")


def test_what_json_has_besides_is_ignored_and_what_is_odd_in_a_record_is_kept() -> None:
    row = json_row(
        {
            "time_unix_nano": NOW_NS,
            "timeUnixNano": "soon",
            "severityNumber": "SEVERITY_NUMBER_ERROR2",
            "body": {"stringValue": "m", "other": 1},
            "attributes": [
                {"key": "raw", "value": "no AnyValue"},
                {"key": "number", "value": {"intValue": "x"}},
                {"key": "half", "value": {"doubleValue": "0.5"}},
                {"key": "no number", "value": {"doubleValue": "NaN"}},
                {"key": "huge", "value": {"doubleValue": "1e999"}},
                {"key": "empty", "value": {}},
                {"key": "list", "value": {"arrayValue": {}}},
                {"key": "map", "value": {"kvlistValue": {"values": [{"key": "a", "value": {"boolValue": True}}, 5]}}},
                7,
            ],
            "flags": "no",
        }
    )
    assert (row["message"], row["severity_number"], row["timestamp"]) == ("m", 18, NOW_US)
    assert row["attributes"] == {
        **{"raw": "no AnyValue", "number": "x", "half": "0.5", "no number": "NaN", "huge": "1e999"},
        **{"list": "[]", "map.a": "true", "original_timestamp": "soon"},
    }


def test_a_record_of_json_that_is_none_harms_no_other() -> None:
    document = {"resourceLogs": [{"scopeLogs": [{"logRecords": [5, {"body": {"stringValue": "m"}}]}]}]}
    decoded = decode(json.dumps(document).encode(), JSON)
    assert decoded.batch.column("message").to_pylist() == ["m"]
    assert [index for index, _ in decoded.rejected] == [0]


def test_json_that_is_nested_without_end_is_rejected_alone() -> None:
    deep = '{"arrayValue":{"values":[' * 300 + "]}}" * 300
    body = f'{{"resourceLogs":[{{"scopeLogs":[{{"logRecords":[{{"body":{deep}}},{{}}]}}]}}]}}'
    decoded = decode(body.encode(), JSON)
    assert len(decoded.batch) == 1
    assert [index for index, _ in decoded.rejected] == [0]


def test_bad_bytes_and_lone_surrogates_of_json_are_replaced() -> None:
    body = b'{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"body":{"stringValue":"\xff \\ud800"}}]}]}]}'
    assert decode(body, JSON).batch.column("message").to_pylist() == ["\ufffd \ufffd"]


@pytest.mark.parametrize(
    ("kind", "is_json"),
    [
        ("application/x-protobuf; charset=utf-8", False),
        ("Application/Protobuf", False),
        ("application/json; charset=utf-8", True),
        ("application/x-www-form-urlencoded", True),
        ("application/x-www-form-urlencoded", False),
        ("application/octet-stream", False),
        (None, True),
        (None, False),
    ],
)
def test_the_media_type_tells_the_encoding_and_where_it_says_nothing_the_bytes_do(
    kind: str | None, is_json: bool
) -> None:
    body = encoded(request_of(record("m")), JSON if is_json else PROTOBUF)
    assert decode(body, kind).batch.column("message").to_pylist() == ["m"]


def test_other_media_types_are_not_spoken() -> None:
    for read in (lambda body: OTLP_LOGS.decode(body, NOW_US, LIMITS), OTLP_LOGS.cut):
        with pytest.raises(Unsupported, match="text/xml"):
            read(Body(b"<a/>", "text/xml"))


# ------------------------------------------------------------------------------------------------------ large bodies
def large_request(count: int, resource: dict[str, Any]) -> ExportLogsServiceRequest:
    logs = [record(f"{number:06d} " + "x" * 200, {"n": number}) for number in range(count)]
    scopes = [scope_of(logs[: count // 3], "a"), ScopeLogs(), scope_of(logs[count // 3 :], "b")]
    small = [resource_of([scope_of([record(f"small {number}")])], {"of": number}) for number in range(20)]
    return ExportLogsServiceRequest(resource_logs=[*small, resource_of(scopes, resource), *small])


@pytest.mark.parametrize("resource", [{}, {"r": "x" * 5_000}])
def test_a_large_body_is_cut_and_its_pieces_are_the_whole(encoding: str, resource: dict[str, Any]) -> None:
    body = encoded(large_request(9_000, resource), encoding)
    given = Body(bytearray(body), encoding)
    assert OTLP_LOGS.may_be_several(given)
    pieces = OTLP_LOGS.cut(given)
    assert len(pieces) > 3
    assert pieces.body_hash == sha256(body).hexdigest()
    assert pieces.spans == OTLP_LOGS.cut(Body(body, encoding)).spans, "a repeat is cut otherwise"
    parts = [pieces.decode(number, FIELD_TABLE, NOW_US, LIMITS) for number in range(len(pieces))]
    assert all(part.rejected == [] for part in parts)
    assert all(part.batch.nbytes < 2 * 1024 * 1024 for part in parts)
    whole = decode(body, encoding)
    assert [row for part in parts for row in shown(part)] == shown(whole)


def test_small_bodies_are_one_piece(encoding: str) -> None:
    assert not OTLP_LOGS.may_be_several(Body(encoded(request_of(record("m")), encoding), encoding))


def test_what_a_resource_would_become_in_all_records_is_bounded(encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(otlp, "MAX_SPREAD_BYTES", 20_000_000)
    request = request_of(*(record("m") for _ in range(60_000)), r="x" * 10_000)
    with pytest.raises(TooLarge, match="resource"):
        OTLP_LOGS.cut(Body(encoded(request, encoding) + b" " * (encoding == JSON), encoding))


def test_a_record_that_is_far_too_large_is_not_even_read(encoding: str) -> None:
    request = request_of(record("x" * 5_000_000), record("m"))
    pieces = OTLP_LOGS.cut(Body(encoded(request, encoding), encoding))
    decoded = [pieces.decode(number, FIELD_TABLE, NOW_US, LIMITS) for number in range(len(pieces))]
    assert [len(each.rejected) for each in decoded] == [1, 0]
    assert decoded[1].batch.column("message").to_pylist() == ["m"]


@pytest.mark.parametrize("damage", [b"\xff", b"}", b""])
def test_a_large_body_that_is_malformed_anywhere_is_refused_whole(encoding: str, damage: bytes) -> None:
    body = encoded(large_request(4_000, {}), encoding)
    with pytest.raises(BadRequest):
        OTLP_LOGS.cut(Body(body[:-700] + damage, encoding))


def test_json_that_has_its_arrays_in_any_order_is_cut_and_twice_is_refused() -> None:
    logs = ",".join('{"body":{"stringValue":"\\"logRecords\\":[{"}}' for _ in range(20_000))
    scopes = f'"scopeLogs":[{{"logRecords":[{logs}],"scope":{{"name":"s"}}}}],"resource":{{"attributes":[]}}'
    body = f'{{"x":[{{"y":1}}],"resourceLogs":[{{{scopes}}}],"z":1}}'.encode()
    pieces = OTLP_LOGS.cut(Body(body, JSON))
    assert len(pieces) > 2
    decoded = [pieces.decode(number, FIELD_TABLE, NOW_US, LIMITS) for number in range(len(pieces))]
    assert sum(len(each.batch) for each in decoded) == 20_000
    assert shown(decoded[-1])[0]["message"] == '"logRecords":[{'
    twice = body.replace(b'"z":1', b'"resourceLogs":[{}]')
    with pytest.raises(TooLarge, match="twice"):
        OTLP_LOGS.cut(Body(twice, JSON))
    nothing = b'{"other":"' + b"x" * 700_000 + b'"}'
    assert len(OTLP_LOGS.cut(Body(nothing, JSON))) == 0


# ---------------------------------------------------------------------------------------------------------- answers
def stored_of(rejected: int) -> Stored:
    stored = Stored()
    batch = decode_events(Body(b'{"message":"m"}'), NOW_US, LIMITS).batch
    stored.add(Decoded(batch, [(number, f"why {number}") for number in range(rejected)]), is_repeat=False)
    return stored


@pytest.mark.parametrize("kind", [PROTOBUF, "application/protobuf"])
def test_success_is_empty_in_the_requests_own_encoding(kind: str) -> None:
    answer = OTLP_LOGS.accepted(stored_of(0), kind)
    assert (answer.status, answer.content, answer.media_type) == (200, b"", kind)
    answer = OTLP_LOGS.accepted(stored_of(0), "application/json; charset=utf-8")
    assert (answer.status, answer.content, answer.media_type) == (200, b"{}", "application/json")


def test_rejected_records_are_a_partial_success() -> None:
    answer = OTLP_LOGS.accepted(stored_of(5), PROTOBUF)
    partial = ExportLogsServiceResponse.FromString(answer.content).partial_success
    assert (answer.status, partial.rejected_log_records) == (200, 5)
    assert "at index 2: why 2, ..." in partial.error_message
    told = json.loads(OTLP_LOGS.accepted(stored_of(2), JSON).content)
    assert told["partialSuccess"]["rejectedLogRecords"] == "2"
    assert told["partialSuccess"]["errorMessage"].endswith("at index 1: why 1")


@pytest.mark.parametrize(
    ("status", "sent", "code"),
    [
        *((400, 400, 3), (401, 401, 16), (403, 403, 7), (404, 404, 5), (405, 405, 12), (413, 413, 8), (415, 415, 3)),
        *((422, 422, 9), (429, 503, 14), (503, 503, 14), (418, 418, 2)),
    ],
)
def test_a_refusal_is_a_status_in_the_requests_own_encoding(status: int, sent: int, code: int) -> None:
    refusal = Refusal(status, "title", "what is wrong", details={"limit": 1})
    answer = OTLP_LOGS.refused(refusal, PROTOBUF)
    told = Status.FromString(answer.content)
    assert (answer.status, answer.media_type, told.code, told.message) == (sent, PROTOBUF, code, "what is wrong")
    for kind in (JSON, None, "text/xml"):
        answer = OTLP_LOGS.refused(refusal, kind)
        assert (answer.status, answer.media_type) == (sent, "application/json")
        assert json.loads(answer.content) == {"code": code, "message": "what is wrong"}
