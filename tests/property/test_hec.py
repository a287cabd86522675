"""Made-up bodies of Splunk's collector: any cut means the same, counts add up, no bytes do more than be refused."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ess_ray.core.errors import BadRequest
from ess_ray.intake.fields import FIELD_TABLE
from ess_ray.intake.formats import hec
from ess_ray.intake.formats.format import Body, Stored
from ess_ray.intake.formats.hec import COLLECTOR, RAW_COLLECTOR, Collector
from ess_ray.intake.limits import IntakeLimits
from tests.examples import examples
from tests.loki import rows_of

NOW_US = 1_790_000_000_000_000
LIMITS = IntakeLimits()
RAW = RAW_COLLECTOR.asked({"host": "h", "time": "5"}, None, None)

texts = st.text(max_size=6)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | texts,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["message", "host", "level", "time", "a", "source"]), inner, max_size=3)
    ),
    max_leaves=6,
)
envelopes = st.dictionaries(
    st.sampled_from(["event", "time", "host", "source", "sourcetype", "fields", "index"]), values, max_size=5
)
spaces = st.sampled_from(["", " ", "\n"])
EVENT_ANSWERS = {200, 400}


def whole_and_cut(form: Collector, body: bytes, piece_bytes: int) -> list[Any]:
    """Read a body whole, and in pieces; gives rows and rejections of each, or None for a refusal."""
    found: list[Any] = []
    for is_cut in (False, True):
        stored, rows = Stored(), []
        try:
            with pytest.MonkeyPatch.context() as patch:
                if is_cut:
                    patch.setattr(hec, "PIECE_BYTES", piece_bytes)
                    pieces = form.cut(Body(bytearray(body)))
                    parts = [pieces.decode(number, FIELD_TABLE, NOW_US, LIMITS) for number in range(len(pieces))]
                else:
                    parts = [form.decode(Body(body), NOW_US, LIMITS)]
        except BadRequest:
            found.append(None)
            continue
        for part in parts:
            part.batch.validate(full=True)
            stored.add(part, False)
            rows += rows_of(part.batch)
        assert stored.accepted == len(rows)
        assert stored.rejected_total == len(stored.rejected)
        assert form.accepted(stored, None).status in EVENT_ANSWERS
        found.append((rows, sorted(stored.rejected)))
    return found


@settings(max_examples=examples(300))
@given(st.lists(st.tuples(envelopes, spaces), max_size=6), st.integers(1, 500), st.booleans())
def test_counts_add_up_and_pieces_are_the_whole(
    sent: list[tuple[dict[str, Any], str]], piece_bytes: int, is_array: bool
) -> None:
    body = "".join(json.dumps(envelope) + space for envelope, space in sent)
    if is_array:
        body = json.dumps([envelope for envelope, _ in sent])
    whole, cut = whole_and_cut(COLLECTOR, body.encode(), piece_bytes)
    assert whole == cut
    rows, rejected = whole
    good = [index for index, (envelope, _) in enumerate(sent) if envelope.get("event") not in (None, "")]
    assert len(rows) == len(good)
    assert [index for index, _ in rejected] == [index for index in range(len(sent)) if index not in good]


@settings(max_examples=examples(500))
@given(st.binary(max_size=80) | st.text(alphabet='{}[]",:\\ evnt', max_size=40).map(str.encode), st.integers(1, 200))
def test_any_bytes_give_rows_or_a_refusal(body: bytes, piece_bytes: int) -> None:
    for form in (COLLECTOR, RAW):
        whole, cut = whole_and_cut(form, body, piece_bytes)
        assert whole == cut


@settings(max_examples=examples(300))
@given(st.lists(envelopes, min_size=1, max_size=4), st.binary(max_size=8), st.integers(1, 200), st.data())
def test_what_stands_before_damage_counts(
    sent: list[dict[str, Any]], damage: bytes, piece_bytes: int, data: Any
) -> None:
    objects = [json.dumps(envelope).encode() for envelope in sent]
    at = data.draw(st.integers(0, len(objects)))
    before = b"".join(objects[:at])
    whole, cut = whole_and_cut(COLLECTOR, before + damage + b"".join(objects[at:]), piece_bytes)
    assert whole == cut
    if at:
        rows, _ = whole
        expected, _ = whole_and_cut(COLLECTOR, before, piece_bytes)
        assert rows[: len(expected[0])] == expected[0]


@settings(max_examples=examples(200))
@given(st.lists(st.text(st.characters(exclude_characters="\n\r", exclude_categories=["Cs"]), max_size=6), max_size=8))
def test_each_raw_line_that_is_not_blank_is_an_event(lines: list[str]) -> None:
    body = "\n".join(lines).encode()
    ((rows, rejected), cut) = whole_and_cut(RAW, body, 20)
    assert cut == (rows, rejected)
    assert rejected == []
    assert [row["message"] for row in rows] == [line for line in lines if line.encode().strip()]
