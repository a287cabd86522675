"""Which bodies are read as which events, and how they are answered."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma

import pytest
import zstandard

from ess_ray.core.errors import BadRequest, Unsupported
from ess_ray.intake.decoded import Decoded
from ess_ray.intake.fields import FIELD_TABLE
from ess_ray.intake.formats.format import Body, Stored
from ess_ray.intake.formats.json_events import JSON_EVENTS, decode_events
from ess_ray.intake.formats.json_values import read_values
from ess_ray.problem import Refusal, kind_of
from tests.json_events import LIMITS, NOW_US, decode, rows

NDJSON = "application/x-ndjson"


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
