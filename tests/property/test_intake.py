"""Pushed bodies, made up: rows, reasons or refusals come out, nothing else; the fast path means what the rules say."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from decimal import Decimal
from typing import Any

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from ess_ray.core.errors import BadRequest, EssError, TooLarge
from ess_ray.core.timestamps import format_timestamp
from ess_ray.intake.attributes import Inexact, Reading
from ess_ray.intake.batches import odd_columns
from ess_ray.intake.columns import NOT_PLAIN, plain_columns, to_columns
from ess_ray.intake.compression import decompress
from ess_ray.intake.decoded import Decoded
from ess_ray.intake.fields import FIELD_TABLE
from ess_ray.intake.formats.format import Body
from ess_ray.intake.formats.json_events import decode_events, decode_together
from ess_ray.intake.formats.json_values import read_values
from ess_ray.intake.limits import IntakeLimits
from tests.examples import examples

NOW_US = 1_790_000_000_000_000
LIMITS = IntakeLimits()
FIELDS = ["timestamp", "message", "level", "service", "host", "trace_id", "span_id", "id", "attributes"]

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(min_value=2**60, max_value=2**80),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(st.characters(exclude_categories=()), max_size=8),
)
anything = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=4),
    max_leaves=12,
)
keys = st.sampled_from(["a", "b", "a.b", "a.b.c", "k", "", "é"])
nested = st.recursive(
    scalars, lambda inner: st.dictionaries(keys, inner, max_size=4) | st.lists(inner, max_size=3), max_leaves=8
)
digits = st.integers(0, 99).map("{:02d}".format)
offsets = st.one_of(
    st.sampled_from(["Z", "z", "", "+00:00", "-00:00", "+05", "+0530", " Z", "+24:00"]),
    st.builds("{}{}:{}".format, st.sampled_from("+-"), digits, digits),
)
texts_of_time = st.builds(
    "{}{}{}:{}{}{}{}".format,
    st.sampled_from(["2026-09-21", "2026-02-30", "2024-02-29", "2016-09-21", "2026-9-1", "0000-01-01", "9999-12-31"]),
    st.sampled_from("Tt _"),
    st.one_of(st.sampled_from(["14", "24", "00"]), digits),
    st.one_of(st.sampled_from(["13", "60"]), digits),
    st.one_of(st.sampled_from(["", ":00", ":59", ":60"]), digits.map(":{}".format)),
    st.one_of(st.just(""), st.builds("{}{}".format, st.sampled_from(".,"), st.text("0123456789", max_size=11))),
    offsets,
)
times = st.one_of(
    st.none(),
    texts_of_time,
    st.integers(NOW_US - 10**15, NOW_US + 10**9).map(format_timestamp),
    st.integers(NOW_US - 10**9, NOW_US + 10**9),
    st.integers(1, 20).map(lambda power: NOW_US // 10**6 * 10**power),
    st.floats(1e9, 2e9),
    st.integers(0, 2**70).map(str),
    scalars,
)
texts = st.one_of(st.text(max_size=6), st.none()) | st.text(max_size=6)
mostly_events = st.fixed_dictionaries(
    {"message": st.text(max_size=10)},
    optional={
        "timestamp": times,
        "level": st.sampled_from(["info", "WARN", "odd", "", None]),
        "service": texts,
        "host": texts,
        "id": texts,
        "attributes": st.one_of(
            st.none(), st.dictionaries(keys, st.text(max_size=4)), st.dictionaries(keys, nested, max_size=4)
        ),
        "user": nested,
        "msg": texts | nested,
        "@timestamp": times,
        "time": times,
        "severity": st.sampled_from(["info", "odd", 3, 30, 35, "3", None]) | nested,
        "PRIORITY": st.sampled_from(["3", 3, "x", "77"]),
        "severity_number": st.sampled_from([9, "9", 99, 2**40, "x"]),
        "app": texts | nested,
        "kubernetes": st.dictionaries(st.sampled_from(["host", "container_name", "x"]), texts | nested, max_size=3),
        "log": texts | st.dictionaries(st.sampled_from(["level", "x"]), texts | nested, max_size=2),
        "_ess.x": texts,
        "traceId": st.sampled_from(["", "00", "AB", "ab", "No", 5]),
        "trace_id": st.sampled_from(["", "00", "AB", "ab", "No", None]),
        "a": nested,
    },
)
wild_events = st.dictionaries(st.sampled_from([*FIELDS, "a", "x.y"]), anything | times, max_size=6) | anything
batches = st.lists(mostly_events, min_size=1, max_size=5) | st.lists(
    mostly_events | wild_events, min_size=1, max_size=5
)


def slow(values: list[Any], exact: bool) -> Decoded:
    return odd_columns(values, Reading(NOW_US, LIMITS, exact))


@settings(max_examples=examples(600))
@given(st.lists(mostly_events | wild_events, max_size=6))
def test_accepted_and_rejected_are_all(events: list[Any]) -> None:
    body = json.dumps(events).encode()
    refused: BadRequest | None = None
    try:
        decoded = decode_events(Body(body), NOW_US, LIMITS)
    except BadRequest as error:
        refused = error
    if refused is not None:
        assert len(refused.details["rejected"]) == len(events) > 0
        return
    decoded.batch.validate(full=True)
    assert len(decoded.batch) + len(decoded.rejected) == len(events)
    lines = b"\n".join(json.dumps(event).encode() for event in events)
    if events:
        as_lines = decode_events(Body(lines, "application/x-ndjson"), NOW_US, LIMITS)
        assert as_lines.batch.equals(decoded.batch)
        assert as_lines.rejected == decoded.rejected
    for pairs in decoded.batch.column("attributes").to_pylist():
        assert pairs is None or len(dict(pairs)) == len(pairs)


@settings(max_examples=examples(600))
@given(
    st.binary(max_size=60)
    | anything.map(lambda value: json.dumps(value).encode())
    | st.text(max_size=40).map(str.encode),
    st.sampled_from([None, "application/json", "application/x-ndjson"]),
)
def test_any_bytes_give_rows_or_a_refusal(body: bytes, kind: str | None) -> None:
    try:
        decode_events(Body(body, kind), NOW_US, LIMITS).batch.validate(full=True)
    except BadRequest:
        return  # any other exception fails the test


@settings(max_examples=examples(300))
@given(st.binary(max_size=200), st.sampled_from(["gzip", "zstd"]), st.booleans())
def test_any_compressed_bytes_give_bytes_or_a_refusal(body: bytes, encoding: str, magic: bool) -> None:
    start = {"gzip": b"\x1f\x8b\x08\0", "zstd": b"\x28\xb5\x2f\xfd"}[encoding] if magic else b""
    try:
        decompress(start + body, encoding, 1000)
    except (BadRequest, TooLarge):
        return  # any other exception fails the test


@settings(max_examples=examples(1500))
@given(batches)
def test_the_fast_path_means_what_the_rules_say(events: list[Any]) -> None:
    body = json.dumps(events).encode()
    read = read_values(body, None)
    try:
        fast = plain_columns(read.values, NOW_US, LIMITS, FIELD_TABLE)
    except NOT_PLAIN:
        return
    by_rules = slow(read.values, exact=True)
    assert by_rules.rejected == []
    assert fast.equals(by_rules.batch)


@settings(max_examples=examples(800))
@given(batches)
def test_both_readers_of_json_give_the_same_events(events: list[Any]) -> None:
    body = json.dumps(events).encode()
    exact = slow(read_values(body, None, exact=True).values, exact=True)
    read = read_values(body, None)
    try:
        found = to_columns(read.values, len(body), Reading(NOW_US, LIMITS, read.exact))
    except Inexact:
        return
    assert found.rejected == exact.rejected
    assert found.batch.equals(exact.batch)


NUMBER_TEXTS = st.from_regex(r"-?(0|[1-9][0-9]{0,24})(\.[0-9]{1,30})?([eE][-+]?[0-9]{1,3})?", fullmatch=True)
TEXTS_WITH_NUMBERS = st.sampled_from(
    ["", "took 0.1000000000000000001 s", "e-400", '"', "1.2.3.4", "x0.12345678901234567"]
)
FORMS = st.sampled_from([b"[%b]", b'{"events": [%b]}', b"%b\n"])


@settings(max_examples=examples(800))
@given(st.lists(st.tuples(NUMBER_TEXTS, TEXTS_WITH_NUMBERS), min_size=1, max_size=4), st.booleans(), FORMS)
def test_no_number_loses_a_digit(given_: list[tuple[str, str]], in_arrays: bool, form: bytes) -> None:
    template = '{"message": %s, "n": [%s], "ts": 5}' if in_arrays else '{"message": %s, "n": %s, "ts": 5}'
    events = [(template % (json.dumps(text), number)).encode() for number, text in given_]
    body = form % (b"\n" if form.endswith(b"\n") else b",").join(events)
    rows = decode_events(Body(body), NOW_US, LIMITS).batch.column("attributes").to_pylist()
    for row, (number, _) in zip(rows, given_, strict=True):
        stored = dict(row)["n"].strip('[]"')
        assert Decimal(stored) == Decimal(number)


def naive_flatten(value: dict[str, Any]) -> dict[str, str]:
    """The first of a name keeps it, those that follow get the next numbers that nobody has."""
    flat: dict[str, str] = {}
    later = []
    for name, text in naive_pairs(value):
        if name in flat:
            later.append((name, text))
        else:
            flat[name] = text
    for name, text in later:
        flat[next(free for n in range(2, 99) if (free := f"{name}#{n}") not in flat)] = text
    return flat


def naive_pairs(value: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for key, inner in value.items():
        if isinstance(inner, dict):
            yield from naive_pairs(inner, f"{prefix}{key}.")
        elif isinstance(inner, str):
            yield prefix + key, inner
        elif inner is not None:
            yield prefix + key, json.dumps(inner, separators=(",", ":"), ensure_ascii=False)


plain_leaves = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(max_size=5)
    | st.lists(st.integers() | st.text(max_size=3), max_size=3)
)


@settings(max_examples=examples(500))
@given(
    st.dictionaries(
        keys,
        st.recursive(plain_leaves, lambda inner: st.dictionaries(keys, inner, max_size=3), max_leaves=10),
        max_size=4,
    )
)
def test_attributes_are_flattened_as_a_naive_oracle_does(attributes: dict[str, Any]) -> None:
    body = json.dumps([{"message": "m", "attributes": attributes}]).encode()
    (pairs,) = decode_events(Body(body), NOW_US, LIMITS).batch.column("attributes").to_pylist()
    assert dict(pairs or []) == naive_flatten(attributes)


@settings(max_examples=examples(300))
@given(st.text(st.characters(exclude_categories=()) | st.characters(categories=["Cs"]), max_size=12))
def test_surrogates_that_stand_alone_are_replaced_and_pairs_are_kept(text: str) -> None:
    body = json.dumps([{"message": text}]).encode()  # escapes each code unit
    (message,) = decode_events(Body(body), NOW_US, LIMITS).batch.column("message").to_pylist()
    assert message == text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


@settings(max_examples=examples(1500))
@given(st.lists(times, min_size=1, max_size=4))
def test_columns_of_times_are_read_as_each_time_alone(values: list[Any]) -> None:
    events = [{"message": "m", "timestamp": value} for value in values]
    together = to_columns(events, 100, Reading(NOW_US, LIMITS, exact=True))
    alone = [slow([event], exact=True) for event in events]
    assert [index for index, _ in together.adjusted] == [i for i, one in enumerate(alone) if one.adjusted]
    assert shown([together.batch]) == shown(one.batch for one in alone)


def shown(batches: Iterable[pa.RecordBatch]) -> list[dict[str, Any]]:
    """Give rows; no attributes are no attributes, be it null or an empty map."""
    return [{**row, "attributes": row["attributes"] or []} for batch in batches for row in batch.to_pylist()]


def told(decode: Callable[[], Decoded | EssError]) -> Any:
    """Give what an answer tells."""
    try:
        answer = decode()
    except EssError as error:
        answer = error
    if isinstance(answer, EssError):
        return type(answer), answer.message
    answer.batch.validate(full=True)
    return shown([answer.batch]), answer.rejected, answer.adjusted


@settings(max_examples=examples(400))
@given(
    st.lists(
        st.tuples(
            batches.map(lambda events: json.dumps(events).encode())
            | st.lists(st.fixed_dictionaries({"message": texts}), max_size=3).map(lambda e: json.dumps(e).encode())
            | st.sampled_from(
                [b"", b"[", b"[]", b"null", b'{"message": "x"}', b'[{"message": "long"}]' + b" " * 105_000]
            ),
            st.sampled_from([None, "application/json", "application/x-ndjson", "image/png"]),
        ),
        min_size=1,
        max_size=5,
    )
)
def test_bodies_decoded_together_are_what_each_is_alone(bodies: list[tuple[bytes, str | None]]) -> None:
    given = [Body(*body) for body in bodies]
    together = [told(lambda a=answer: a) for answer in decode_together(given, NOW_US, LIMITS)]
    alone = [told(lambda b=body: decode_events(b, NOW_US, LIMITS)) for body in given]
    assert together == alone
