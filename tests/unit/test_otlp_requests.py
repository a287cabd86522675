"""Large OTLP requests, cut into pieces, and the answers to all of them."""

from __future__ import annotations

import json
from hashlib import sha256
from typing import Any

import pytest
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest, ExportLogsServiceResponse
from opentelemetry.proto.logs.v1.logs_pb2 import ScopeLogs

from ess_ray.core.errors import BadRequest, TooLarge
from ess_ray.intake.decoded import Decoded
from ess_ray.intake.fields import FIELD_TABLE
from ess_ray.intake.formats import otlp
from ess_ray.intake.formats.format import Body, Stored
from ess_ray.intake.formats.json_events import decode_events
from ess_ray.intake.formats.otlp import OTLP_LOGS
from ess_ray.problem import Refusal
from tests.otlp import JSON, PROTOBUF, encoded, record, request_of, resource_of, scope_of
from tests.otlp_rows import LIMITS, NOW_US, decode, encoding, shown

__all__ = ["encoding"]


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
