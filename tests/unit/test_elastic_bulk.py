"""Elasticsearch's `_bulk` as a format: lines, documents as rows, an item for each action."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ess_ray.core.errors import BadRequest, TooLarge, Unsupported
from ess_ray.core.event import MAX_EVENT_BYTES
from ess_ray.intake.decoded import Decoded
from ess_ray.intake.fields import FIELD_TABLE
from ess_ray.intake.formats import elastic_lines
from ess_ray.intake.formats.elastic_bulk import ELASTIC_BULK, ElasticBulk, ElasticDocument
from ess_ray.intake.formats.elastic_lines import MAX_ACTION_BYTES, Action
from ess_ray.intake.formats.format import Body, Stored
from ess_ray.intake.formats.json_pieces import MAX_VALUE_BYTES, PIECE_BYTES
from ess_ray.intake.limits import IntakeLimits
from ess_ray.problem import Refusal
from tests.elastic import NDJSON, create, items_of, lines

NOW_US = 1_790_000_000_000_000
LIMITS = IntakeLimits()


def read(body: bytes, index: str | None = None, content_type: str | None = NDJSON) -> Decoded:
    return ElasticBulk(index).decode(Body(body, content_type), NOW_US, LIMITS)


def row_of(document: Any, index: str | None = None, **about: Any) -> dict[str, Any]:
    """Read one document twice: by itself, as plain ones are, and beside one that has them all read one by one."""
    alone = rows_of(create(document, **about), index)
    beside = rows_of(create(document, **about) + create({"no": "message"}), index)
    assert alone == beside[:1]
    return alone[0]


def rows_of(body: bytes, index: str | None) -> list[dict[str, Any]]:
    rows = read(body, index).batch.to_pylist()
    return [{**row, "attributes": dict(row["attributes"] or [])} for row in rows]


# --------------------------------------------------------------------------------------------------------- documents
def test_a_document_is_an_event_by_ecs_names() -> None:
    document = {
        "@timestamp": "2026-09-21T10:00:00.123Z",
        "message": "hello",
        "log": {"level": "warn", "file": {"path": "/var/log/a"}},
        "service": {"name": "shop", "version": "2"},
        "host": {"name": "web-1", "ip": "10.0.0.1"},
        "trace": {"id": "ABCDEF0123456789ABCDEF0123456789"},
        "data_stream": {"type": "logs", "dataset": "nginx", "namespace": "default"},
    }
    row = row_of(document, index="logs-nginx-default")
    assert row["timestamp"].isoformat() == "2026-09-21T10:00:00.123000+00:00"
    assert (row["message"], row["level"], row["service"], row["host"]) == ("hello", "WARN", "shop", "web-1")
    assert row["trace_id"] == "abcdef0123456789abcdef0123456789"
    assert row["attributes"] == {
        "log.file.path": "/var/log/a",
        "service.version": "2",
        "host.ip": "10.0.0.1",
        "data_stream.type": "logs",
        "data_stream.dataset": "nginx",
        "data_stream.namespace": "default",
        "_index": "logs-nginx-default",
    }


def test_the_actions_id_is_the_events_and_a_documents_own_is_an_attribute() -> None:
    row = row_of({"message": "m", "id": 7}, id="a")
    assert (row["event_id"], row["attributes"]) == ("a", {"id": "7"})
    assert row["event_hash"] is not None
    row = row_of({"message": "m", "id": "x" * 200})
    assert (row["event_id"], row["event_hash"], row["attributes"]) == (None, None, {"id": "x" * 200})
    assert row_of({"message": "m", "id": None})["attributes"] == {}


@pytest.mark.parametrize(
    ("given", "expected"),
    [({"id": 1}, {"id": "1", "id#2": "7"}), ("text", {"attributes": "text", "id": "7"}), ({}, {"id": "7"})],
)
def test_a_documents_own_id_stands_beside_its_attributes(given: Any, expected: dict[str, str]) -> None:
    assert row_of({"message": "m", "id": 7, "attributes": given})["attributes"] == expected


def test_the_index_of_the_action_goes_before_that_of_the_address() -> None:
    assert row_of({"message": "m"}, "web")["attributes"] == {"_index": "web"}
    row = read(create({"message": "m"}, index="own"), "web").batch.to_pylist()[0]
    assert dict(row["attributes"]) == {"_index": "own"}
    assert row_of({"message": "m", "_index": "sent"}, "web")["attributes"] == {"_index": "sent", "_index#2": "web"}


def test_a_document_without_a_message_has_its_json_as_one() -> None:
    assert row_of({"a": 1, "id": 2}, "web", id="x")["message"] == '{"a":1,"id":2}'
    assert row_of({}, "web")["message"] == "{}"
    assert row_of({"msg": 5}, "web")["message"] == '{"msg":5}'


def test_the_same_id_long_or_short_is_the_same_event_and_another_document_is_not() -> None:
    first, again, other = (row_of({"message": text}, id="x" * 512) for text in ("m", "m", "n"))
    assert len(first["event_id"]) == 64
    assert (first["event_id"], first["event_hash"]) == (again["event_id"], again["event_hash"])
    assert first["event_hash"] != other["event_hash"]
    assert row_of({"message": "m"}, id="é" * 64)["event_id"] == "é" * 64
    assert len(row_of({"message": "m"}, id="é" * 65)["event_id"]) == 64


def test_numbers_beyond_64_bits_keep_their_digits_and_bad_bytes_cost_nothing() -> None:
    body = lines({"index": {}}, b'{"message":"a","n":123456789012345678901234567890}')
    body += lines({"index": {}}, b'{"message":"\xff\\ud800","x":NaN}')
    rows = read(body).batch.to_pylist()
    assert dict(rows[0]["attributes"])["n"] == "123456789012345678901234567890"
    assert rows[1]["message"] == "\ufffd\ufffd"


# ------------------------------------------------------------------------------------------------------------- items
@pytest.mark.parametrize(
    "flawed", [b'{"message":"x"}{"message":"y"}', b"{bad", b'{"message":"\\x"}', b"[1]", b"5", b""]
)
def test_a_document_that_is_none_costs_no_other_and_moves_none(flawed: bytes) -> None:
    read_back = read(
        create({"message": "a"}, id="1") + b'{"create":{}}\n' + flawed + b"\n" + create({"message": "b"}, id="2")
    )
    rows = read_back.batch.to_pylist()
    assert [(row["message"], row["event_id"]) for row in rows] == [("a", "1"), ("b", "2")]
    assert [index for index, _ in read_back.rejected] == [1]


def test_an_item_for_each_action_in_their_order_named_as_the_action() -> None:
    body = (
        lines({"create": {"_id": "1"}}, {"message": "a"})
        + lines({"delete": {"_id": "2", "_index": "own"}})
        + lines({"update": {"_id": "3"}}, {"doc": {"message": "b"}})
        + lines({"index": {"_id": "4"}}, b"no json")
        + lines({"index": {"_id": "5"}}, 5)
        + lines({"index": {"_id": "6"}}, b"")
        + lines({"index": {"_id": "7"}}, {"message": "x" * (MAX_EVENT_BYTES + 1)})
        + lines({"index": {"_id": "8"}}, {"message": "c"})
    )
    decoded = read(body, "web")
    items = items_of(decoded)
    assert [(name, item["_id"], item["status"]) for name, item in items] == [
        *(("create", "1", 201), ("delete", "2", 400), ("update", "3", 400), ("index", "4", 400)),
        *(("index", "5", 400), ("index", "6", 400), ("index", "7", 400), ("index", "8", 201)),
    ]
    assert [item["_index"] for _, item in items] == ["web", "own", *["web"] * 6]
    kinds = [item["error"]["type"] for _, item in items if "error" in item]
    assert kinds == [*["illegal_argument_exception"] * 2, *["document_parsing_exception"] * 4]
    assert all(item["error"]["reason"] for _, item in items if "error" in item)
    assert [row["message"] for row in decoded.batch.to_pylist()] == ["a", "c"]
    assert len(decoded.rejected) == 6


def test_a_document_that_nobody_named_gets_an_id_that_is_told_and_not_stored() -> None:
    decoded = read(create({"message": "m"}) * 3)
    ids = [item["_id"] for _, item in items_of(decoded)]
    assert len(set(ids)) == 3
    assert {len(one) for one in ids} == {20}
    assert {item["_index"] for _, item in items_of(decoded)} == {"logs"}
    assert decoded.batch.column("event_id").to_pylist() == [None] * 3
    assert decoded.batch.column("attributes").null_count == 3


@pytest.mark.parametrize("given", [None, ""])
def test_an_id_of_nothing_is_none(given: str | None) -> None:
    decoded = read(create({"message": "m"}, id=given))
    assert decoded.batch.column("event_id").to_pylist() == [None]
    assert items_of(decoded)[0][1]["_id"]


def test_an_id_that_is_a_number_is_its_text_and_a_long_one_is_told_as_it_was_sent() -> None:
    decoded = read(b"".join(create({"message": "m"}, id=given) for given in (12, 10**30, "x" * 300)))
    assert [item["_id"] for _, item in items_of(decoded)] == ["12", "1" + "0" * 30, "x" * 300]


def test_a_value_far_over_the_limit_is_not_even_read() -> None:
    body = create({"message": "a"}) + lines({"create": {}}, b"[" * (MAX_VALUE_BYTES + 1)) + create({"message": "b"})
    pieces = ELASTIC_BULK.cut(Body(body, NDJSON))
    parts = [pieces.decode(number, FIELD_TABLE, NOW_US, LIMITS) for number in range(len(pieces))]
    assert [item["status"] for part in parts for _, item in items_of(part)] == [201, 400, 201]


def test_what_grows_too_large_once_flattened_can_never_be_stored_and_is_told_so() -> None:
    wide = {"k" * 2_000: {f"{number:03d}": 1 for number in range(220)}, "message": "m"}
    items = items_of(read(create(wide) * 160))
    assert [item["status"] for _, item in items] == [400] * 160
    assert "once flattened" in items[0][1]["error"]["reason"]


# ------------------------------------------------------------------------------------------------------------- lines
@pytest.mark.parametrize(
    "action",
    [
        b"no json",
        b"5",
        b"[]",
        b"{}",
        b'{"create":{},"index":{}}',
        b'{"upsert":{}}',
        b'{"create":null}',
        b'{"create":[]}',
        b'{"create":{"_id":{}}}',
        b'{"create":{"_index":[1]}}',
        b'{"message":"a document without its action"}',
        b'{"create":{"_id":"' + b"x" * MAX_ACTION_BYTES + b'"}}',
    ],
)
def test_a_malformed_action_refuses_the_whole(action: bytes) -> None:
    body = create({"message": "a"}) + lines(action, {"message": "b"})
    with pytest.raises(BadRequest, match="action at index 1"):
        read(body)
    with pytest.raises(BadRequest, match="action at index 1"):
        ELASTIC_BULK.cut(Body(body, NDJSON))


@pytest.mark.parametrize("end", [b"", b"\n", b"\n\n \r\n"])
@pytest.mark.parametrize("name", ["create", "index", "update"])
def test_a_last_action_without_its_document_refuses_the_whole(name: str, end: bytes) -> None:
    body = create({"message": "a"}) + json.dumps({name: {}}).encode() + end
    with pytest.raises(BadRequest, match="has no document"):
        read(body)
    with pytest.raises(BadRequest, match="has no document"):
        ELASTIC_BULK.cut(Body(body, NDJSON))


@pytest.mark.parametrize("body", [b"", b"\n \r\n", b"\xef\xbb\xbf"])
def test_nothing_is_refused(body: bytes) -> None:
    with pytest.raises(BadRequest, match="empty"):
        read(body)
    with pytest.raises(BadRequest, match="empty"):
        ELASTIC_BULK.cut(Body(body, NDJSON))


def test_line_ends_of_any_kind_blank_lines_between_and_none_at_the_end() -> None:
    body = (
        b'\xef\xbb\xbf{"create":{}}\r\n{"message":"a"}\r\n\r\n\n{"delete":{"_id":"x"}}\n\n{"index":{}}\n{"message":"b"}'
    )
    decoded = read(body)
    assert [row["message"] for row in decoded.batch.to_pylist()] == ["a", "b"]
    assert [item["status"] for _, item in items_of(decoded)] == [201, 400, 201]


@pytest.mark.parametrize(
    "content_type",
    [
        None,
        "",
        "application/json",
        "application/x-ndjson; charset=utf-8",
        *(f"application/vnd.elasticsearch+x-ndjson; compatible-with={major}" for major in (7, 8, 9)),
        *(f"application/vnd.elasticsearch+json; compatible-with={major}" for major in (7, 8, 9)),
        "application/x-www-form-urlencoded",
        "text/plain",
    ],
)
def test_content_types(content_type: str | None) -> None:
    assert len(read(create({"message": "m"}), content_type=content_type).batch) == 1


def test_other_content_types_are_not_spoken() -> None:
    with pytest.raises(Unsupported, match="text/xml"):
        read(create({"message": "m"}), content_type="text/xml")
    with pytest.raises(Unsupported, match="application/cbor"):
        ELASTIC_BULK.cut(Body(create({"message": "m"}), "application/cbor"))


def test_more_actions_than_an_answer_can_hold_are_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(elastic_lines, "MAX_ACTIONS", 2)
    assert len(ELASTIC_BULK.cut(Body(create({}) * 2, NDJSON))) == 1
    with pytest.raises(TooLarge, match="more than 2 actions"):
        ELASTIC_BULK.cut(Body(create({}) * 3, NDJSON))


def test_a_large_body_is_cut_by_its_bytes_and_its_items_are_counted_through() -> None:
    body = b"".join(create({"message": f"{number:05d}", "x": "y" * 150}) for number in range(10_000))
    assert ELASTIC_BULK.may_be_several(Body(body, NDJSON))
    assert not ELASTIC_BULK.may_be_several(Body(body[: PIECE_BYTES // 4], NDJSON))
    pieces = ELASTIC_BULK.cut(Body(bytearray(body), NDJSON))
    assert len(pieces) > 3
    assert sum(pieces.size(number) for number in range(len(pieces))) == len(body)
    parts = [pieces.decode(number, FIELD_TABLE, NOW_US, LIMITS) for number in range(len(pieces))]
    ids = [item["_id"] for part in parts for _, item in items_of(part)]
    assert [int(one[14:], 16) for one in ids] == list(range(10_000))
    assert [text for part in parts for text in part.batch.column("message").to_pylist()] == [
        f"{number:05d}" for number in range(10_000)
    ]
    assert pieces.body_hash == ELASTIC_BULK.cut(Body(body, NDJSON)).body_hash


# ----------------------------------------------------------------------------------------------------------- answers
def test_the_answer_has_the_items_of_all_pieces() -> None:
    stored = Stored(took_ms=7)
    for body in (create({"message": "a"}, id="1"), create(5, id="2")):
        stored.add(read(body, "web"), is_repeat=False)
    answer = ELASTIC_BULK.accepted(stored, NDJSON)
    assert (answer.status, answer.media_type) == (200, "application/json")
    told = json.loads(answer.content)
    assert (told["took"], told["errors"]) == (7, True)
    assert told["items"][0] == {"create": {"_index": "web", "_id": "1", "status": 201}}
    assert told["items"][1]["create"]["status"] == 400
    fine = Stored()
    fine.add(read(create({"message": "a"})), is_repeat=True)
    assert json.loads(ELASTIC_BULK.accepted(fine, None).content)["errors"] is False


@pytest.mark.parametrize(
    ("status", "told", "kind"),
    [
        (400, 400, "illegal_argument_exception"),
        (401, 401, "security_exception"),
        (403, 403, "security_exception"),
        (404, 404, "resource_not_found_exception"),
        (405, 405, "method_not_allowed_exception"),
        (413, 413, "content_too_large_exception"),
        (415, 415, "media_type_header_exception"),
        (422, 422, "version_conflict_engine_exception"),
        (429, 503, "unavailable_shards_exception"),
        (503, 503, "unavailable_shards_exception"),
        (418, 418, "exception"),
    ],
)
def test_refusals_are_elasticsearchs_errors(status: int, told: int, kind: str) -> None:
    cause = {"type": kind, "reason": "why"}
    expected = {"error": {"root_cause": [cause], **cause}, "status": told}
    for form in (ELASTIC_BULK, ElasticDocument(Action("index", "web", None))):
        answer = form.refused(Refusal(status, "title", "why"), None)
        assert (answer.status, json.loads(answer.content)) == (told, expected)


def test_one_document_by_itself() -> None:
    form = ElasticDocument(Action("create", "web", "1"))
    body = Body(b'{\n "message": "m"\n}', "application/json")
    assert not form.may_be_several(body)
    (decoded,) = form.decode_together([body], NOW_US, LIMITS)
    assert isinstance(decoded, Decoded)
    assert decoded.batch.column("event_id").to_pylist() == ["1"]
    stored = Stored()
    stored.add(decoded, is_repeat=False)
    answer = form.accepted(stored, None)
    told = json.loads(answer.content)
    assert (answer.status, told["_index"], told["_id"], told["result"]) == (201, "web", "1", "created")


@pytest.mark.parametrize("body", [b"", b"no json", b"5"])
def test_one_document_that_is_none_is_refused(body: bytes) -> None:
    form = ElasticDocument(Action("index", "web", None))
    stored = Stored()
    stored.add(form.decode(Body(body), NOW_US, LIMITS), is_repeat=False)
    with pytest.raises(BadRequest):
        form.accepted(stored, None)
