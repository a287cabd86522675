"""Names that were told apart as they were sent, and are no longer once they are stored: no value is lost."""

from __future__ import annotations

import json
from typing import Any

import msgpack
import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

from ess_ray.intake.fields import FIELD_TABLE
from ess_ray.intake.formats import gelf
from ess_ray.intake.formats.format import Body, Format
from ess_ray.intake.formats.forward_entries import read_entries
from ess_ray.intake.formats.hec import COLLECTOR
from ess_ray.intake.formats.holders import Around, Held
from ess_ray.intake.formats.json_events import JSON_EVENTS
from ess_ray.intake.formats.loki import LOKI_PUSH
from ess_ray.intake.formats.loki_protobuf import PushRequest
from ess_ray.intake.formats.otlp import OTLP_LOGS
from ess_ray.intake.formats.syslog import Received
from ess_ray.intake.limits import IntakeLimits
from ess_ray.intake.names import kept_apart, mended_object
from tests.loki import rows_of

NOW_US = 1_790_000_000_000_000
LIMITS = IntakeLimits()
BOTH = {"a\ufffd": "1", "a\ufffd#2": "2"}


def attributes(form: Format, body: bytes, kind: str | None = None) -> dict[str, str]:
    (row,) = rows_of(form.decode(Body(body, kind), NOW_US, LIMITS).batch)
    found: dict[str, str] = row["attributes"]
    return found


@pytest.mark.parametrize(
    "event",
    [
        b'{"message":"m","a\xff":"1","a\xfe":"2"}',
        b'{"message":"m","attributes":{"a\xff":"1","a\xfe":"2"}}',
        rb'{"message":"m","a\ud800":"1","a\udc00":"2"}',
        rb'{"message":"m","a\ud800":"1","a' + b"\xff" + b'":"2"}',
        '{"message":"m","a\ufffd":"1","a'.encode() + b'\xff":"2"}',
    ],
)
def test_names_of_bad_bytes_and_lone_surrogates(event: bytes) -> None:
    assert attributes(JSON_EVENTS, event) == BOTH
    assert attributes(JSON_EVENTS, b"[" + event + b"]") == BOTH
    assert attributes(COLLECTOR, b'{"event":' + event + b"}") == BOTH


def test_what_is_sent_as_a_second_name_keeps_it() -> None:
    event = b'{"message":"m","a\xff":"1","a\xfe":"2","a\xef\xbf\xbd#2":"own","a\xfd":"3"}'
    assert attributes(JSON_EVENTS, event) == BOTH | {"a\ufffd#2": "own", "a\ufffd#3": "2", "a\ufffd#4": "3"}


def test_of_a_name_that_is_there_twice_the_last_one_counts_all_the_same() -> None:
    assert attributes(JSON_EVENTS, b'{"message":"m","x":1,"x":2,"a\xff":"1","a\xfe":"2"}') == BOTH | {"x": "2"}
    assert mended_object([("a", 1), ("a", 2)]) == {"a": 2}


def test_names_that_differ_by_case_are_different() -> None:
    event = {"message": "m", "Status": "a", "status_": "b", "STATUS": "c", "Level": "x"}
    assert attributes(JSON_EVENTS, json.dumps(event).encode()) == {k: v for k, v in event.items() if k != "message"}


def test_long_names_are_kept_whole() -> None:
    long = {"x" * 30_000 + end: end for end in "ab"}
    assert attributes(JSON_EVENTS, json.dumps({"message": "m"} | long).encode()) == long


def test_names_of_forwards_maps() -> None:
    def own(record: bytes) -> dict[str, Any]:
        (held,) = read_entries(b"\x92\x01" + record, Around(()))
        assert isinstance(held, Held)
        return held.own

    bad = b"\x83\xa2a\xff\xa11\xa2a\xfe\xa12\xa1x\xa1y"
    assert own(bad) == BOTH | {"x": "y"}
    assert own(msgpack.packb({"k": 1, b"k": 2, 1: 3, "1": 4, None: 5, "null": 6})) == {
        "k": 1, "k#2": 2, "1": 3, "1#2": 4, "null": 5, "null#2": 6,
    }  # fmt: skip


def test_names_of_lokis_metadata() -> None:
    request = PushRequest()
    entry = request.streams.add(labels=b"{}").entries.add(line=b"m")
    for name, value in ((b"a\xff", b"1"), (b"a\xfe", b"2")):
        entry.metadata.add(name=name, value=value)
    assert attributes(LOKI_PUSH, request.SerializeToString(), "application/x-protobuf") == BOTH


def test_names_of_opentelemetrys_attributes() -> None:
    request = ExportLogsServiceRequest()
    record = request.resource_logs.add().scope_logs.add().log_records.add()
    for name, value in (("aX", "1"), ("aY", "2")):
        record.attributes.add(key=name).value.string_value = value
    sent = request.SerializeToString().replace(b"aX", b"a\xff").replace(b"aY", b"a\xfe")
    assert attributes(OTLP_LOGS, sent, "application/x-protobuf") == BOTH
    pair = b'{"key":"a%b","value":{"stringValue":"%d"}}'
    records = b'{"attributes":[' + pair % (b"\xff", 1) + b"," + pair % (b"\xfe", 2) + b"]}"
    body = b'{"resourceLogs":[{"scopeLogs":[{"logRecords":[' + records + b"]}]}]}"
    assert attributes(OTLP_LOGS, body, "application/json") == BOTH


def test_a_name_of_gelf_with_and_without_its_underscore() -> None:
    messages = [Received(b'{"version":"1.1","host":"h","message":"m","x":"1","_x":"2"}')]
    (row,) = rows_of(gelf.decode(messages, NOW_US, LIMITS, FIELD_TABLE).batch)
    assert row["attributes"] == {"x": "1", "x#2": "2"}


def test_thousands_of_one_name_are_told_apart_in_no_time() -> None:
    found = kept_apart([("a", number) for number in range(50_000)])
    assert len(found) == 50_000
    assert found["a#50000"] == 49_999
