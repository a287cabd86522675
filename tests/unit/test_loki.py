"""Loki's push requests to rows: labels, metadata, times, both encodings, and what is wrong with one entry."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ess_ray.core.errors import BadRequest, TooLarge, Unsupported
from ess_ray.core.event import MAX_EVENT_BYTES
from ess_ray.intake.decoded import Decoded
from ess_ray.intake.fields import FIELD_TABLE
from ess_ray.intake.formats import loki
from ess_ray.intake.formats.format import Body, Stored
from ess_ray.intake.formats.json_pieces import PIECE_BYTES
from ess_ray.intake.formats.loki import LOKI_PUSH, encoding_of
from ess_ray.intake.formats.loki_labels import read_labels
from ess_ray.intake.formats.loki_protobuf import PushRequest
from ess_ray.intake.limits import IntakeLimits
from tests.loki import JSON, PROTOBUF, Streams, as_json, as_protobuf, packed, rows_of

NOW_US = 1_790_000_000_000_000
NOW_NS = NOW_US * 1_000
LIMITS = IntakeLimits()


def decode(body: bytes, kind: str | None = JSON) -> Decoded:
    return LOKI_PUSH.decode(Body(body, kind), NOW_US, LIMITS)


def both(streams: Streams) -> list[dict[str, Any]]:
    """Give the rows of a request, the same in both encodings."""
    rows = rows_of(decode(as_json(streams)).batch)
    assert rows_of(decode(as_protobuf(streams), PROTOBUF).batch) == rows
    return rows


def one(labels: dict[str, str], line: str = "m", metadata: dict[str, str] | None = None) -> dict[str, Any]:
    (row,) = both([(labels, [(NOW_NS, line, metadata)] if metadata else [(NOW_NS, line)])])
    return row


def test_a_line_its_time_and_its_labels() -> None:
    row = one({"app": "shop", "level": "error", "hostname": "web-1", "env": "prod"}, "card declined")
    assert (row["message"], row["level"], row["severity_number"]) == ("card declined", "ERROR", 17)
    assert (row["service"], row["host"], row["attributes"]) == ("shop", "web-1", {"env": "prod"})


def test_nanoseconds_are_cut_to_microseconds() -> None:
    first, second = both([({}, [(NOW_NS - 1, "a"), (NOW_NS + 999, "b")])])
    us = [int(row["timestamp"].timestamp() * 1_000_000 + 0.5) for row in (first, second)]
    assert us == [NOW_US - 1, NOW_US]


@pytest.mark.parametrize(
    ("labels", "service", "left"),
    [
        ({"service_name": "a", "app": "b", "job": "c"}, "a", {"app": "b", "job": "c"}),
        ({"app": "b", "job": "c"}, "b", {"job": "c"}),
        ({"job": "c", "container": "d"}, "c", {"container": "d"}),
        ({"container": "d"}, None, {"container": "d"}),
    ],
)
def test_the_service_is_the_first_name_that_is_there(labels: dict[str, str], service: str, left: Any) -> None:
    row = one(labels)
    assert (row["service"], row["attributes"]) == (service, left)


@pytest.mark.parametrize(
    ("labels", "level"),
    [
        ({"level": "warning", "detected_level": "error"}, "WARN"),
        ({"detected_level": "error", "severity": "info"}, "ERROR"),
        ({"severity": "info"}, "INFO"),
    ],
)
def test_the_level_is_the_first_name_that_is_there(labels: dict[str, str], level: str) -> None:
    row = one(labels)
    assert row["level"] == level
    assert len(row["attributes"]) == len(labels) - 1


@pytest.mark.parametrize("name", ["host", "hostname", "instance"])
def test_names_of_the_host(name: str) -> None:
    assert one({name: "web-1"})["host"] == "web-1"


def test_metadata_go_before_labels_and_of_one_name_both_stay() -> None:
    row = one({"pod": "a", "level": "info", "app": "shop"}, "m", {"pod": "b", "level": "error", "trace_id": "AB" * 16})
    assert (row["level"], row["trace_id"], row["service"]) == ("ERROR", "ab" * 16, "shop")
    assert row["attributes"] == {"pod": "b", "pod#2": "a", "level": "info"}


def test_lines_of_a_stream_share_its_labels_whether_or_not_they_have_metadata() -> None:
    labels = {"app": "shop", "env": "prod"}
    rows = both([(labels, [(NOW_NS, "a"), (NOW_NS, "b", {"user": "7"}), (NOW_NS, "c")])])
    assert [row["service"] for row in rows] == ["shop"] * 3
    assert [row["attributes"] for row in rows] == [{"env": "prod"}, {"user": "7", "env": "prod"}, {"env": "prod"}]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"level":"error","msg":"x"}', '{"level":"error","msg":"x"}'),
        ("a\n", "a"),
        ("a\r\n", "a"),
        (" a \n\n", " a \n"),
        ("", ""),
        ("a\0b", "a\0b"),
    ],
)
def test_a_line_stays_as_it_is_but_for_its_end(line: str, message: str) -> None:
    row = one({}, line)
    assert (row["message"], row["level"]) == (message, None)


def test_a_time_that_no_event_has_is_kept_beside_that_of_receipt() -> None:
    streams: Streams = [({}, [(1, "old"), (NOW_NS, "m"), (NOW_NS + 10**15, "new")])]
    for decoded in (decode(as_json(streams)), decode(as_protobuf(streams), PROTOBUF)):
        assert [index for index, _ in decoded.adjusted] == [0, 2]
        old, usual, new = rows_of(decoded.batch)
        assert old["attributes"] == {"original_timestamp": "1"}
        assert usual["attributes"] == {}
        assert new["attributes"] == {"original_timestamp": str(NOW_NS + 10**15)}
        assert old["timestamp"] == new["timestamp"] == usual["timestamp"]


def test_no_time_is_that_of_receipt() -> None:
    (row,) = both([({}, [(0, "m")])])
    assert (int(row["timestamp"].timestamp()), row["attributes"]) == (NOW_US // 1_000_000, {})


@pytest.mark.parametrize("ns", ["abc", "1.5", "9" * 29])
def test_a_time_in_text_that_is_none_is_kept_beside_that_of_receipt(ns: str) -> None:
    decoded = decode(json.dumps({"streams": [{"stream": {}, "values": [[ns, "m"]]}]}).encode())
    assert [index for index, _ in decoded.adjusted] == [0]
    assert rows_of(decoded.batch)[0]["attributes"] == {"original_timestamp": ns}


@pytest.mark.parametrize(
    ("entry", "why"),
    [
        ([NOW_NS, "m"], "text"),
        ([None, "m"], "text"),
        ([str(NOW_NS)], "array of its time"),
        ("m", "array of its time"),
        ([str(NOW_NS), "m", "x"], "metadata"),
    ],
)
def test_what_is_wrong_with_an_entry_costs_no_other(entry: Any, why: str) -> None:
    streams = [{"stream": {}, "values": [[str(NOW_NS), "a"], entry, [str(NOW_NS), "b"]]}]
    decoded = decode(json.dumps({"streams": streams}).encode())
    assert [row["message"] for row in rows_of(decoded.batch)] == ["a", "b"]
    ((index, reason),) = decoded.rejected
    assert index == 1
    assert why in reason


def test_labels_that_cannot_be_read_cost_their_own_stream_alone() -> None:
    request = PushRequest()
    for labels in (b'{a="b"}', b"{a=b}", b'{c="d"}'):
        request.streams.add(labels=labels).entries.add(line=b"m")
    decoded = decode(request.SerializeToString(), PROTOBUF)
    assert [row["attributes"] for row in rows_of(decoded.batch)] == [{"a": "b"}, {"c": "d"}]
    assert [index for index, _ in decoded.rejected] == [1]
    assert "a=b" in decoded.rejected[0][1]


@pytest.mark.parametrize(
    "stream", [{"stream": 5, "values": [["1", "m"]]}, {"labels": "{a=b}", "entries": [{"line": "m"}]}]
)
def test_labels_in_json_that_cannot_be_read_cost_their_own_stream_alone(stream: Any) -> None:
    good = {"stream": {"a": "b"}, "values": [[str(NOW_NS), "m"]]}
    decoded = decode(json.dumps({"streams": [stream, good]}).encode())
    assert (len(decoded.batch), [index for index, _ in decoded.rejected]) == (1, [0])


@pytest.mark.parametrize("stream", [5, None, [], {"stream": {}, "values": 5}, {"labels": "{}", "entries": {}}])
def test_what_is_no_stream_costs_no_other(stream: Any) -> None:
    good = {"stream": {"a": "b"}, "values": [[str(NOW_NS), "m"]]}
    decoded = decode(json.dumps({"streams": [good, stream, good]}).encode())
    assert (len(decoded.batch), [index for index, _ in decoded.rejected]) == (2, [1])


def test_an_entry_over_the_limit_costs_no_other() -> None:
    for body, kind in (
        (as_json([({}, [(NOW_NS, "x" * (MAX_EVENT_BYTES + 1)), (NOW_NS, "m")])]), JSON),
        (as_protobuf([({}, [(NOW_NS, "x" * (MAX_EVENT_BYTES + 1)), (NOW_NS, "m")])]), PROTOBUF),
    ):
        decoded = decode(body, kind)
        assert ([index for index, _ in decoded.rejected], len(decoded.batch)) == ([0], 1)


def test_the_first_form_of_json() -> None:
    stream = {"labels": '{app="shop"}', "entries": [{"ts": "2026-09-21T13:33:20.123456789+00:00", "line": "m"}]}
    (row,) = rows_of(decode(json.dumps({"streams": [stream]}).encode()).batch)
    assert (row["message"], row["service"]) == ("m", "shop")
    assert row["timestamp"].isoformat() == "2026-09-21T13:33:20.123456+00:00"


def test_no_streams_and_no_entries_are_fine() -> None:
    assert both([]) == both([({"a": "b"}, [])]) == []
    assert len(decode(b"{}").batch) == 0


def test_text_that_is_no_utf8_is_mended() -> None:
    request = PushRequest()
    entry = request.streams.add(labels=b'{a="\xff"}').entries.add(line=b"caf\xe9")
    entry.metadata.add(name=b"\xfe", value=b"\xc3")
    (row,) = rows_of(decode(request.SerializeToString(), PROTOBUF).batch)
    assert (row["message"], row["attributes"]) == ("caf\ufffd", {"\ufffd": "\ufffd", "a": "\ufffd"})
    (row,) = rows_of(decode(b'{"streams":[{"stream":{"a":"\xff"},"values":[["0","\\ud800 \xe9"]]}]}').batch)
    assert (row["message"], row["attributes"]) == ("\ufffd \ufffd", {"a": "\ufffd"})


def test_other_fields_of_protobuf_are_ignored() -> None:
    with_hash = as_protobuf([({"a": "b"}, [(NOW_NS, "m")])])
    length = with_hash[1]
    body = b"\x0a" + bytes([length + 2]) + with_hash[2:] + b"\x18\x05" + b"\x20\x07"
    assert [row["message"] for row in rows_of(decode(body, PROTOBUF).batch)] == ["m"]


# ------------------------------------------------------------------------------------------------------------ labels
@pytest.mark.parametrize(
    ("text", "labels"),
    [
        ("{}", {}),
        (" { } ", {}),
        ('{a="b"}', {"a": "b"}),
        ('{a="b",c="d"}', {"a": "b", "c": "d"}),
        ('{ a = "b" , c = "d" , }', {"a": "b", "c": "d"}),
        ('{a="",_x:y="1"}', {"a": "", "_x:y": "1"}),
        (r'{a="\"\\\n\t\u00e9\U0001F600\x41\101"}', {"a": '"\\\n\té😀AA'}),
        (r'{a="\xc3\xa9\xff"}', {"a": "é\ufffd"}),
        (r'{a="\ud800"}', {"a": "\ufffd"}),
        ('{a="},{=,"}', {"a": "},{=,"}),
        ('{a=`\\n"`}', {"a": '\\n"'}),
        ('{a="1",a="2"}', {"a": "2"}),
    ],
)
def test_labels(text: str, labels: dict[str, str]) -> None:
    assert read_labels(text) == labels


@pytest.mark.parametrize(
    "text",
    [
        *("", "{", "}", "a", '{a="b"', 'a="b"}', "{a=b}", '{1a="b"}', '{a-b="c"}', '{é="b"}', "{a='b'}"),
        *('{a="b" c="d"}', "{,}", '{a="b",,c="d"}', '{a="b}', '{a="b\n"}', r'{a="\q"}', r'{a="\400"}'),
        r'{a="\U00110000"}',
    ],
)
def test_what_is_no_labels(text: str) -> None:
    with pytest.raises(ValueError, match=r"label|brace|comma|escape"):
        read_labels(text)


# ---------------------------------------------------------------------------------------------------- kinds of bodies
@pytest.mark.parametrize(
    "body", [b"no json", b"[]", b'{"streams":5}', b'{"streams":[{"values":5}]', b'{"streams":[{"values":[["1",m]]}]}']
)
def test_what_is_no_json_of_lokis_is_refused(body: bytes) -> None:
    with pytest.raises(BadRequest):
        decode(body)


@pytest.mark.parametrize("body", [b"no protobuf", b"\x0a\xff", b"\x0a\x05abc", b"\x00\x01", b'{"streams":[]}'])
def test_what_is_no_protobuf_is_refused(body: bytes) -> None:
    with pytest.raises(BadRequest, match="Loki"):
        decode(body, PROTOBUF)


@pytest.mark.parametrize("kind", [JSON, "application/json; charset=utf-8", "text/json", "", None, "text/plain"])
def test_types_of_json(kind: str | None) -> None:
    assert len(decode(as_json([({}, [(NOW_NS, "m")])]), kind).batch) == 1
    assert encoding_of(as_json([({}, [(NOW_NS, "m")])]), kind) is None


@pytest.mark.parametrize("kind", [PROTOBUF, f"{PROTOBUF}; x=y", "application/protobuf", "", None])
def test_types_of_protobuf(kind: str | None) -> None:
    body = as_protobuf([({}, [(NOW_NS, "m")])])
    assert len(decode(body, kind).batch) == 1
    assert encoding_of(packed(body), kind) == "snappy"


def test_a_packed_body_that_begins_like_json_is_none() -> None:
    bodies = (as_protobuf([({}, [(NOW_NS, "x" * length)])]) for length in range(123))
    body = next(body for body in bodies if len(body) == ord("{"))
    assert packed(body)[:1] == b"{"
    assert encoding_of(packed(body), None) == "snappy"


def test_other_types_are_unsupported() -> None:
    assert encoding_of(b"<a/>", "text/xml") is None
    with pytest.raises(Unsupported, match="text/xml"):
        decode(b"<a/>", "text/xml")


# ------------------------------------------------------------------------------------------------------ large bodies
@pytest.mark.parametrize("kind", [JSON, PROTOBUF])
@pytest.mark.parametrize("several", [False, True], ids=["one stream", "many streams"])
def test_a_large_body_is_cut_into_pieces_that_are_the_whole(kind: str, several: bool) -> None:
    lines: list[tuple[int, str]] = [(NOW_NS, f"{n:05d} " + "x" * 150) for n in range(9_000)]
    labels = {"app": "shop", "env": "prod"}
    streams = [(labels, [line]) for line in lines] if several else [(labels, lines)]
    body = Body(as_json(streams) if kind == JSON else as_protobuf(streams), kind)
    assert LOKI_PUSH.may_be_several(body)
    pieces = LOKI_PUSH.cut(body)
    assert len(pieces) > 2
    assert max(map(pieces.size, range(len(pieces)))) <= PIECE_BYTES
    rows = [
        row
        for number in range(len(pieces))
        for row in rows_of(pieces.decode(number, FIELD_TABLE, NOW_US, LIMITS).batch)
    ]
    assert [row["message"][:5] for row in rows] == [f"{n:05d}" for n in range(9_000)]
    assert {row["service"] for row in rows} == {"shop"}
    assert pieces.body_hash == LOKI_PUSH.cut(body).body_hash


def test_a_large_stream_of_the_first_form_is_cut_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loki, "PIECE_BYTES", 500)
    entries = [{"ts": "2026-09-21T13:33:20Z", "line": f"{n}"} for n in range(100)]
    body = json.dumps({"streams": [{"labels": '{a="b"}', "entries": entries}]}).encode()
    pieces = LOKI_PUSH.cut(Body(body, JSON))
    assert len(pieces) > 5
    parts = [pieces.decode(number, FIELD_TABLE, NOW_US, LIMITS) for number in range(len(pieces))]
    assert [row["message"] for part in parts for row in rows_of(part.batch)] == [f"{n}" for n in range(100)]


@pytest.mark.parametrize("kind", [JSON, PROTOBUF])
def test_labels_that_would_be_written_out_too_often_are_refused(kind: str) -> None:
    streams: Streams = [({"a": "x" * 100_000}, [(NOW_NS, "m")] * 20_000)]
    with pytest.raises(TooLarge, match="labels"):
        LOKI_PUSH.cut(Body(as_json(streams) if kind == JSON else as_protobuf(streams), kind))


@pytest.mark.parametrize("kind", [JSON, PROTOBUF])
def test_a_large_body_that_is_malformed_anywhere_is_refused_as_a_whole(kind: str) -> None:
    streams: Streams = [({"a": "b"}, [(NOW_NS, "x" * 1_000)] * 2_000)]
    body = as_json(streams) if kind == JSON else as_protobuf(streams)
    with pytest.raises(BadRequest):
        LOKI_PUSH.cut(Body(body[:-5], kind))


# ----------------------------------------------------------------------------------------------------------- answers
def test_all_stored_is_204_without_a_body() -> None:
    answer = LOKI_PUSH.accepted(Stored(accepted=3), PROTOBUF)
    assert (answer.status, answer.content) == (204, b"")


def test_some_rejected_is_400_with_the_first_reasons() -> None:
    answer = LOKI_PUSH.accepted(Stored(2, 5, rejected=[(n, f"why {n}") for n in range(5)]), JSON)
    assert (answer.status, answer.media_type) == (400, "text/plain")
    assert answer.content.decode() == (
        "5 entries can never be stored, 2 others are: at index 0: why 0; at index 1: why 1; at index 2: why 2, ...\n"
    )
