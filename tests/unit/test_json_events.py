"""What a pushed body becomes: the rules of sections 3 and 7, one by one."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
from decimal import Decimal
from typing import Any

import pytest
import zstandard

from ess_ray.core.errors import BadRequest, TooLarge, Unsupported
from ess_ray.core.event import RECORD_SCHEMA
from ess_ray.core.timestamps import format_timestamp
from ess_ray.intake.columns import plain_columns
from ess_ray.intake.decoded import Decoded
from ess_ray.intake.fields import FIELD_TABLE
from ess_ray.intake.formats.format import Body, Stored, body_hash
from ess_ray.intake.formats.json_events import JSON_EVENTS, decode_events
from ess_ray.intake.formats.json_values import read_values
from ess_ray.intake.limits import IntakeLimits
from ess_ray.problem import Refusal, kind_of

NOW_US = 1_790_000_000_000_000
LIMITS = IntakeLimits()
NDJSON = "application/x-ndjson"
TEN_YEARS_US = LIMITS.max_event_age_us


def decode(document: Any, content_type: str | None = "application/json") -> Decoded:
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    decoded = decode_events(Body(body, content_type), NOW_US, LIMITS)
    assert decoded.batch.schema.equals(RECORD_SCHEMA)
    decoded.batch.validate(full=True)
    return decoded


def rows(document: Any, content_type: str | None = "application/json") -> list[dict[str, Any]]:
    """Every event must be valid; gives the rows, times in microseconds, attributes as a dict."""
    decoded = decode(document, content_type)
    assert decoded.rejected == []
    found = decoded.batch.to_pylist()
    for row, us in zip(found, decoded.batch.column("timestamp").cast("int64").to_pylist(), strict=True):
        pairs = row["attributes"] or []
        assert len(dict(pairs)) == len(pairs), "a key twice"
        row["attributes"] = dict(pairs)
        row["timestamp"] = us
    return found


def row(**event: Any) -> dict[str, Any]:
    return rows([{"message": "m", **event}])[0]


def reason(**event: Any) -> str:
    """Why an event is rejected, standing beside a valid one that is kept."""
    decoded = decode([{"message": "good"}, event])
    assert decoded.batch.column("message").to_pylist() == ["good"]
    ((index, text),) = decoded.rejected
    assert index == 1
    return text


# ------------------------------------------------------------------------------------------------------- body forms
def test_array_envelope_object_and_lines_are_the_same_events() -> None:
    events = [{"message": "a", "level": "info"}, {"message": "b"}]
    expected = rows(events)
    assert [r["message"] for r in expected] == ["a", "b"]
    assert rows({"events": events}) == expected
    assert rows(b'{"message":"a","level":"info"}\r\n\n  \n{"message":"b"}\n', NDJSON) == expected
    assert rows(events[0]) == expected[:1]


def test_an_empty_array_is_no_events() -> None:
    for document in ([], {"events": []}):
        assert len(decode(document).batch) == 0


def test_an_event_may_have_an_attribute_named_events() -> None:
    assert rows({"message": "m", "events": [1, 2]})[0]["attributes"] == {"events": "[1,2]"}


def test_an_envelope_holds_events_alone() -> None:
    with pytest.raises(BadRequest, match="service"):
        decode({"events": [{"message": "m"}], "service": "api"})


@pytest.mark.parametrize(
    "body",
    [b"", b" \n", b"nonsense", b"{", b"[1,", b"5", b"null", b'"text"', b"true", b"[]]", b"\xff\xfe", b"[NaN]", b"NaN",
     b"not json\nneither\n", b"{\nbroken\n}"],
)  # fmt: skip
def test_what_is_no_json_or_no_events_is_refused(body: bytes) -> None:
    with pytest.raises(BadRequest):
        decode(body)


def test_a_byte_order_mark_is_no_error() -> None:
    mark = b"\xef\xbb\xbf"
    assert rows(mark + b'{"message":"m"}')[0]["message"] == "m"
    together = (mark + b'{"message":"a"}\n') + (mark + b'{"message":"b"}\n')
    assert [row["message"] for row in rows(together, NDJSON)] == ["a", "b"]


BAD = {
    "escape": rb'{"message":"\q"}',
    "control code": b'{"message":"\x01"}',
    "line break in a text": b'{"message":"a\nb"}',
    "hexadecimal": b'{"n":0x1F}',
    "leading zero": b'{"n":007}',
    "no value": b'{"n":undefined}',
    "C's nan": b'{"n":[1,-nan]}',
    "key without quotes": b'{message:"x"}',
    "comma at the end": b'{"message":"x",}',
    "quotes in a text": b'{"message":"she said "hi" to me"}',
    "a word": b"undefined",
}


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD)
@pytest.mark.parametrize("between", [b",", b",\n", b", \r\n"])
@pytest.mark.parametrize("ends", [(b"[", b"]"), (b'{"events": [', b"]}"), (b"[\n", b"\n]\n")])
def test_a_value_that_is_no_json_costs_no_other(bad: bytes, between: bytes, ends: tuple[bytes, bytes]) -> None:
    values = [b'{"message":"a","x":[{"y":1},{"z":"},{"}]}', bad, b'{"message":"b"}']
    decoded = decode(ends[0] + between.join(values) + ends[1])
    assert decoded.batch.column("message").to_pylist() == ["a", "b"]
    assert [index for index, _ in decoded.rejected] == [1]


@pytest.mark.parametrize(
    "values",
    [
        b'{"message":"a"} {"message":"b"}',
        b'{"message":"a"},,{"message":"b"}',
        b'{"message":"a"},{"message":"b"},',
        b'{"message":"a},{"message":"b"},{"message":"c"y"}',
        b'{"x":[1},{"message":"b"},{"x":1]}',
        b'{"message":"a"},{"message":"b"',
        b'{"message":"a"},{"message":"b',
    ],
)
@pytest.mark.parametrize("kind", [NDJSON, "application/json"])
@pytest.mark.parametrize("ends", [(b"[", b"]"), (b'{"events":[\n', b"\n]}"), (b"[\n", b"\n]\n"), (b"[\n", b"\n")])
def test_an_array_in_which_it_is_not_sure_where_values_end_is_refused(
    values: bytes, kind: str, ends: tuple[bytes, bytes]
) -> None:
    """Also where a line of it, alone, would be an event."""
    with pytest.raises(BadRequest):
        decode(ends[0] + values.replace(b"},{", b"},\n{") + ends[1], kind)


@pytest.mark.parametrize("kind", [NDJSON, "application/json", None])
@pytest.mark.parametrize(
    "body",
    [
        b'{"message":"a"}{"message":"b"}{"message":"c"}',
        b' {"message":"a"}  {"message":"b"}{"message":"c"}\r\n',
        b'{\n "message":"a"\n}\n{\n "message":"b"\n}\n{"message":"c"}',
        b'{"message":"a"}{"message":"b"}\n{"message":"c"}\n',
        b'{"message":"a"}\n{"message":"b"}{"message":"c"}\n',
        b'{"message":"a"}\r{"message":"b"}\r{"message":"c"}\r',
    ],
)
def test_objects_may_stand_one_behind_another(body: bytes, kind: str | None) -> None:
    assert [row["message"] for row in rows(body, kind)] == ["a", "b", "c"]
    decoded = decode(body.replace(b'"b"', rb'"\q"'), kind)
    assert decoded.batch.column("message").to_pylist() == ["a", "c"]
    assert [index for index, _ in decoded.rejected] == [1]


@pytest.mark.parametrize("kind", [NDJSON, "application/json", None])
def test_a_bad_line_is_rejected_with_its_index_among_the_lines_that_are_not_blank(kind: str | None) -> None:
    body = b'{"message":"a"}\n\nnot json\n{"message":"b"}\n[1]\n{"message":"\xff"}\n' + b"[" * 5000 + b"\n"
    for lines in (body, b"not json\n" + body.replace(b"not json\n", b"")):
        decoded = decode(lines, kind)
        assert decoded.batch.column("message").to_pylist() == ["a", "b", "\ufffd"]
        assert len(decoded.rejected) == 3
    assert [index for index, _ in decode(body, kind).rejected] == [1, 3, 5]


@pytest.mark.parametrize("first", [b"[{}]", b'[{"message":"x"}]', b"[ {} ] ", b'{"events":[{"message":"x"}],"y":1}'])
def test_a_first_line_of_ndjson_that_is_no_event_costs_no_other(first: bytes) -> None:
    body = Body(first + b'\n{"message":"a"}\n', NDJSON)
    pieces = JSON_EVENTS.cut(body)
    for decoded in (decode_events(body, NOW_US, LIMITS), pieces.decode(0, FIELD_TABLE, NOW_US, LIMITS)):
        assert decoded.batch.column("message").to_pylist()[-1] == "a"
        assert len(decoded.batch) + len(decoded.rejected) == 2


@pytest.mark.parametrize(
    "kind",
    [None, NDJSON, "application/json", "application/json, application/json", "application/x-www-form-urlencoded"],
)
@pytest.mark.parametrize(
    "body",
    [
        b'[{"message":"a"},{"message":"b"}]',
        b'[\n{"message":"a"},\n{"message":"b"}\n]\n',
        b'{"events":[{"message":"a"},{"message":"b"}]}',
        b'{\n  "events": [{"message": "a"},\n {"message": "b"}]\n}',
        b'{"message":"a"}\n{"message":"b"}',
        b'\xef\xbb\xbf{"message":"a"}\r\n{"message":"b"}\r\n',
        b'\n {"message":"a"}\n\n{"message":"b"}\n',
    ],
)
def test_the_bytes_tell_which_json_it_is(body: bytes, kind: str | None) -> None:
    assert [row["message"] for row in rows(body, kind)] == ["a", "b"]


def test_plain_text_is_lines() -> None:
    found = rows(b'one\r\n\n  two \n{"message": "three"}\n[1]\n\xff', "text/plain; charset=utf-8")
    assert [row["message"] for row in found] == ["one", "  two ", '{"message": "three"}', "[1]", "\ufffd"]
    assert all(row["timestamp"] == NOW_US for row in found)


def test_plain_text_of_objects_is_json() -> None:
    assert [row["message"] for row in rows(b'{"message":"a"}\n{"message":NaN}\n', "text/plain")] == ["a", "NaN"]


def test_blank_lines_alone_are_an_empty_body() -> None:
    with pytest.raises(BadRequest, match="empty"):
        decode(b"\n \n", NDJSON)


def test_when_all_are_invalid_the_problem_names_each() -> None:
    with pytest.raises(BadRequest) as caught:
        decode([["info"], 5, {"message": "m", "id": "x" * 129}])
    assert [one["index"] for one in caught.value.details["rejected"]] == [0, 1, 2]
    assert all(one["reason"] for one in caught.value.details["rejected"])


@pytest.mark.parametrize(
    "kind",
    [
        None,
        "",
        "application/json; charset=utf-8",
        "Application/JSON",
        "application/cloudevents+json",
        "application/x-www-form-urlencoded",
        "application/json; version=1; charset=UTF-8",
        'application/json;charset="utf-8";version=1',
        "application/json ;charset = us-ascii",
        "image/png, application/json",
        "application/json, application/x-ndjson; charset=utf-8",
    ],
)
def test_content_types_that_are_json(kind: str | None) -> None:
    assert len(decode([{"message": "m"}], kind).batch) == 1


@pytest.mark.parametrize(
    "kind",
    [
        "text/xml",
        "application/json; charset=latin-1",
        "application/json; v=1; charset=latin-1",
        ",",
        "a, b",
        "multipart/form-data; boundary=x",
        "image/png",
    ],
)
def test_content_types_that_are_not_spoken(kind: str) -> None:
    with pytest.raises(Unsupported):
        decode([{"message": "m"}], kind)


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


# ------------------------------------------------------------------------------------------------------- timestamps
@pytest.mark.parametrize(
    "time",
    ["2026-09-21T14:13:20Z", "2026-09-21 14:13:20Z", "2026-09-21t14:13:20z", "2026-09-21T14:13:20",
     "2026-09-21T14:13:20.000000999Z", "2026-09-21T16:13:20+02:00", "2026-09-21T16:13:20+0200",
     "2026-09-21T16:13:20+02", 1_790_000_000,
     "1790000000", 1_790_000_000_000, "1790000000000",
     1_790_000_000_000_000, 1_790_000_000_000_000_000, "1790000000000000000",
     1_790_000_000.0, "1790000000.0", " 1790000000 ", "1.79e9", "1.79e+09", "17900000000e-1",
     "2026-09-21 14:13:20 UTC", "2026-09-21T14:13:20GMT"],
)  # fmt: skip
def test_one_moment_in_many_ways(time: Any) -> None:
    assert row(timestamp=time)["timestamp"] == NOW_US
    assert [r["timestamp"] for r in rows([{"message": "m", "timestamp": t} for t in (time, None, NOW_US + 5)])] == [
        NOW_US,
        NOW_US,
        NOW_US + 5,
    ]


@pytest.mark.parametrize(
    "time",
    ["", "yesterday", "2026-09-21", "2026-09-21T14:13Z", "2026-09-21T14:13+00:00",
     "2026-13-21T14:13:20Z", "2026-09-31T14:13:20Z", "2026-09-21T25:13:20Z", "0000-01-01T00:00:00Z", True, False,
     {}, [],
     1e300, 10**25, -1, 0, "NaN", "9" * 30],
)  # fmt: skip
def test_a_time_that_cannot_be_read_is_kept_beside_that_of_receipt(time: Any) -> None:
    decoded = decode([{"message": "good", "timestamp": NOW_US}, {"message": "m", "timestamp": time}])
    assert decoded.rejected == []
    ((index, said),) = decoded.adjusted
    assert (index, said.startswith("stored at the time of receipt: ")) == (1, True)
    found = row(timestamp=time)
    assert found["timestamp"] == NOW_US
    assert found["attributes"] == {"original_timestamp": time if isinstance(time, str) else said_as(time)}


@pytest.mark.parametrize("name", ["@timestamp", "time", "ts", "date", "_time"])
@pytest.mark.parametrize(
    ("time", "why"),
    [
        ("2026-11-30T20:00:00 CEST", "neither RFC 3339 text"),
        (NOW_US + 601_000_000, "in the future"),
        (format_timestamp(NOW_US + 601_000_000), "in the future"),
        (0.35, "old"),
    ],
)
def test_a_time_under_another_name_that_cannot_be_read_is_named(name: str, time: Any, why: str) -> None:
    decoded = decode([{"msg": "good", name: NOW_US}, {"msg": "m", name: time}, {"msg": "no time"}])
    ((index, said),) = decoded.adjusted
    assert (index, said.startswith("stored at the time of receipt: "), why in said) == (1, True, True)
    assert repr(name) in said
    found = row(**{name: time})
    assert found["timestamp"] == NOW_US
    assert found["attributes"] == {name: str(time)}  # it may be somebody's attribute


@pytest.mark.parametrize(
    "event",
    [
        {"timestamp": NOW_US, "time": "1.5 ms"},
        {"time": "1.5 ms", "ts": NOW_US},
        {"time": {"elapsed": 3}},
        {"time": True},
        {"time": None},
        {"time": ""},
        {"attributes": {"time": "1.5 ms"}},
    ],
)
def test_an_event_that_has_its_time_elsewhere_or_none_is_not_named(event: dict[str, Any]) -> None:
    assert decode([{"message": "m", **event}]).adjusted == []


def test_of_two_times_that_cannot_be_read_its_own_name_says_why() -> None:
    ((_, said),) = decode([{"message": "m", "time": "soon", "timestamp": True}]).adjusted
    assert "true or false" in said
    assert row(time="soon", timestamp=True)["attributes"] == {"original_timestamp": "true", "time": "soon"}


BINARY = {
    "gzip": gzip.compress(b"a line\n" * 9),
    "zstd": zstandard.compress(b"a line\n" * 9),
    "bzip2": bz2.compress(b"a line\n" * 9),
    "xz": lzma.compress(b"a line\n" * 9),
    "zip": b"PK\x03\x04\x14\0\0\0\x08\0",
    "PNG": b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR",
    "binary data": bytes(range(256)) * 20,
}


@pytest.mark.parametrize("name", BINARY)
def test_what_is_no_text_is_refused_as_text(name: str) -> None:
    for read in (decode_events, lambda body, *_: JSON_EVENTS.cut(body)):
        with pytest.raises(BadRequest, match="Content-Encoding") as error:
            read(Body(BINARY[name], "text/plain"), NOW_US, LIMITS)
        assert f"the body is {name}, not lines" in error.value.message


@pytest.mark.parametrize(
    ("text", "messages"),
    [
        (b"a\rb\rc\r", ["a", "b", "c"]),
        (b"a\r\nb\rc\r\n", ["a", "b\rc"]),
        (b"\x1b[31mred\x1b[0m\n\x07bell\n", ["\x1b[31mred\x1b[0m", "\x07bell"]),
        ("Grüße\n".encode("utf-16"), ["Grüße"]),
        (b"a" * 30 + b"\0\n", ["a" * 30 + "\0"]),
        (b"PK and BZh9 are words\n", ["PK and BZh9 are words"]),
    ],
)
def test_text_is_lines_whatever_ends_them(text: bytes, messages: list[str]) -> None:
    body = Body(text, "text/plain")
    assert decode(text, "text/plain").batch.column("message").to_pylist() == messages
    pieces = JSON_EVENTS.cut(body)
    read = [value["message"] for number in range(len(pieces)) for value in pieces.read(number).values]
    assert read == messages


def test_what_is_nested_too_deep_has_a_type_of_its_own() -> None:
    with pytest.raises(BadRequest) as error:
        read_values(b"[" * 100_000, None)
    assert kind_of(error.value) == "urn:ess-ray:too-deep"


LONG = [
    *("19.990000000000000001", "123456789012345678.25", "1e-400", "12345678901234567e2", "-0.10000000000000001"),
    *("12345678901234567890.5e-15", "-1234567.123456789012", "12345678.12345678901"),
]


@pytest.mark.parametrize("number", LONG)
def test_decimals_keep_all_their_digits(number: str) -> None:
    event = f'{{"message": "m", "id": "a", "n": {number}, "l": [{number}, 99999999999999999999, 1.50], "plain": 1.5}}'
    for text in (f"[{event}]", f'{{"message": "m"}}\n{event}'):
        batch = decode(text.encode()).batch
        attributes = dict(batch.column("attributes").to_pylist()[-1])
        assert attributes == {"n": number, "l": f"[{number},99999999999999999999,1.5]", "plain": "1.5"}
        assert batch.column("attribute_types").to_pylist()[-1] == "njn"


def test_events_of_one_id_whose_decimals_differ_are_two() -> None:
    def hash_of(*numbers: str) -> Any:
        events = ",".join(f'{{"message": "m", "id": "a", "timestamp": 1790000000.0, "n": {n}}}' for n in numbers)
        return decode(f"[{events}]".encode()).batch.column("event_hash")[0]

    assert hash_of("0.1") == hash_of("0.1", LONG[0]) != hash_of("0.10000000000000001")
    assert hash_of(LONG[0]) == hash_of(LONG[0], "1")


def test_the_hash_of_a_time_of_many_digits_is_the_same_beside_any_other_event() -> None:
    event = '{"message": "m", "id": "a", "timestamp": 1790000000.12345678901234567}'
    alone = decode(f"[{event}]".encode()).batch
    beside = decode(f'[{event},{{"message": "b", "n": {LONG[0]}}}]'.encode()).batch
    assert alone.column("event_hash")[0] == beside.column("event_hash")[0]
    assert alone.column("timestamp")[0] == beside.column("timestamp")[0]


FEW = ["0.1", "0.30000000000000004", "1.5e-7", "0.0", "5e-324", "1e15", "1.10", "123456.789012345"]


@pytest.mark.parametrize("number", FEW)
def test_decimals_that_a_double_tells_are_read_fast(number: str) -> None:
    text = b'[{"message": "took 1.2 s", "trace": "0123456789012345e-400", "n": %b}]' % number.encode()
    read = read_values(text, None)
    assert len(plain_columns(read.values, NOW_US, LIMITS, FIELD_TABLE, read.exact)) == 1
    assert Decimal(dict(decode(text).batch.column("attributes").to_pylist()[0])["n"]) == Decimal(number)


def said_as(value: Any) -> str:
    return repr(value) if isinstance(value, float) else json.dumps(value, separators=(",", ":"))


def test_the_window_of_times_is_exact() -> None:
    ahead, old = NOW_US + 600_000_000, NOW_US - TEN_YEARS_US
    assert row(timestamp=ahead)["timestamp"] == ahead
    assert row(timestamp=old)["timestamp"] == old
    beyond = [ahead + 1, format_timestamp(ahead + 1), old - 1, format_timestamp(old - 1)]
    decoded = decode([{"message": "m", "timestamp": time} for time in beyond])
    assert [("future" in said, "old" in said) for _, said in decoded.adjusted] == [(True, False)] * 2 + [
        (False, True)
    ] * 2
    assert decoded.batch.column("timestamp").cast("int64").to_pylist() == [NOW_US] * 4


# ------------------------------------------------------------------------------------------------------- attributes
def test_attribute_values_are_text() -> None:
    given = {
        "s": "x",
        "e": "",
        "i": 5,
        "n": -0.5,
        "f": 1.0,
        "t": True,
        "u": False,
        "z": None,
        "l": [1, "a", None, {"b": 2.5}],
        "o": {},
        "v": [],
    }
    kept = {
        "s": "x",
        "e": "",
        "i": "5",
        "n": "-0.5",
        "f": "1.0",
        "t": "true",
        "u": "false",
        "l": '[1,"a",null,{"b":2.5}]',
        "v": "[]",
    }
    for found in (row(attributes=given), row(**given)):
        assert (found["attributes"], found["attribute_types"]) == (kept, "ssnnnbbjj")
    assert row(a="x", b={"c": "5"})["attribute_types"] is None
    assert rows([{"message": "m", "a": 1}, {"message": "m", "a": "1"}, {"message": "m"}])[1]["attribute_types"] is None


def test_nested_attributes_are_flattened_and_both_of_one_name_are_kept() -> None:
    assert row(attributes={"a": {"b": {"c": 1}, "d": "x"}, "": {"": "e"}})["attributes"] == {
        "a.b.c": "1",
        "a.d": "x",
        ".": "e",
    }
    assert row(attributes={"a": {"b": 1}, "a.b": 2})["attributes"] == {"a.b": "1", "a.b#2": "2"}
    assert row(attributes={"a.b": 2, "a": {"b": "x"}})["attributes"] == {"a.b": "2", "a.b#2": "x"}
    clash = row(attributes={"a": {"b": "1"}, "a.b": 2, "a.b#2": "own"}, **{"a.b": True})
    assert clash["attributes"] == {"a.b": "true", "a.b#2": "own", "a.b#3": "1", "a.b#4": "2"}
    assert clash["attribute_types"] == "bssn"


def test_unknown_keys_become_attributes_beside_the_explicit_ones() -> None:
    assert row(region="eu", attributes={"zone": "b"})["attributes"] == {"region": "eu", "zone": "b"}
    assert row(region="eu", attributes={"region": "us"})["attributes"] == {"region": "eu", "region#2": "us"}
    assert row(region="eu", attributes={"region": None})["attributes"] == {"region": "eu"}
    assert row(a={"b": "1", "c": "2"}, attributes={"a": {"b": "3"}})["attributes"] == {
        "a.b": "1",
        "a.c": "2",
        "a.b#2": "3",
    }


@pytest.mark.parametrize(
    ("event", "attributes"),
    [
        ({"attributes.x": 1}, {"x": "1"}),
        ({"attributes.x": 1, "x": 2}, {"x": "1", "x#2": "2"}),
        ({"attributes.x": 1, "attributes": {"x": 2}}, {"x": "1", "x#2": "2"}),
        ({"attributes.level": "a", "level": "INFO"}, {"level": "a"}),
        ({"attributes.attributes.x": 1}, {"attributes.x": "1"}),
        ({"attributes": {"attributes.x": 1, "attributes": {"y": 2}}}, {"attributes.x": "1", "attributes.y": "2"}),
        ({"attributes": 5, "attributes.": 6}, {"attributes": "5", "attributes.": "6"}),
        ({"attributes._ess.x": 1}, {"_ess.x#2": "1"}),
        (
            {"resource.attributes.x": 1, "resource": {"attributes": {"y": 2}}},
            {"resource.attributes.x": "1", "resource.attributes.y": "2"},
        ),
    ],
)
def test_the_prefix_of_attributes_is_no_part_of_a_name(event: Any, attributes: dict[str, str]) -> None:
    assert row(**event)["attributes"] == attributes


def test_names_of_ours_are_a_clients_own() -> None:
    own = {"offset": 4, "row": "r", "vnode": 1, "log_id": "l", "event_id": "e", "observed_timestamp": "now"}
    found = row(**own)
    assert found["attributes"] == {name: str(value) for name, value in own.items()}
    assert found["event_id"] is None
    assert row(**{"_ess.offset": 5})["attributes"] == {"_ess.offset#2": "5"}
    assert row(_ess={"offset": 5}, attributes={"_ess.row": "x"})["attributes"] == {
        "_ess.offset#2": "5",
        "_ess.row#2": "x",
    }


@pytest.mark.parametrize(
    ("event", "stored"),
    [
        ({"severity_number": 17}, ("ERROR", 17)),
        ({"severity_number": "9"}, ("INFO", 9)),
        ({"severity_number": 18, "level": "warn"}, ("WARN", 18)),
        ({"severity_number": 99}, (None, 99)),
        ({"severity_number": 2**40}, (None, None)),
        ({"severity_number": "high", "level": "info"}, ("INFO", 9)),
    ],
)
def test_a_severity_number_that_is_sent_is_the_events(event: dict[str, Any], stored: tuple[Any, Any]) -> None:
    found = row(**event)
    assert (found["level"], found["severity_number"]) == stored


def test_of_duplicate_keys_the_last_wins() -> None:
    found = rows(b'[{"message":"a","message":"b","x":1,"x":2,"attributes":{"k":"1"},"attributes":{"k":"2","k":"3"}}]')[
        0
    ]
    assert (found["message"], found["attributes"]) == ("b", {"x": "2", "k": "3"})


def nest(levels: int, key: str = "a") -> dict[str, Any]:
    value: Any = "x"
    for _ in range(levels):
        value = {key: value}
    assert isinstance(value, dict)
    return value


def test_a_hundred_levels_are_kept_and_one_more_is_rejected() -> None:
    assert row(attributes=nest(100))["attributes"] == {".".join("a" * 100): "x"}
    assert "100 levels" in reason(message="m", attributes=nest(101))
    assert row(**nest(100))["attributes"] == {".".join("a" * 100): "x"}
    assert "100 levels" in reason(message="m", **nest(101))
    lists: Any = "x"
    for _ in range(99):
        lists = [lists]
    assert row(attributes={"l": lists})["attributes"]["l"].startswith("[[[")
    assert "100 levels" in reason(message="m", attributes={"l": [lists]})
    assert "100 levels" in reason(message="m", attributes=nest(900))


@pytest.mark.parametrize("open_close", [('{"a":', "}"), ("[", "]")])
@pytest.mark.parametrize("levels", [1_020, 5_000, 500_000])
def test_json_too_deep_to_parse_is_refused(open_close: tuple[str, str], levels: int) -> None:
    nested = open_close[0] * levels + "1" + open_close[1] * levels
    for body in (nested, f'[{{"message":"m","attributes":{nested}}}]', f'[{{"message":"\\ud800","x":{nested}}}]'):
        with pytest.raises(BadRequest):
            decode(body.encode())


def test_lone_surrogates_become_replacement_characters() -> None:
    event = rb'{"message":"a\ud800b\udc00","service":"\uD83D\uDE00","attributes":{"k\udfff":"\ud800x","l":["\ud800"]}}'
    body = b"[" + event + rb',{"message":"plain \u00e9"}]'
    first, second = rows(body)
    assert first["message"] == "a\ufffdb\ufffd"
    assert first["service"] == "\U0001f600"
    assert first["attributes"] == {"k\ufffd": "\ufffdx", "l": '["\ufffd"]'}
    assert second["message"] == "plain é"
    assert rows(rb'{"message":"\ud800"}', NDJSON)[0]["message"] == "\ufffd"


def test_bytes_that_are_no_utf8_are_replaced_in_one_event_alone() -> None:
    good = b'{"message":"good","n":1}'
    for bad, text in ((b"\xff", "\ufffd"), (b"\xed\xa0\x80", "\ufffd" * 3), (b"caf\xe9", "caf\ufffd")):
        body = b"[" + good + b',{"message":"' + bad + b'","k":"' + bad + b'"},' + good + b"]"
        found = rows(body)
        assert [row["message"] for row in found] == ["good", text, "good"]
        assert (found[0]["attribute_types"], found[1]["attributes"]) == ("n", {"k": text})


def test_numbers_keep_their_digits() -> None:
    digits = "123456789012345678901234567890"
    attributes = f'{{"m":-{digits},"u":18446744073709551615,"e":1e30}}'
    body = f'[{{"message":"m","n":{digits},"l":[{digits}],"attributes":{attributes}}}]'
    kept = {"n": digits, "l": f"[{digits}]", "m": f"-{digits}", "u": "18446744073709551615", "e": "1e+30"}
    assert rows(body.encode())[0]["attributes"] == kept
    assert rows(body[1:-1].encode(), NDJSON)[0]["attributes"] == kept


@pytest.mark.parametrize("number", ["1e400", "-1e400", "9" * 5000, "NaN", "Infinity", "-Infinity"])
def test_what_is_no_json_number_is_kept_as_text(number: str) -> None:
    lines = [b'{"message":"good"}', f'{{"message":"m","n":{number},"l":[{number}]}}'.encode()]
    lines.append(f'{{"message":"m","timestamp":{number}}}'.encode())
    for body, kind in ((b"[" + b",".join(lines) + b"]", None), (b"\n".join(lines), NDJSON)):
        decoded = decode(body, kind)
        assert decoded.rejected == []
        assert [index for index, _ in decoded.adjusted] == [2]
        attributes = decoded.batch.column("attributes").to_pylist()
        assert attributes[1:] == [[("n", number), ("l", f'["{number}"]')], [("original_timestamp", number)]]
        assert decoded.batch.column("attribute_types").to_pylist() == [None, "sj", None]


def test_an_event_has_at_most_512_kib() -> None:
    assert row(message="x" * (512 * 1024))["message"].startswith("xxx")
    for event in (
        {"message": "x" * (512 * 1024 + 1)},
        {"message": "é" * (256 * 1024) + "x"},
        {"message": "", "a": "x" * (512 * 1024)},
    ):
        assert "524288 bytes" in reason(**event)
    # Small as JSON, large when flattened: the prefix is in every key.
    inner = {f"{i}": "x" for i in range(1000)}
    assert "524288 bytes" in reason(message="m", attributes={"p" * 2000: inner})


def test_many_events_that_flatten_to_too_much_are_refused_together() -> None:
    inner = {f"{i}": "x" for i in range(200)}
    event = {"message": "m", "attributes": {"p" * 2000: inner}}
    assert len(decode([event] * 10).batch) == 10
    with pytest.raises(TooLarge):
        decode([event] * 400)


def test_a_body_hash_counts_what_was_rejected() -> None:
    assert body_hash(b"a", []) == body_hash(b"a", []) != body_hash(b"b", [])
    assert body_hash(b"a", [(1, "x")]) == body_hash(b"a", [(1, "y")]) != body_hash(b"a", [])


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


# ------------------------------------------------------------------------------------------------------------ hashes
def hashes(*events: dict[str, Any]) -> list[bytes | None]:
    found: list[bytes | None] = decode(list(events)).batch.column("event_hash").to_pylist()
    return found


def test_an_event_with_an_id_has_a_hash_of_what_was_sent() -> None:
    sent = {"message": "created", "id": "o-7", "n": 1.50, "a": {"b": [1]}}
    (first,) = hashes(sent)
    assert first is not None
    assert hashes({"a": {"b": [1]}, "n": 1.5, "id": "o-7", "message": "created"}, {"message": "m"}) == [first, None]
    # However it is parsed, and whatever stands beside it.
    assert hashes(sent, {"message": "m", "n": 10**30}, {"message": "m", "level": ["odd"]})[0] == first
    assert decode(b'[%s,{"message":"\xff"}]' % json.dumps(sent).encode()).batch.column("event_hash")[0].as_py() == first
    others = hashes(
        *({**sent, **change} for change in ({"message": "paid"}, {"n": 2}, {"timestamp": NOW_US}, {"level": "info"}))
    )
    assert len({first, *others}) == 5


def test_an_id_that_is_no_text_has_a_hash_too() -> None:
    assert hashes({"message": "m", "id": 7})[0] is not None
    assert hashes({"message": "m", "id": ""}) == [None]


# ---------------------------------------------------------------------------------------------------------- answers
def test_what_is_stored_is_202_with_what_was_rejected_and_adjusted() -> None:
    stored = Stored()
    stored.add(Decoded(decode([{"message": "a"}]).batch, [(1, "why")], [(0, "late")]), is_repeat=False)
    stored.add(Decoded(decode([{"message": "b"}]).batch, [(1, "too")]), is_repeat=True)
    answer = JSON_EVENTS.accepted(stored, "application/x-ndjson")
    assert (answer.status, answer.media_type) == (202, "application/json")
    assert json.loads(answer.content) == {
        "accepted": 2,
        "rejected": [{"index": 1, "reason": "why"}, {"index": 3, "reason": "too"}],
        "adjusted": [{"index": 0, "reason": "late"}],
    }


@pytest.mark.parametrize(("is_repeat", "repeats"), [(True, 1), (False, 0)])
def test_repeats_are_told_where_they_were_looked_for(is_repeat: bool, repeats: int) -> None:
    stored = Stored(repeats=0)
    stored.add(decode([{"message": "a"}]), is_repeat)
    assert json.loads(JSON_EVENTS.accepted(stored, None).content)["repeats"] == repeats


def test_a_request_without_one_valid_event_is_no_success() -> None:
    stored = Stored()
    stored.add(Decoded(decode([]).batch, [(0, "why"), (1, "why")]), is_repeat=False)
    with pytest.raises(BadRequest, match="none of the 2 events is valid") as caught:
        JSON_EVENTS.accepted(stored, None)
    assert [each["index"] for each in caught.value.details["rejected"]] == [0, 1]


def test_a_refusal_is_a_problem_document_whose_standard_members_stay() -> None:
    refusal = Refusal(422, "No", "why not", "urn:x", {"limit": 5, "status": 200, "detail": "other"})
    answer = JSON_EVENTS.refused(refusal, "text/plain")
    assert (answer.status, answer.media_type) == (422, "application/problem+json")
    assert json.loads(answer.content) == {
        "limit": 5,
        "type": "urn:x",
        "title": "No",
        "status": 422,
        "detail": "why not",
    }
