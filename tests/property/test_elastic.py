"""Elasticsearch's `_bulk`, made up: any cut means what the whole does; no bytes do more than be refused."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ess_ray.core.errors import BadRequest
from ess_ray.intake.attributes import Reading
from ess_ray.intake.batches import odd_columns
from ess_ray.intake.decoded import Decoded
from ess_ray.intake.fields import FIELD_TABLE
from ess_ray.intake.formats import elastic_bulk
from ess_ray.intake.formats.elastic_bulk import ElasticBulk
from ess_ray.intake.formats.elastic_rows import Document, read_document
from ess_ray.intake.formats.format import Body, Stored
from ess_ray.intake.limits import IntakeLimits
from tests.elastic import items_of, lines
from tests.examples import examples

NOW_US = 1_790_000_000_000_000
LIMITS = IntakeLimits()
FORM = ElasticBulk("web")

texts = st.text(max_size=6)
keys = st.sampled_from(["message", "msg", "log", "id", "_index", "attributes", "@timestamp", "level", "a", "a.b", "é"])
scalars = (
    texts | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False) | st.none()
)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3), max_leaves=6
)
documents = st.dictionaries(keys, values, max_size=4)
flawed = st.sampled_from([b"", b"no json", b"5", b"[" * 2_000, b'{"message":"\xff"}', b'{"message":"\\ud800"}'])
about = st.fixed_dictionaries({}, optional={"_id": st.none() | texts | st.integers(), "_index": texts, "x": scalars})
stored = st.tuples(st.sampled_from(["create", "index"]), about, documents | flawed)
others = st.tuples(st.just("update"), about, documents | flawed) | st.tuples(st.just("delete"), about, st.none())
actions = st.lists(stored | others, min_size=1, max_size=8)


def body_of(given_: list[tuple[str, dict[str, Any], Any]]) -> bytes:
    """Write actions; the last one gets a document that is not blank, or it would be none."""
    parts = [(name, told, document) for name, told, document in given_]
    if parts[-1][2] == b"":
        parts[-1] = (*parts[-1][:2], b"5")
    return b"".join(lines({name: told}, *([] if name == "delete" else [document])) for name, told, document in parts)


def shown(decoded: Decoded) -> list[dict[str, Any]]:
    decoded.batch.validate(full=True)
    return [{**row, "attributes": dict(row["attributes"] or [])} for row in decoded.batch.to_pylist()]


def in_pieces(body: bytes, piece_bytes: int) -> list[Decoded]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(elastic_bulk, "PIECE_BYTES", piece_bytes)
        pieces = FORM.cut(Body(bytearray(body)))
    assert sum(pieces.size(number) for number in range(len(pieces))) <= len(body)
    return [pieces.decode(number, FIELD_TABLE, NOW_US, LIMITS) for number in range(len(pieces))]


@settings(max_examples=examples(400))
@given(actions, st.integers(1, 2_000))
@example([("index", {}, b""), ("index", {}, b""), ("create", {}, {"message": "m"})], 1)
def test_there_is_an_item_for_each_action_in_order_wherever_it_is_cut(
    given_: list[tuple[str, dict[str, Any], Any]], piece_bytes: int
) -> None:
    body = body_of(given_)
    whole = FORM.decode(Body(body), NOW_US, LIMITS)
    items = items_of(whole)
    assert [name for name, _ in items] == [name for name, _, _ in given_]
    for (_, item), (_, told, _) in zip(items, given_, strict=True):
        sent = told.get("_id")
        assert item["_id"] == str(sent) if sent not in (None, "") else len(item["_id"]) == 20
        assert item["_index"] == (told.get("_index") or "web")
        assert ("error" in item) == (item["status"] == 400)
    failed = [index for index, (_, item) in enumerate(items) if item["status"] != 201]
    assert failed == [index for index, _ in whole.rejected]
    assert len(whole.batch) + len(failed) == len(given_)
    parts = in_pieces(body, piece_bytes)
    assert [row for part in parts for row in shown(part)] == shown(whole)
    stored_ = Stored()
    for part in parts:
        stored_.add(part, is_repeat=False)
    answer = json.loads(FORM.accepted(stored_, None).content)
    assert [pair for item in answer["items"] for pair in item.items()] == items
    assert answer["errors"] is bool(failed)
    assert [index for index, _ in stored_.rejected] == failed


@settings(max_examples=examples(400))
@given(st.lists(documents, min_size=1, max_size=4), st.none() | texts)
def test_plain_and_odd_documents_are_read_alike(given_: list[dict[str, Any]], sent: str | None) -> None:
    told = {} if sent is None else {"_id": sent}
    body = b"".join(lines({"create": told}, document) for document in given_)
    decoded = FORM.decode(Body(body), NOW_US, LIMITS)
    one_by_one = [Document(document, "web", sent or None) for document in given_]
    slow = odd_columns(one_by_one, Reading(NOW_US, LIMITS, exact=True), read_document)
    assert shown(decoded) == shown(slow)
    assert decoded.rejected == slow.rejected


def counted(body: bytes) -> list[tuple[int, int] | None]:
    """Read a body whole and in small pieces: how many items and events there are, or None for a refusal."""
    found: list[tuple[int, int] | None] = []
    for read in (lambda: [FORM.decode(Body(body), NOW_US, LIMITS)], lambda: in_pieces(body, 30)):
        try:
            parts = read()
        except BadRequest:
            found.append(None)
            continue
        events = sum(len(part.batch) + len(part.rejected) for part in parts)
        found.append((sum(len(items_of(part)) for part in parts), events))
    return found


@settings(max_examples=examples(600))
@given(st.binary(max_size=200) | actions.map(body_of), st.data())
def test_no_bytes_do_more_than_be_refused_and_the_counts_add_up(body: bytes, data: st.DataObject) -> None:
    for _ in range(data.draw(st.integers(0, 3))):
        at = data.draw(st.integers(0, len(body)))
        body = body[:at] + data.draw(st.binary(max_size=3) | st.just(b"\n")) + body[at + data.draw(st.integers(0, 3)) :]
    whole, cut = counted(body)
    assert whole == cut
    assert whole is None or whole[0] == whole[1] > 0
