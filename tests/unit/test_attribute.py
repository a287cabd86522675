"""Attributes by name, number and array: the filter against the oracle, and the index against the filter."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Generator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ess_ray.core.attribute import canonical_number, elements, keys_of, namesake_of
from ess_ray.core.chunk import collect_object, open_object
from ess_ray.core.collect import Rows
from ess_ray.core.filter import filter_batch
from ess_ray.core.index import Index, build, values
from ess_ray.core.literals import needs
from ess_ray.core.operators import attributes
from ess_ray.core.query import Query
from ess_ray.language import parse, quoted
from tests.property.oracle import JSON_LIKE, PYTHON, T0_US, WAYS_TO_WRITE, table_of, wanted

STORED = Path(__file__).parents[1] / "stored"
"""Objects as they were written before indexes of version 2: one of format 1, one of format 2."""

NUMBERS = st.from_regex(r"\A[+-]?[0-9]{0,30}\.?[0-9]{0,30}([eE][+-]?[0-9]{1,3})?\Z") | st.sampled_from(WAYS_TO_WRITE)


@settings(max_examples=500)
@given(NUMBERS, NUMBERS)
def test_equal_numbers_and_no_others_are_written_alike(one: str, other: str) -> None:
    written = [canonical_number(text) for text in (one, other)]
    for text, canonical in zip((one, other), written, strict=True):
        assert (canonical is not None) == (JSON_LIKE.fullmatch(text) is not None)
        assert canonical is None or (Decimal(canonical) == Decimal(text) and canonical_number(canonical) == canonical)
    if None not in written:
        assert (written[0] == written[1]) == (Decimal(one) == Decimal(other))


@pytest.mark.parametrize(
    "text", ["1e999999999999999999", "-1e-999999999999999999", "9" * 5_000, "0." + "0" * 5_000 + "1"]
)
def test_numbers_of_any_size_cost_no_more_than_their_text(text: str) -> None:
    written = canonical_number(text)
    assert written is not None
    assert len(written) <= len(text) + 20
    assert canonical_number(written) == written


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("[]", []),
        ('["a",1.50,true,false,null,{"b":"c"},["d",[2]]]', ["a", "1.50", "true", "false", "d", "2"]),
        ('"text"', []),
        ("[not json", []),
        ("[" * 5_000, []),
    ],
)
def test_the_values_in_an_array(text: str, found: list[str]) -> None:
    assert [value for value, _ in elements(text)] == found


def test_a_name_stands_for_its_namesakes() -> None:
    assert keys_of("a") == ("a", "a#2", "a#3", "a#4", "a#5", "a#6", "a#7", "a#8", "a#9")
    assert [namesake_of(key) for key in keys_of("a\n#2")[1:]] == ["a\n#2"] * 8
    assert [namesake_of(key) for key in ("a", "a#1", "a#10", "#", "a#2b")] == [None] * 5


def _rows() -> list[dict[str, Any]]:
    """Every way to write a number, as number, text, and in arrays, under each of the names."""
    texts = [*WAYS_TO_WRITE, "true", "prod", "a b"]
    made = []
    for text, (letter, key) in itertools.product(texts, [("n", "k"), ("s", "k"), ("n", "k#2"), ("s", "k#10")]):
        made.append(([(key, text)], letter))
    for text in texts:
        is_json = JSON_LIKE.fullmatch(text) is not None and text[0] not in "+."
        made.append(([("x", "1"), ("k", f"[{text if is_json else json.dumps(text)}]")], "nj"))
        made.append(([("k", "other"), ("k#2", json.dumps([["z", text]], separators=(",", ":")))], "sj"))
        made.append(([("k", json.dumps([text]))], None))
    return [
        {"timestamp": T0_US + at, "observed_timestamp": T0_US, "message": "m", "attributes": pairs,
         "attribute_types": types, "log_id": "log", "vnode": 0, "offset": at, "row": 0}
        for at, (pairs, types) in enumerate(made)
    ]  # fmt: skip


ROWS = _rows()
TABLE = table_of(ROWS)
INDEX = build(TABLE.slice(at, 1) for at in range(len(TABLE)))
for _pattern in ("(?s)\\Apro.*\\z", "^a b$", "prod"):
    PYTHON[_pattern, False] = re.compile(_pattern.replace("\\z", "\\Z"), re.ASCII)
QUERIES = [f"k:{quoted(text)}" for text in [*WAYS_TO_WRITE, "true", "prod", "a b", "[1.5]", "other"]]
QUERIES += ["k:*", "k:pro*", "k:/^a b$/", "k:>99", "k:[1.5 TO 1.5]", "-k:1.5", '"k#2":1.5', "k:/prod/", '"k#10":*']


@pytest.mark.parametrize("text", QUERIES)
def test_names_numbers_and_arrays_are_found_as_they_should(text: str) -> None:
    query = Query(parse(text))
    found = filter_batch(TABLE, query).to_pylist()
    assert found == [at for at, row in enumerate(ROWS) if wanted(query, row)]
    assert 0 < len(found) < len(ROWS)
    kept = set(Index(INDEX, len(TABLE)).keep(needs(query)))
    assert set(found) <= kept
    if text.startswith('k:"'):
        assert len(kept) < len(ROWS) / 2  # filters as small as these err often


@pytest.mark.parametrize(
    ("query", "without_types", "with_types"),
    [
        ("n:1.5", [0], [0, 8]),
        ("n:1.50", [3], [0, 3, 8]),
        ("n:100", [4], [1, 4, 8]),
        ("n:100.0", [1], [1, 8]),
        ("n:10000000000000000", [], [2]),
        ("tags:prod", [], [5]),
        ("tags:own", [6], [6]),
        ("tags:b", [7], [7]),
        ("tags:*", [5, 6, 7], [5, 6, 7]),
        ("tags:nowhere", [], []),
        ("other:x", [9], [9]),
    ],
)
def test_objects_with_older_indexes_hide_nothing(query: str, without_types: list[int], with_types: list[int]) -> None:
    formats = set()
    for path in STORED.glob("*.parquet"):
        key = f"tenant=default/date=2026-09-21/hour=14/{path.name}"
        size = path.stat().st_size
        data = path.read_bytes()
        reader = open_object(_Held(data), key, size)
        formats.add(reader.facts.format_version)
        found = collect_object(reader, Query(parse(query), order="oldest"), Rows()).table.column("offset").to_pylist()
        assert found == (with_types if reader.has_types else without_types)
    assert formats == {1, 2}


def test_arrays_of_any_size_are_searched_in_parts_and_not_indexed_when_too_large(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rows = [
        {**row, "attributes": [("k", f'["a{at}","b",{at}]')], "attribute_types": "j"} for at, row in enumerate(ROWS)
    ]
    table = table_of(rows)
    monkeypatch.setattr(values, "MAX_ARRAYS_BYTES", 1_000)
    index = Index(build([table.slice(0, 10), table]), 2)
    for limit in (1, 20, 10**6):
        monkeypatch.setattr(attributes, "MAX_ARRAYS_BYTES", limit)
        for text, found in (("k:a17", [17]), ("k:17.0", [17]), ("k:b", list(range(len(rows)))), ("k:c", [])):
            query = Query(parse(text))
            assert filter_batch(table, query).to_pylist() == found
            assert index.keep(needs(query)) == ([0, 1] if text == "k:b" else [1])


class _Held:
    """One object in memory, as a store of it."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def get_range(self, key: str, offset: int, length: int) -> bytes:
        return self._data[offset : offset + length]

    def get_suffix(self, key: str, length: int) -> bytes:
        return self._data[-length:]

    def stream_range(self, key: str, offset: int, length: int) -> Generator[bytes, None, None]:
        yield self.get_range(key, offset, length)
