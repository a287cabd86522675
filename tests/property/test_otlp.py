"""OTLP that was made up: both encodings and any cut mean what a naive reader says; no bytes do more than be refused."""

from __future__ import annotations

import base64
import json
import math
from typing import Any

import pytest
from google.protobuf.message import DecodeError
from hypothesis import example, given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord

from ess_ray.core.errors import BadRequest, TooLarge, Unsupported
from ess_ray.core.event import level_of_number, normalize_level
from ess_ray.intake.fields import FIELD_TABLE
from ess_ray.intake.formats import json_pieces, otlp
from ess_ray.intake.formats.format import Body
from ess_ray.intake.formats.otlp import OTLP_LOGS
from ess_ray.intake.limits import IntakeLimits
from tests.examples import examples
from tests.otlp import JSON, PROTOBUF, encoded, record, resource_of, scope_of, to_json

NOW_US = 1_790_000_000_000_000
LIMITS = IntakeLimits()

texts = st.text(max_size=6)
keys = st.sampled_from(["a", "b", "a.b", "a#2", "k", "", "é"])
scalars = (
    texts
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.sampled_from([0.0, 0.5, -2.25, 123456.75, math.inf, -math.inf, math.nan])
    | st.binary(max_size=4)
    | st.none()
)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3), max_leaves=6
)
attributes = st.dictionaries(keys, values, max_size=4)
times = st.sampled_from([0, 1, NOW_US * 1_000, 2**64 - 1]) | st.integers(NOW_US * 1_000 - 10**12, NOW_US * 1_000)
records = st.builds(
    record,
    values,
    attributes,
    time_unix_nano=times,
    observed_time_unix_nano=times,
    severity_number=st.integers(0, 25),
    severity_text=st.sampled_from(["", "info", "Odd"]),
    dropped_attributes_count=st.integers(0, 2),
    flags=st.integers(0, 2**32 - 1),
    trace_id=st.sampled_from([b"", bytes(16), bytes(range(16))]),
    span_id=st.binary(max_size=8),
    event_name=texts,
)
scopes = st.builds(scope_of, st.lists(records, max_size=3), texts, texts)
resources = st.builds(resource_of, st.lists(scopes, max_size=2), attributes)
requests = st.builds(lambda all_: ExportLogsServiceRequest(resource_logs=all_), st.lists(resources, max_size=3))


# ---------------------------------------------------------------------------------------------------- a naive reader
def plain(value: Any) -> Any:
    """An AnyValue as JSON's."""
    kind = value.WhichOneof("value")
    if kind is None:
        return None
    inner = getattr(value, kind)
    if kind == "array_value":
        return [plain(item) for item in inner.values]
    if kind == "kvlist_value":
        return {pair.key: plain(pair.value) for pair in inner.values}
    if kind == "bytes_value":
        return base64.b64encode(inner).decode()
    if kind == "double_value" and not math.isfinite(inner):
        return "NaN" if math.isnan(inner) else "Infinity" if inner > 0 else "-Infinity"
    return inner


def text_of(value: Any) -> str:
    if isinstance(value, str):
        return value
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def leaves(name: str, value: Any) -> list[tuple[str, str]]:
    if value is None:
        return []
    if isinstance(value, dict):
        return [leaf for key, inner in value.items() for leaf in leaves(f"{name}.{key}", inner)]
    return [(name, text_of(value))]


def naive(log: LogRecord, scope: Any, resource: Any) -> dict[str, Any]:
    """A record by the words of the mapping; no attribute here is a field under another name."""
    body = plain(log.body)
    now_ns = NOW_US * 1_000
    sent = log.time_unix_nano or log.observed_time_unix_nano or now_ns
    good = sent // 1_000 >= NOW_US - LIMITS.max_event_age_us and sent <= now_ns + LIMITS.max_clock_skew_us * 1_000
    own = {pair.key: plain(pair.value) for pair in log.attributes}
    pairs = [leaf for key, value in own.items() for leaf in leaves(key, value)]
    fields = {
        "event_name": log.event_name,
        "flags": log.flags,
        "dropped_attributes_count": log.dropped_attributes_count,
        "otel.observed_timestamp": log.observed_time_unix_nano,
    }
    pairs += [(name, str(value)) for name, value in fields.items() if value]
    pairs += [(name, value) for name, value in (("scope.name", scope.name), ("scope.version", scope.version)) if value]
    shared = {pair.key: plain(pair.value) for pair in resource.attributes}
    pairs += [leaf for key, value in shared.items() for leaf in leaves(key, value)]
    pairs += [] if good else [("original_timestamp", str(sent))]
    level, number = normalize_level(log.severity_text) if log.severity_text else (None, None)
    if log.severity_number:
        level, number = level or level_of_number(log.severity_number), log.severity_number
    without = log.event_name or (text_of(own) if own else "")
    message = without if body is None else text_of(body)
    return {
        "timestamp": sent // 1_000 if good else NOW_US,
        "level": level,
        "severity_number": number,
        "message": message.removesuffix("\n").removesuffix("\r") if message.endswith("\n") else message,
        "trace_id": log.trace_id.hex() if any(log.trace_id) else None,
        "span_id": log.span_id.hex() if any(log.span_id) else None,
        "attributes": named(pairs),
    }


def named(pairs: list[tuple[str, str]]) -> dict[str, str]:
    """The first of a name keeps it, the others get the next numbers that nobody has."""
    flat: dict[str, str] = {}
    later = []
    for name, text in pairs:
        if name in flat:
            later.append((name, text))
        else:
            flat[name] = text
    for name, text in later:
        flat[next(free for n in range(2, 99) if (free := f"{name}#{n}") not in flat)] = text
    return flat


def shown(batch: Any) -> list[dict[str, Any]]:
    batch.validate(full=True)
    times_us = batch.column("timestamp").cast("int64").to_pylist()
    wanted = ("level", "severity_number", "message", "trace_id", "span_id")
    return [
        {"timestamp": us, **{name: row[name] for name in wanted}, "attributes": dict(row["attributes"] or [])}
        for us, row in zip(times_us, batch.to_pylist(), strict=True)
    ]


# ------------------------------------------------------------------------------------------------------------ tests
@settings(max_examples=examples(400))
@given(requests)
def test_records_are_read_as_a_naive_reader_does_in_both_encodings(request: ExportLogsServiceRequest) -> None:
    expected = [
        naive(log, each_scope.scope, each.resource)
        for each in request.resource_logs
        for each_scope in each.scope_logs
        for log in each_scope.log_records
    ]
    for kind in (PROTOBUF, JSON):
        decoded = OTLP_LOGS.decode(Body(encoded(request, kind), kind), NOW_US, LIMITS)
        assert decoded.rejected == []
        assert shown(decoded.batch) == expected, kind


@settings(max_examples=examples(200))
@given(requests, st.integers(1, 3_000), st.sampled_from([PROTOBUF, JSON]))
def test_pieces_are_the_whole_wherever_they_are_cut(
    request: ExportLogsServiceRequest, piece_bytes: int, kind: str
) -> None:
    body = encoded(request, kind)
    whole = OTLP_LOGS.decode(Body(body, kind), NOW_US, LIMITS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(otlp, "PIECE_BYTES", piece_bytes)
        pieces = OTLP_LOGS.cut(Body(bytearray(body), kind))
    parts = [pieces.decode(number, FIELD_TABLE, NOW_US, LIMITS) for number in range(len(pieces))]
    assert [row for part in parts for row in shown(part.batch)] == shown(whole.batch)


def whole_and_cut(body: bytes, kind: str | None) -> list[int | None]:
    """Read a body whole, and in small pieces; gives how many events there are, or None for a refusal."""
    counts: list[int | None] = []
    try:
        decoded = OTLP_LOGS.decode(Body(body, kind), NOW_US, LIMITS)
        decoded.batch.validate(full=True)
        counts.append(len(decoded.batch) + len(decoded.rejected))
    except (BadRequest, Unsupported):
        counts.append(None)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(otlp, "PIECE_BYTES", 50)
        try:
            pieces = OTLP_LOGS.cut(Body(body, kind))
            parts = [pieces.decode(number, FIELD_TABLE, NOW_US, LIMITS) for number in range(len(pieces))]
            counts.append(sum(len(part.batch) + len(part.rejected) for part in parts))
        except (BadRequest, Unsupported, TooLarge):
            counts.append(None)
    return counts


@settings(max_examples=examples(800))
@example(b"\x0a\x02\x12\x00", PROTOBUF)
@example(b"\x0b\x0c", PROTOBUF)
@given(st.binary(max_size=80), st.sampled_from([PROTOBUF, JSON, None]))
def test_any_bytes_give_rows_or_a_refusal(body: bytes, kind: str | None) -> None:
    whole_and_cut(body, kind)


@settings(max_examples=examples(400))
@given(requests, st.sampled_from([PROTOBUF, JSON]), st.data())
def test_damaged_requests_give_rows_or_a_refusal(request: ExportLogsServiceRequest, kind: str, data: Any) -> None:
    body = bytearray(encoded(request, kind))
    for _ in range(data.draw(st.integers(1, 3))):
        if body:
            body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    whole_and_cut(bytes(body), kind)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | texts,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    *(
                        "resourceLogs",
                        "scopeLogs",
                        "logRecords",
                        "resource",
                        "scope",
                        "attributes",
                        "key",
                        "value",
                        "values",
                    ),
                    *("stringValue", "intValue", "doubleValue", "arrayValue", "kvlistValue", "bytesValue", "boolValue"),
                    *("body", "timeUnixNano", "severityNumber", "traceId", "flags", "eventName", "name"),
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@settings(max_examples=examples(800))
@example(None, [{"resourceLogs": None, "scope": [], "scopeLogs": None}], None)
@example(None, [{"scope": {"name": "a large scope without records"}, "attributes": [], "logRecords": None}], None)
@given(json_values, json_values, json_values)
def test_any_json_in_any_place_gives_rows_or_a_refusal(log: Any, scope: Any, resource: Any) -> None:
    document = {"resourceLogs": [{"resource": resource, "scopeLogs": [{"scope": scope, "logRecords": [log, {}]}]}]}
    for body in (document, log, {"resourceLogs": resource}, {"resourceLogs": [{"scopeLogs": scope}]}):
        whole, cut = whole_and_cut(json.dumps(body).encode(), JSON)
        assert cut is None or cut == whole


@settings(max_examples=examples(200))
@given(requests, st.lists(st.sampled_from([b"\xff", b"\xc3", b"\xed\xa0\x80"]), min_size=1, max_size=3))
def test_text_that_is_no_utf8_never_refuses_a_request(request: ExportLogsServiceRequest, bad: list[bytes]) -> None:
    mark = "\u2603".encode()
    resource = resource_of([scope_of([record("\u2603", {"\u2603": ["\u2603"]})], "\u2603")], {"\u2603": "\u2603"})
    request.resource_logs.append(resource)
    body = request.SerializeToString()
    for each in bad:  # three bytes for three, so that lengths stay right
        body = body.replace(mark, (each * 3)[:3], 1)
    with pytest.raises(DecodeError):
        ExportLogsServiceRequest.FromString(body)
    found = OTLP_LOGS.decode(Body(body, PROTOBUF), NOW_US, LIMITS).batch
    assert len(found) == sum(len(s.log_records) for r in request.resource_logs for s in r.scope_logs)


def test_the_json_of_these_tests_is_otlps() -> None:
    """Ids are hexadecimal, where protobuf's own writer has base64."""
    request = ExportLogsServiceRequest(resource_logs=[resource_of([scope_of([record("m", trace_id=b"\xab" * 16)])])])
    (log,) = to_json(request)["resourceLogs"][0]["scopeLogs"][0]["logRecords"]
    assert log["traceId"] == "AB" * 16
    assert json_pieces.PIECE_BYTES == otlp.PIECE_BYTES
