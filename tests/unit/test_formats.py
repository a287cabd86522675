"""Exported files read again by other readers: whatever the text, and however it was cut into pieces."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Sequence

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import csv as arrow_csv

from ess_ray.core.errors import BadRequest
from ess_ray.core.event import EVENT_SCHEMA, SHOWN_COLUMNS, to_json_rows
from ess_ray.search.formats import FORMATS, MAX_CSV_COLUMNS, ParquetEncoder, encoder_of

NASTY = ["", " ", '"', '""', "a,b;c\td", "two\nlines", "two\r\nlines\r", "=1+2", "@x", "\x00nul", "\u2028\u0085", "ä€𝄞"]
Tables = Callable[..., pa.Table]


def encoded(name: str, pieces: Sequence[pa.Table]) -> bytes:
    encoder = FORMATS[name].make()
    return b"".join([*map(encoder.add, pieces), encoder.finish()])


def table(make_events: Tables, texts: Sequence[str]) -> pa.Table:
    count = len(texts)
    return make_events(
        [1_790_000_000_000_000 + i * 1_000_001 for i in range(count)],
        list(texts),
        level=[None if i % 3 else "WARN" for i in range(count)],
        severity_number=[None if i % 3 else 13 for i in range(count)],
        service=[None if i % 2 else text for i, text in enumerate(texts)],
        event_id=[None if i % 2 else text for i, text in enumerate(texts)],
        attributes=[None if i % 4 == 3 else [(f"k{text}", text), ("n", "1")] for i, text in enumerate(texts)],
    )


def cut(rows: pa.Table, size: int) -> list[pa.Table]:
    return [rows.slice(at, size) for at in range(0, len(rows), size)]


def check(name: str, rows: pa.Table, size: int) -> None:
    data = encoded(name, cut(rows, size))
    expected = to_json_rows(rows)
    if name == "ndjson":
        assert data.endswith(b"\n") or not expected
        assert [json.loads(line) for line in data.split(b"\n")[:-1]] == expected
    elif name == "parquet":
        assert pq.read_table(io.BytesIO(data)).select(EVENT_SCHEMA.names).equals(rows)
    elif name == "arrow":
        assert pa.ipc.open_stream(data).read_all().select(EVENT_SCHEMA.names).equals(rows)
    else:
        check_csv(data, expected)


def check_csv(data: bytes, expected: list[dict[str, object]]) -> None:
    names = [*(name for name in SHOWN_COLUMNS if name != "event_id"), "id"]
    header, *records = csv.reader(io.StringIO(data.decode(), newline=""), strict=True)
    assert header == names
    assert [dict(zip(names, record, strict=True)) for record in records] == [
        {
            n: json.dumps(e[n], ensure_ascii=False, separators=(",", ":")) if n == "attributes" else _text(e[n])
            for n in e
        }
        for e in expected
    ]
    # Arrow's reader tells what is absent from what is empty, by the quotes.
    options = arrow_csv.ConvertOptions(strings_can_be_null=True, quoted_strings_can_be_null=False, null_values=[""])
    if expected:
        parse = arrow_csv.ParseOptions(newlines_in_values=True)
        read = arrow_csv.read_csv(io.BytesIO(data), parse_options=parse, convert_options=options)
        for name in ("service", "level", "id"):
            assert read.column(name).is_null().to_pylist() == [event[name] is None for event in expected]


def _text(value: object) -> str:
    return "" if value is None else str(value)


@pytest.mark.parametrize("size", [1, 5, 100])
@pytest.mark.parametrize("name", FORMATS)
def test_nasty_text_comes_back(make_events: Tables, name: str, size: int) -> None:
    check(name, table(make_events, NASTY * 3), size)


@settings(max_examples=60)
@pytest.mark.parametrize("name", FORMATS)
@given(
    texts=st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=20), min_size=1, max_size=8),
    size=st.integers(1, 9),
)
def test_any_text_comes_back(make_events: Tables, name: str, texts: list[str], size: int) -> None:
    check(name, table(make_events, texts), size)


@pytest.mark.parametrize("name", FORMATS)
def test_an_answer_without_events_is_a_file_too(make_events: Tables, name: str) -> None:
    check(name, make_events([]), 1)
    assert (encoded(name, []) == b"") == (name == "ndjson")


TYPED: list[tuple[str, str, str, object]] = [
    ("count", "7", "n", 7),
    ("big", "9007199254740993", "n", 2**53 + 1),
    ("huge", "-1" + "0" * 30, "n", -(10**30)),
    ("part", "0.1", "n", 0.1),
    ("whole", "100.0", "n", 100.0),
    ("exponent", "1e+16", "n", 1e16),
    ("on", "true", "b", True),
    ("off", "false", "b", False),
    ("tags", '["a",1]', "j", '["a",1]'),
    ("text", "7", "s", "7"),
    ("no number", "1e999", "n", "1e999"),
    ("nor this", "0x7", "n", "0x7"),
]


def typed(make_events: Tables) -> pa.Table:
    pairs = [(key, text) for key, text, _, _ in TYPED]
    attributes = [None, pairs, pairs, [], pairs[::-1], pairs[:2]]
    letters = "".join(letter for *_, letter, _ in TYPED)
    return make_events(range(6), attributes=attributes, attribute_types=[None, letters, None, None, letters[::-1], "n"])


def test_numbers_and_booleans_are_such_where_they_were(make_events: Tables) -> None:
    rows = typed(make_events)
    data = encoded("ndjson", cut(rows, 4))
    assert b'"huge":-1000000000000000000000000000000,' in data
    was = {key: value for key, _, _, value in TYPED}
    texts = {key: text for key, text, _, _ in TYPED}
    found = [json.loads(line)["attributes"] for line in data.splitlines()]
    assert found == [{}, was, texts, {}, was, dict(list(texts.items())[:2])]
    assert [type(value) for value in found[1].values()] == [type(value) for value in was.values()]


def test_parquet_has_numbers_and_booleans_beside_the_texts(make_events: Tables) -> None:
    read = pq.read_table(io.BytesIO(encoded("parquet", cut(typed(make_events), 4))))
    numbers = {key: float(text) for key, text, letter, _ in TYPED if letter == "n" and key != "nor this"}
    booleans = {"on": True, "off": False}
    for name, wanted in (("attribute_numbers", {**numbers, "nor this": None}), ("attribute_booleans", booleans)):
        found = [dict(pairs) for pairs in read.column(name).to_pylist()]
        assert found == [{}, wanted, {}, {}, wanted, {}], name


@pytest.mark.parametrize("size", [1, 100])
def test_a_csv_file_has_the_columns_that_are_chosen(make_events: Tables, size: int) -> None:
    rows = table(make_events, NASTY)
    columns = [
        "timestamp",
        "message",
        "n",
        "attributes.k=1+2",
        "k=1+2",
        "severity_number",
        "id",
        "nowhere",
        "attributes",
    ]
    encoder = encoder_of("csv", columns)
    data = b"".join([*map(encoder.add, cut(rows, size)), encoder.finish()])
    header, *records = csv.reader(io.StringIO(data.decode(), newline=""), strict=True)
    assert header == columns
    for event, record in zip(to_json_rows(rows), records, strict=True):
        of = dict(zip(columns, record, strict=True))
        assert (of["timestamp"], of["message"]) == (event["timestamp"], event["message"])
        assert of["n"] == event["attributes"].get("n", "")
        assert of["k=1+2"] == of["attributes.k=1+2"] == event["attributes"].get("k=1+2", "")
        assert (of["severity_number"], of["id"]) == (_text(event["severity_number"]), _text(event["id"]))
        assert of["nowhere"] == ""
        assert json.loads(of["attributes"]) == event["attributes"]


def test_a_chosen_column_of_an_answer_without_events_is_in_the_header() -> None:
    assert encoder_of("csv", ["user agent", "ünï"]).finish().decode() == '"user agent","ünï"\n'


@pytest.mark.parametrize(
    ("name", "columns"),
    [
        ("csv", [""]),
        ("csv", ["attributes."]),
        ("csv", ["x"] * (MAX_CSV_COLUMNS + 1)),
        ("ndjson", ["x"]),
        ("parquet", ["x"]),
    ],
)
def test_columns_that_cannot_be_are_refused(name: str, columns: list[str]) -> None:
    with pytest.raises(BadRequest):
        encoder_of(name, columns)


def test_values_that_look_like_formulas_are_what_was_stored(make_events: Tables) -> None:
    assert b'"=HYPERLINK(""x"")"' in encoded("csv", [table(make_events, ['=HYPERLINK("x")'])])


def test_parquet_comes_out_as_its_row_groups_fill(make_events: Tables) -> None:
    rows = make_events(range(1_000), [f"{i * 2654435761 % 2**64:x}" * 20 for i in range(1_000)])
    encoder = ParquetEncoder(group_rows=100)
    parts = [encoder.add(piece) for piece in cut(rows, 40)]
    last = encoder.finish()
    # 40 rows a piece, 100 rows and more a group: each third piece fills one.
    assert [bool(part) for part in parts] == [True, *(n % 3 == 2 for n in range(1, 25))]
    file = pq.ParquetFile(io.BytesIO(b"".join([*parts, last])))
    assert file.metadata.num_row_groups >= 8
    assert {file.metadata.row_group(0).column(c).compression for c in range(file.metadata.num_columns)} == {"ZSTD"}
    assert file.read().select(EVENT_SCHEMA.names).equals(rows)
    assert len(last) < sum(map(len, parts)), "it is not kept for the end"
