"""A large body that is cut into pieces means what it means whole, whatever stands in it and wherever it is cut."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from ess_ray.core.errors import BadRequest
from ess_ray.intake.formats import json_scanner as scanner
from ess_ray.intake.formats.format import groups
from ess_ray.intake.formats.json_pieces import cut
from ess_ray.intake.formats.json_values import read_values
from ess_ray.intake.rows import Broken

scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from('"\\[]{},\n ')
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
)
documents = st.lists(values | st.dictionaries(st.sampled_from(["message", "a", '"', "\\"]), values), max_size=12)
KINDS = st.sampled_from([None, "application/json", "application/x-ndjson", "text/plain"])


def told(broken_or_value: Any) -> Any:
    return "broken" if isinstance(broken_or_value, Broken) else broken_or_value


def whole(body: bytes, kind: str | None) -> Any:
    try:
        return [told(value) for value in read_values(body, kind, exact=True).values]
    except BadRequest:
        return None


def by_pieces(body: bytes, kind: str | None, piece_bytes: int) -> Any:
    try:
        pieces = cut(body, kind, piece_bytes)
    except BadRequest:
        return None
    assert pieces == cut(bytearray(body), kind, piece_bytes), "a repeat is cut otherwise"
    numbers = [number for group in groups(pieces, 2 * piece_bytes) for number in group]
    assert numbers == list(range(len(pieces)))
    return [told(value) for number in numbers for value in pieces.read(number, exact=True).values]


def same(one: Any, other: Any) -> bool:
    return json.dumps(one) == json.dumps(other)  # NaN is NaN


@settings(max_examples=120)
@given(
    documents,
    st.sampled_from(["array", "envelope", "lines", "indented", "together"]),
    KINDS,
    st.integers(1, 400),
    st.data(),
)
def test_pieces_of_documents_are_the_whole(
    document: list[Any], form: str, kind: str | None, piece_bytes: int, data: st.DataObject
) -> None:
    text = {
        "array": lambda: json.dumps(document),
        "envelope": lambda: json.dumps({"events": document}, ensure_ascii=False),
        "lines": lambda: "\n".join(json.dumps(value) for value in document),
        "indented": lambda: json.dumps(document, indent=1, ensure_ascii=False),
        "together": lambda: "".join(json.dumps(value) for value in document),
    }[form]()
    body = text.encode("utf-8", "surrogatepass")
    if data.draw(st.booleans()):  # damaged
        at = data.draw(st.integers(0, len(body)))
        body = (
            body[:at]
            + data.draw(st.sampled_from([b"", b'"', b"\\", b"\xff", b",", b"]", b"\n", b"}", b"x", b"\1"]))
            + body[at + 1 :]
        )
    assert same(by_pieces(body, kind, piece_bytes), whole(body, kind))


@settings(max_examples=100)
@example("[}", None, 1)
@given(st.text(alphabet='"\\[]{},:1 \na\ufeffé', max_size=60), KINDS, st.integers(1, 300))
def test_pieces_of_any_text_are_the_whole(text: str, kind: str | None, piece_bytes: int) -> None:
    body = text.encode()
    assert same(by_pieces(body, kind, piece_bytes), whole(body, kind))


@settings(max_examples=60)
@given(documents, st.integers(1, 7))
def test_an_array_is_cut_at_its_commas_wherever_blocks_end(document: list[Any], block_bytes: int) -> None:
    body = json.dumps(document, ensure_ascii=False).encode("utf-8", "surrogatepass")
    usual = scanner.BLOCK_BYTES
    scanner.BLOCK_BYTES = block_bytes  # type: ignore[misc]
    try:
        pieces = cut(body, None, 1)
    finally:
        scanner.BLOCK_BYTES = usual  # type: ignore[misc]
    assert len(pieces) == max(1, len(document))


@settings(max_examples=150)
@given(
    st.lists(st.dictionaries(st.text(max_size=4), values, min_size=1), min_size=2, max_size=6),
    st.sampled_from([",", ",\n", "", "\n"]),
    st.data(),
)
def test_what_is_wrong_with_one_value_leaves_all_others_as_they_are(
    events: list[dict[str, Any]], between: str, data: st.DataObject
) -> None:
    """Or nothing is stored at all."""
    texts = [json.dumps(event) for event in events]
    number = data.draw(st.integers(0, len(texts) - 1))
    at = data.draw(st.integers(1, len(texts[number]) - 1))
    flaw = data.draw(st.text(alphabet='"\\[]{},:x \1', min_size=1, max_size=6))
    texts[number] = texts[number][:at] + flaw + texts[number][at:]
    text = between.join(texts)
    found = whole((f"[{text}]" if "," in between else text).encode(), None)
    if found is not None:
        others = whole(json.dumps([event for one, event in enumerate(events) if one != number]).encode(), None)
        assert same(found[:number], others[:number])
        assert same(found[len(found) - len(others) + number :], others[number:])
