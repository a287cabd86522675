"""Splunk's collector: bodies to rows, and what became of them to its exact codes."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ess_ray.core.errors import BadRequest
from ess_ray.core.event import MAX_EVENT_BYTES
from ess_ray.intake.decoded import Decoded
from ess_ray.intake.fields import FIELD_TABLE
from ess_ray.intake.formats import hec
from ess_ray.intake.formats.format import Body, Stored
from ess_ray.intake.formats.hec import COLLECTOR, RAW_COLLECTOR, Collector
from ess_ray.intake.formats.hec_events import BLANK, INVALID, REQUIRED, UNREADABLE
from ess_ray.intake.limits import IntakeLimits
from ess_ray.problem import Refusal
from tests.loki import rows_of

NOW_US = 1_790_000_000_000_000
NOW_S = NOW_US // 1_000_000
LIMITS = IntakeLimits()


def decode(body: bytes, form: Collector = COLLECTOR) -> Decoded:
    return form.decode(Body(body), NOW_US, LIMITS)


def one(**envelope: Any) -> dict[str, Any]:
    (row,) = rows_of(decode(json.dumps(envelope).encode()).batch)
    return row


def messages(decoded: Decoded) -> list[str]:
    found: list[str] = decoded.batch.column("message").to_pylist()
    return found


@pytest.mark.parametrize(
    ("event", "message"),
    [("text", "text"), ("line\n", "line"), (5, "5"), (0, "0"), (1.5, "1.5"), (True, "true"), ([1, "a"], '[1,"a"]')],
)
def test_an_event_of_any_kind(event: Any, message: str) -> None:
    assert one(event=event)["message"] == message


def test_an_event_that_is_an_object_has_its_own_names() -> None:
    event = {"msg": "declined", "severity": "warning", "host": "inner", "trace_id": "AB" * 16, "user": {"id": 7}}
    row = one(event=event, host="outer", sourcetype="json", index="main", source="/var/log/shop")
    assert (row["message"], row["level"], row["host"]) == ("declined", "WARN", "inner")
    assert (row["service"], row["trace_id"]) == ("/var/log/shop", "ab" * 16)
    assert row["attributes"] == {"user.id": "7", "host": "outer", "sourcetype": "json", "index": "main"}


def test_an_object_without_a_message_is_one_itself() -> None:
    row = one(event={"user": 7})
    assert (row["message"], row["attributes"]) == ('{"user":7}', {"user": "7"})
    assert one(event={})["message"] == "{}"


def test_what_docker_sends() -> None:
    event = {"line": "hello", "source": "stdout", "tag": "abc", "attrs": {"env": "prod"}}
    row = one(event=event, time="1789999999.123456", host="docker-1")
    assert (row["message"], row["host"], row["service"]) == ("hello", "docker-1", None)
    assert row["attributes"] == {"source": "stdout", "tag": "abc", "attrs.env": "prod"}
    assert row["timestamp"].isoformat().startswith("2026-09-21T14:13:19.123456")


@pytest.mark.parametrize(
    ("event", "service", "left"),
    [
        ({"message": "m", "service": "a"}, "a", {"source": "s"}),
        ({"message": "m", "job": "a"}, "a", {"source": "s"}),
        ({"message": "m", "ident": "a"}, "s", {"ident": "a"}),
        ("text", "s", {}),
    ],
)
def test_where_the_source_stands_among_names_of_a_service(event: Any, service: str, left: Any) -> None:
    row = one(event=event, source="s")
    assert (row["service"], row["attributes"]) == (service, left)


def test_the_prefix_of_attributes_is_no_part_of_a_name() -> None:
    row = one(event={"message": "m", "attributes": {"a": "1"}}, fields={"attributes.a": "2"}, **{"attributes.b": "3"})
    assert row["attributes"] == {"a": "1", "a#2": "2", "b": "3"}


def test_fields_are_attributes_after_the_events_own_and_before_the_envelopes() -> None:
    row = one(event={"message": "m", "a": "1"}, fields={"a": "2", "level": "error", "n": 5}, a="3")
    assert (row["level"], row["attributes"]) == ("ERROR", {"a": "1", "a#2": "2", "n": "5", "a#3": "3"})
    assert one(event="m", fields="odd")["attributes"] == {"fields": "odd"}


@pytest.mark.parametrize(
    "time", [NOW_S - 1, f"{NOW_S - 1}", f"{NOW_S - 1}.000", (NOW_S - 1) * 1_000, (NOW_S - 1) * 10**9, float(NOW_S - 1)]
)
def test_times_by_their_magnitude(time: Any) -> None:
    row = one(event={"message": "m", "timestamp": "2020-01-01T00:00:00Z"}, time=time)
    assert int(row["timestamp"].timestamp()) == NOW_S - 1
    assert row["attributes"] == {"timestamp": "2020-01-01T00:00:00Z"}


@pytest.mark.parametrize(("time", "original"), [("soon", "soon"), (5, "5"), (True, "true"), (NOW_S + 9_999, None)])
def test_a_time_that_no_event_has_is_kept_beside_that_of_receipt(time: Any, original: str | None) -> None:
    row = one(event="m", time=time)
    assert int(row["timestamp"].timestamp()) == NOW_S
    assert row["attributes"] == {"original_timestamp": original or str(time)}


@pytest.mark.parametrize("time", [None, ""])
def test_without_a_time_the_events_own_counts(time: Any) -> None:
    assert int(one(event={"message": "m", "ts": NOW_S - 5}, time=time)["timestamp"].timestamp()) == NOW_S - 5
    assert int(one(event="m", time=time)["timestamp"].timestamp()) == NOW_S


@pytest.mark.parametrize("between", [b"", b" ", b"\n", b"\r\n\t"])
def test_objects_one_behind_another(between: bytes) -> None:
    objects = [b'{"event":"a}{"}', b'{"event":{"message":"b"}}', b'{"event":"\\"c"}']
    decoded = decode(between + between.join(objects) + between)
    assert (messages(decoded), decoded.rejected) == (["a}{", "b", '"c'], [])


def test_an_array_is_taken_too() -> None:
    assert messages(decode(b' [{"event":"a"}, {"event":"b"}]')) == ["a", "b"]
    with pytest.raises(BadRequest):
        decode(b'[{"event":"a"}, ')


def test_what_is_no_event_costs_no_other() -> None:
    decoded = decode(b'{"event":"a"}{}{"event":null}{"event":""}{"event":"b"}[1]{"event":"c"}')
    assert messages(decoded) == ["a", "b", "c"]
    assert decoded.rejected == [(1, REQUIRED), (2, REQUIRED), (3, BLANK), (5, INVALID)]


@pytest.mark.parametrize(
    "broken", [b'{"event":"b"', b'}{"event":"b"}', b'{"event":b"}', b'{"event":"b}', b'{"event":["b"}', b'"text', b"[1"]
)
def test_what_stands_before_something_unreadable_counts(broken: bytes) -> None:
    decoded = decode(b'{"event":"a"}{}\n' + broken + b'{"event":"c"}')
    assert messages(decoded) == ["a"]
    assert decoded.rejected == [(2, UNREADABLE), (1, REQUIRED)]


FLAWED = [b'{"event":b}', b'{"event":"\\x"}', b'{"event":"a\tb"}', b'{"event":"b",}', b"{'event':5}", b"none", b"\xff"]


@pytest.mark.parametrize("flawed", [*FLAWED, b'"text"', b","])
def test_what_is_no_json_but_surely_ends_costs_no_other(flawed: bytes) -> None:
    decoded = decode(b'{"event":"a"}' + flawed + b'\n{"event":"b"}' + flawed + b'{"event":"c"}' + flawed)
    assert messages(decoded) == ["a", "b", "c"]
    assert decoded.rejected == [(1, INVALID), (3, INVALID), (5, INVALID)]


@pytest.mark.parametrize("flawed", [*FLAWED, b'nonsense {"event":"x"}'])
def test_a_value_of_an_array_that_is_no_json_costs_no_other(flawed: bytes) -> None:
    decoded = decode(b'[{"event":"a"}, ' + flawed + b', {"event":"b"}]')
    assert messages(decoded) == ["a", "b"]
    assert decoded.rejected == [(1, INVALID)]


def test_what_stands_before_a_value_of_an_array_that_may_be_more_counts() -> None:
    decoded = decode(b'[{"event":"a"}, {"event":b"}, {"event":"c}, {"event":"d"}]')
    assert messages(decoded) == ["a"]
    assert decoded.rejected == [(1, UNREADABLE)]


def test_bad_bytes_deep_objects_and_large_numbers_cost_nothing_else() -> None:
    deep = b'{"event":' + b"[" * 2_000 + b"]" * 2_000 + b"}"
    decoded = decode(b'{"event":"\xff \\ud800"}' + deep + b'{"event":{"message":"m","n":123456789012345678901234}}')
    assert messages(decoded) == ["\ufffd \ufffd", "m"]
    assert rows_of(decoded.batch)[1]["attributes"] == {"n": "123456789012345678901234"}
    assert [index for index, _ in decoded.rejected] == [1]


def test_raw_lines_with_what_the_address_says() -> None:
    query = {"host": "h", "source": "s", "sourcetype": "t", "index": "i", "time": f"{NOW_S - 1}", "channel": "c"}
    decoded = decode(b'a\r\n\n  \n{"event":"b"}\n caf\xe9', RAW_COLLECTOR.asked(query, None, None))
    assert messages(decoded) == ["a", '{"event":"b"}', " caf\ufffd"]
    for row in rows_of(decoded.batch):
        assert (row["host"], row["service"]) == ("h", "s")
        assert row["attributes"] == {"sourcetype": "t", "index": "i"}
        assert int(row["timestamp"].timestamp()) == NOW_S - 1


# ------------------------------------------------------------------------------------------------------ large bodies
@pytest.mark.parametrize("form", ["objects", "array", "lines"])
def test_a_large_body_is_cut_into_pieces_that_are_the_whole(form: str) -> None:
    texts = [f"{n:05d} " + "x" * 150 for n in range(9_000)]
    objects = [json.dumps({"event": text, "host": "h"}) for text in texts]
    collector, body = {
        "objects": (COLLECTOR, "".join(objects)),
        "array": (COLLECTOR, f"[{','.join(objects)}]"),
        "lines": (RAW_COLLECTOR, "\n".join(texts)),
    }[form]
    assert collector.may_be_several(Body(body.encode()))
    pieces = collector.cut(Body(bytearray(body.encode())))
    assert len(pieces) > 1
    parts = [pieces.decode(number, FIELD_TABLE, NOW_US, LIMITS) for number in range(len(pieces))]
    assert [text for part in parts for text in messages(part)] == texts


def test_nothing_behind_a_piece_that_cannot_be_read_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hec, "PIECE_BYTES", 300)
    good = b'{"event":"a"}'
    pieces = COLLECTOR.cut(Body(good * 10 + b"{nonsense" + good * 10))
    stored = Stored()
    for number in range(len(pieces)):
        stored.add(pieces.decode(number, FIELD_TABLE, NOW_US, LIMITS), False)
    assert (stored.accepted, stored.rejected_total) == (10, 1)
    assert json.loads(COLLECTOR.accepted(stored, None).content)["invalid-event-number"] == 10


def test_one_huge_value_is_too_large_if_it_ends_and_unreadable_if_not() -> None:
    huge = b'{"event":"' + b"x" * (9 * MAX_EVENT_BYTES)
    for body, reason in ((huge + b'"}', "larger than"), (huge, UNREADABLE)):
        pieces = COLLECTOR.cut(Body(b'{"event":"a"}' + body))
        rejected = [
            named for n in range(len(pieces)) for named in pieces.decode(n, FIELD_TABLE, NOW_US, LIMITS).rejected
        ]
        assert len(rejected) == 1
        assert reason in rejected[0][1]


def test_the_same_lines_of_another_source_are_another_request() -> None:
    body = Body(b"a\n" * 3_000)
    hashes = set()
    for source in ("a", "b", "a"):
        form = RAW_COLLECTOR.asked({"source": source}, None, None)
        assert form.may_be_several(body)
        hashes.add(form.cut(body).body_hash)
    assert len(hashes) == 2


# ----------------------------------------------------------------------------------------------------------- answers
@pytest.mark.parametrize(
    ("stored", "status", "told"),
    [
        (Stored(1), 200, {"text": "Success", "code": 0}),
        (Stored(1, 1, rejected=[(1, REQUIRED)]), 200, {"text": "Success", "code": 0}),
        (Stored(), 400, {"text": "No data", "code": 5}),
        (Stored(0, 1, rejected=[(0, REQUIRED)]), 400, {"text": REQUIRED, "code": 12, "invalid-event-number": 0}),
        (
            Stored(0, 2, rejected=[(0, BLANK), (1, REQUIRED)]),
            400,
            {"text": BLANK, "code": 13, "invalid-event-number": 0},
        ),
        (Stored(0, 1, rejected=[(0, "too large")]), 400, {"text": INVALID, "code": 6, "invalid-event-number": 0}),
        (Stored(3, 1, rejected=[(3, UNREADABLE)]), 400, {"text": INVALID, "code": 6, "invalid-event-number": 3}),
    ],
)
def test_codes_of_what_was_taken(stored: Stored, status: int, told: Any) -> None:
    answer = COLLECTOR.accepted(stored, None)
    assert (answer.status, json.loads(answer.content), answer.media_type) == (status, told, "application/json")


def test_an_id_is_given_with_success_alone() -> None:
    form = COLLECTOR.asked({}, None, 77)
    assert json.loads(form.accepted(Stored(1), None).content) == {"text": "Success", "code": 0, "ackId": 77}
    assert b"ackId" not in form.accepted(Stored(0, 1, rejected=[(0, BLANK)]), None).content


@pytest.mark.parametrize(
    ("status", "authorization", "answered", "code", "text"),
    [
        (400, None, 400, 6, "Invalid data format"),
        (401, None, 401, 2, "Token is required"),
        (401, "nonsense", 401, 3, "Invalid authorization"),
        (401, "Splunk ", 401, 3, "Invalid authorization"),
        (401, "Digest x", 401, 3, "Invalid authorization"),
        (401, "Splunk x", 403, 4, "Invalid token"),
        (401, "bearer x", 403, 4, "Invalid token"),
        (403, "Splunk x", 403, 1, "Token disabled"),
        (404, None, 404, 404, "The requested URL was not found on this server."),
        (429, None, 503, 9, "Server is busy"),
        (503, None, 503, 9, "Server is busy"),
        (500, None, 500, 8, "Internal server error"),
    ],
)
def test_codes_of_refusals(status: int, authorization: str | None, answered: int, code: int, text: str) -> None:
    answer = COLLECTOR.asked({}, authorization, None).refused(Refusal(status, "", "secret"), None)
    assert (answer.status, json.loads(answer.content)) == (answered, {"text": text, "code": code})
