"""OTLP in protobuf and in JSON: what is read, and what is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ess_ray.core.errors import BadRequest, Unsupported
from ess_ray.intake.formats.format import Body
from ess_ray.intake.formats.otlp import OTLP_LOGS
from tests.otlp import JSON, PROTOBUF, encoded, record, request_of
from tests.otlp_rows import LIMITS, NOW_NS, NOW_US, decode, shown


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
