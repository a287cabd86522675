"""Made-up push requests of Loki's: both encodings and any cut mean the same; no bytes do more than be refused."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ess_ray.core.errors import BadRequest, TooLarge, Unsupported
from ess_ray.intake.fields import FIELD_TABLE
from ess_ray.intake.formats import loki
from ess_ray.intake.formats.format import Body
from ess_ray.intake.formats.loki import LOKI_PUSH, encoding_of
from ess_ray.intake.formats.loki_labels import read_labels
from ess_ray.intake.limits import IntakeLimits
from tests.examples import examples
from tests.loki import JSON, PROTOBUF, Streams, as_json, as_protobuf, label_text, rows_of

NOW_US = 1_790_000_000_000_000
LIMITS = IntakeLimits()

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
names = st.sampled_from(["app", "level", "detected_level", "instance", "trace_id", "a", "b", "job"])
pairs = st.dictionaries(names, texts, max_size=4)
times = st.integers(NOW_US * 1_000 - 10**12, NOW_US * 1_000) | st.sampled_from([0, 1, 2**62])
entries = st.tuples(times, texts) | st.tuples(times, texts, pairs)
requests = st.lists(st.tuples(pairs, st.lists(entries, max_size=4)), max_size=4)


def body_of(streams: Streams, kind: str) -> bytes:
    return as_json(streams) if kind == JSON else as_protobuf(streams)


def without_original(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Give rows without the type of a time that could not be: text in JSON, a number in protobuf."""
    return [{**row, "attribute_types": None} for row in rows]


@settings(max_examples=examples(200))
@given(requests)
@example([({"app": "\U00010000"}, [(NOW_US, "")])])  # json.dumps writes it as two escapes
def test_both_encodings_mean_the_same_and_no_entry_is_lost(streams: Streams) -> None:
    found = [LOKI_PUSH.decode(Body(body_of(streams, kind), kind), NOW_US, LIMITS) for kind in (JSON, PROTOBUF)]
    count = sum(len(entries) for _, entries in streams)
    assert [(len(decoded.batch), decoded.rejected) for decoded in found] == [(count, [])] * 2
    first, second = (without_original(rows_of(decoded.batch)) for decoded in found)
    assert first == second
    lines = [line for _, entries in streams for _, line, *_ in entries]
    ended = [line.removesuffix("\n").removesuffix("\r") if line.endswith("\n") else line for line in lines]
    assert [row["message"] for row in first] == ended


@settings(max_examples=examples(200))
@given(requests, st.integers(1, 1_000), st.sampled_from([PROTOBUF, JSON]))
def test_pieces_are_the_whole_wherever_they_are_cut(streams: Streams, piece_bytes: int, kind: str) -> None:
    body = body_of(streams, kind)
    whole = LOKI_PUSH.decode(Body(body, kind), NOW_US, LIMITS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loki, "PIECE_BYTES", piece_bytes)
        pieces = LOKI_PUSH.cut(Body(bytearray(body), kind))
    parts = [pieces.decode(number, FIELD_TABLE, NOW_US, LIMITS) for number in range(len(pieces))]
    assert [row for part in parts for row in rows_of(part.batch)] == rows_of(whole.batch)


def whole_and_cut(body: bytes, kind: str | None) -> list[int | None]:
    """Read a body whole, and in small pieces; gives how many entries there are, or None for a refusal."""
    counts: list[int | None] = []
    try:
        decoded = LOKI_PUSH.decode(Body(body, kind), NOW_US, LIMITS)
        decoded.batch.validate(full=True)
        counts.append(len(decoded.batch) + len(decoded.rejected))
    except (BadRequest, Unsupported):
        counts.append(None)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loki, "PIECE_BYTES", 50)
        try:
            pieces = LOKI_PUSH.cut(Body(body, kind))
            parts = [pieces.decode(number, FIELD_TABLE, NOW_US, LIMITS) for number in range(len(pieces))]
            counts.append(sum(len(part.batch) + len(part.rejected) for part in parts))
        except (BadRequest, Unsupported, TooLarge):
            counts.append(None)
    return counts


@settings(max_examples=examples(500))
@given(st.binary(max_size=80), st.sampled_from([PROTOBUF, JSON, None]))
def test_any_bytes_give_rows_or_a_refusal(body: bytes, kind: str | None) -> None:
    whole_and_cut(body, kind)
    assert encoding_of(body, kind) in (None, "snappy")


@settings(max_examples=examples(300))
@given(requests, st.sampled_from([PROTOBUF, JSON]), st.data())
def test_damaged_requests_give_rows_or_a_refusal(streams: Streams, kind: str, data: Any) -> None:
    body = bytearray(body_of(streams, kind))
    for _ in range(data.draw(st.integers(1, 3))):
        if body:
            body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    whole_and_cut(bytes(body), kind)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | texts,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["streams", "stream", "values", "labels", "entries", "ts", "line"]), inner, max_size=4
        )
    ),
    max_leaves=12,
)


@settings(max_examples=examples(500))
@given(json_values, json_values, json_values)
def test_any_json_in_any_place_gives_rows_or_a_refusal(labels: Any, value: Any, line: Any) -> None:
    first = {"stream": labels, "values": [value, ["1", line], ["1", "m", value]]}
    old = {"labels": labels, "entries": [value, {"ts": "1", "line": line}]}
    for document in ({"streams": [first, old]}, {"streams": [value, first]}, labels, {"streams": value}):
        whole, cut = whole_and_cut(json.dumps(document).encode(), JSON)
        assert cut is None or cut == whole


@settings(max_examples=examples(300))
@given(st.dictionaries(st.from_regex(r"[a-zA-Z_:][a-zA-Z0-9_:]*", fullmatch=True), texts, max_size=4), texts)
def test_labels_come_back_as_they_were_written(labels: dict[str, str], other: str) -> None:
    assert read_labels(label_text(labels)) == labels
    for text in (other, f"{{{other}}}", f'{{a="{other}"}}'):
        try:
            assert isinstance(read_labels(text), dict)
        except ValueError:
            continue
