"""What an event's fields become, under their own names and those that agents give them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ess_ray.core.errors import BadRequest
from ess_ray.core.timestamps import format_timestamp
from ess_ray.intake.fields import FIELD_TABLE
from ess_ray.intake.formats.format import Body
from ess_ray.intake.formats.json_events import decode_events
from tests.json_events import LIMITS, NOW_US, decode, reason, row, rows


# ----------------------------------------------------------------------------------------------------------- fields
def test_every_field_is_kept() -> None:
    found = row(
        timestamp="2026-09-21T14:13:20.5+02:00",
        level="warning",
        service="api",
        host="h1",
        trace_id="t",
        span_id="s",
        id="e1",
    )
    assert format_timestamp(found["timestamp"]) == "2026-09-21T12:13:20.500000Z"
    assert (found["level"], found["severity_number"]) == ("WARN", 13)
    assert [found[name] for name in ("service", "host", "trace_id", "span_id", "event_id")] == [
        "api",
        "h1",
        "t",
        "s",
        "e1",
    ]


def test_missing_and_null_fields_are_absent() -> None:
    names = ("level", "severity_number", "service", "host", "trace_id", "span_id", "event_id")
    nulls = dict.fromkeys(("timestamp", "level", "service", "host", "trace_id", "span_id", "id", "attributes"))
    for found in (
        row(),
        row(**nulls),
        rows([{"message": "m"}, {"message": "m", **nulls}, {"message": "m", "level": "info"}])[1],
    ):
        assert [found[name] for name in names] == [None] * len(names)
        assert (found["attributes"], found["timestamp"]) == ({}, NOW_US)


@pytest.mark.parametrize("text", ["", "two\nlines", "a\0b", "\U0001f600é", " ", "\u2028"])
def test_a_message_may_be_any_text(text: str) -> None:
    assert rows([{"message": text}])[0]["message"] == text
    assert rows(json.dumps({"message": text}, ensure_ascii=False).encode())[0]["message"] == text


def test_only_the_end_of_a_line_is_taken_off_and_only_where_readers_of_lines_leave_it() -> None:
    for sent, stored in (("a\n\n", "a\n"), (" a \r", " a \r"), ("\n", ""), ("a\0\n", "a\0")):
        assert rows([{"log": sent}])[0]["message"] == stored
        assert rows([{"log": sent}, {"message": 5}])[0]["message"] == stored
    assert row(message="a\n")["message"] == "a\n"


@pytest.mark.parametrize(
    ("message", "text"),
    [(True, "true"), (5, "5"), (1.5, "1.5"), ({}, "{}"), ({"a": 1}, '{"a":1}'), ([], "[]"), (["m"], '["m"]')],
)
def test_a_message_that_is_no_text_is_its_json(message: Any, text: str) -> None:
    found = rows([{"message": message, "k": "v"}])[0]
    assert (found["message"], found["attributes"]) == (text, {"k": "v"})


def test_an_event_without_a_message_has_its_json_as_one() -> None:
    found = rows([{"level": "info", "n": {"m": 5}, "message": None}])[0]
    assert json.loads(found["message"]) == {"level": "info", "n": {"m": 5}, "message": None}
    assert (found["level"], found["attributes"], found["attribute_types"]) == ("INFO", {"n.m": "5"}, "n")


@pytest.mark.parametrize("event", [5, None, "text", [], True, [{"message": "m"}]])
def test_an_event_that_is_no_object_is_rejected(event: Any) -> None:
    decoded = decode([{"message": "good"}, event])
    assert decoded.rejected == [(1, "an event must be a JSON object")]


@pytest.mark.parametrize("name", ["service", "host", "trace_id", "span_id", "id"])
@pytest.mark.parametrize(
    ("value", "text"), [(5, "5"), (1.5, "1.5"), (True, "true"), (["a", 1], '["a",1]'), (10**25, str(10**25))]
)
def test_a_field_of_another_type_is_kept_as_text(name: str, value: Any, text: str) -> None:
    found = row(**{name: value})
    assert found["event_id" if name == "id" else name] == text
    assert found["attributes"] == {}


@pytest.mark.parametrize(
    ("level", "stored"),
    [
        *enumerate(["EMERGENCY", "ALERT", "CRITICAL", "ERROR", "WARN", "NOTICE", "INFO", "DEBUG"]),
        *((10, "TRACE"), (20, "DEBUG"), (30, "INFO"), (40, "WARN"), (50, "ERROR"), (60, "FATAL")),
        *((35, "35"), (1.5, "1.5"), (True, "TRUE"), (["a"], '["A"]')),
    ],
)
def test_a_level_that_is_no_text(level: Any, stored: str) -> None:
    for found in (row(level=level), rows([{"message": "m", "level": level}, {"message": "m", "level": "x"}])[0]):
        assert (found["level"], found["attributes"]) == (stored, {})


@pytest.mark.parametrize("value", ["text", "", 5, 0, False, [], ["a"]])
def test_attributes_that_are_no_object_are_one_attribute(value: Any) -> None:
    text = value if isinstance(value, str) else json.dumps(value)
    assert row(attributes=value)["attributes"] == {"attributes": text}
    assert row(attributes=value, other="x")["attributes"] == {"attributes": text, "other": "x"}


def test_an_id_has_at_most_128_bytes() -> None:
    assert row(id="é" * 64)["event_id"] == "é" * 64
    assert "128 bytes" in reason(message="m", id="é" * 64 + "x")
    assert row(id="")["event_id"] is None


@pytest.mark.parametrize(
    ("level", "stored"), [("info", ("INFO", 9)), ("Err", ("ERROR", 17)), ("odd", ("ODD", None)), ("", ("", None))]
)
def test_levels_are_normalized(level: str, stored: tuple[str, int | None]) -> None:
    found = row(level=level)
    assert (found["level"], found["severity_number"]) == stored


# ------------------------------------------------------------------------------------------------------ other names
@pytest.mark.parametrize(
    ("event", "stored"),
    [
        ({"@timestamp": NOW_US + 5, "msg": "hello", "severity": "error"}, {"timestamp": NOW_US + 5, "level": "ERROR"}),
        ({"msg": "hello", "time": NOW_US // 1000, "level": 30, "hostname": "h", "pid": 1},
         {"level": "INFO", "host": "h"}),
        ({"log": "hello", "kubernetes": {"host": "n1", "container_name": "c", "pod": "p"}},
         {"host": "n1", "service": "c"}),
        ({"log": {"level": "warn", "x": "1"}, "message": "hello"}, {"level": "WARN", "attributes": {"log.x": "1"}}),
        ({"log.level": "warn", "message": "hello"}, {"level": "WARN", "attributes": {}}),
        ({"event": {"original": "hello", "kind": "k"}}, {"attributes": {"event.kind": "k"}}),
        ({"MESSAGE": "hello", "PRIORITY": "3", "_HOSTNAME": "h", "SYSLOG_IDENTIFIER": "sshd",
          "__REALTIME_TIMESTAMP": str(NOW_US + 7)},
         {"level": "ERROR", "host": "h", "service": "sshd", "timestamp": NOW_US + 7, "attributes": {}}),
        ({"message": "hello", "service": {"name": "s", "version": "2"}, "host": {"name": "h", "ip": ["1"]}},
         {"service": "s", "host": "h", "attributes": {"service.version": "2", "host.ip": '["1"]'}}),
        ({"message": "hello", "host": {"ip": "1"}}, {"host": None, "attributes": {"host.ip": "1"}}),
        ({"message": "hello", "msg": "other", "service": "s", "app": "a"},
         {"service": "s", "attributes": {"msg": "other", "app": "a"}}),
        ({"message": "hello", "time": 0.35}, {"timestamp": NOW_US, "attributes": {"time": "0.35"}}),
        ({"message": "hello", "time": 0.35, "ts": NOW_US / 1e6 + 1},
         {"timestamp": NOW_US + 1_000_000, "attributes": {"time": "0.35"}}),
        ({"message": "hello", "timestamp": "soon", "ts": NOW_US},
         {"timestamp": NOW_US, "attributes": {"original_timestamp": "soon"}}),
        ({"message": "hello", "text": 5, "job": ["a"], "app": ""},
         {"service": None, "attributes": {"text": "5", "job": '["a"]', "app": ""}}),
        ({"msg": 5, "text": "hello"}, {"attributes": {"msg": "5"}}),
        ({"message": "hello", "severity": {"a": "b"}, "lvl": "info"},
         {"level": "INFO", "attributes": {"severity.a": "b"}}),
        ({"message": "hello", "traceId": "4BF92F3577B34DA6A3CE929D0E0E4736", "span.id": "00F0"},
         {"trace_id": "4bf92f3577b34da6a3ce929d0e0e4736", "span_id": "00f0"}),
        ({"message": "hello", "trace_id": "0" * 32, "span_id": ""},
         {"trace_id": None, "span_id": None, "attributes": {}}),
        ({"log": "hello\n", "stream": "stderr"}, {"attributes": {"stream": "stderr"}}),
        ({"msg": "hello\r\n"}, {"attributes": {}}),
        ({"message": "hello", "trace_id": "Not-Hex"}, {"trace_id": "Not-Hex"}),
        ({"message": "hello", "trace_id": "AB", "dd": {"trace_id": "123"}},
         {"trace_id": "ab", "attributes": {"dd.trace_id": "123"}}),
    ],
)  # fmt: skip
def test_fields_are_found_under_the_names_that_agents_give_them(event: dict[str, Any], stored: dict[str, Any]) -> None:
    # Beside an event with other names, and alone: neither changes the other.
    for found in (rows([event])[0], rows([event, {"message": "m", "service": "x", "k": "v"}])[0]):
        assert found["message"] == "hello"
        assert {name: found[name] for name in stored} == stored


def test_a_tenant_may_have_names_of_its_own() -> None:
    table = FIELD_TABLE.with_names({"message": ["what"], "level": ["grade", "a.b"]})
    body = b'[{"what":"hello","msg":"other","grade":"warn"},{"msg":"usual","a":{"b":"error","c":1}}]'
    batch = decode_events(Body(body, None, table), NOW_US, LIMITS).batch
    assert batch.column("message").to_pylist() == ["hello", "usual"]
    assert batch.column("level").to_pylist() == ["WARN", "ERROR"]
    assert batch.column("attributes").to_pylist() == [[("msg", "other")], [("a.c", "1")]]
    with pytest.raises(BadRequest, match="wat"):
        FIELD_TABLE.with_names({"wat": ["x"]})
