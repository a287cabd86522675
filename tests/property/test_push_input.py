"""Whatever bytes are pushed as lines, each line comes out once and unchanged, and recognising times never fails."""

from __future__ import annotations

import io
from codecs import BOM_UTF8
from zoneinfo import ZoneInfo

import orjson
from hypothesis import given
from hypothesis import strategies as st

from ess_ray.cli.content import Content
from ess_ray.cli.inputs import Defaults, Item, Reading, read_items
from ess_ray.cli.position import Position
from ess_ray.core.timestamps import parse_timestamp_us
from ess_ray.intake.lines.times import DAY_US, LineReader

NOW_US = 1_790_000_000_000_000
ZONE = ZoneInfo("Europe/Berlin")

_SHAPES = st.sampled_from(
    [
        r"\[?\d{1,20}[ .,\]]?\d{0,10}",
        r"\d{4}[-/]\d\d[-/]\d\d[T ]{1,2}\d\d:\d\d:\d\d([.,]\d{1,9})?( ?(Z|UTC|[+-]\d\d:?\d\d|[A-Z]{1,5}|UTC[+-]\d))?",
        r"(Jan|Feb|Nov|Dec) [ \d]\d \d\d:\d\d:\d\d( \w{1,5} \w{1,5}(\[\d{1,4}\])?:)?",
        r"\[\d\d/(Jan|Feb|Nov)/\d{4}:\d\d:\d\d:\d\d [+-]\d{4}\]",
        r"(Mon|Tue) (Jan|Feb) [ \d]\d \d\d:\d\d:\d\d \d{4}",
        r"(Mon|Tue) (Jan|Feb) [ \d]\d \d\d:\d\d:\d\d [A-Z]{1,5} \d{4}",
        r"\d{1,2}[ -](Jan|Feb)[ -]\d{4},? \d{1,2}:\d\d:\d\d( [AP]M)?",
    ]
).flatmap(lambda shape: st.from_regex(shape, fullmatch=True))


def reading(reader: LineReader) -> Reading:
    return Reading("lines", Defaults(), reader)


@given(
    st.binary(max_size=300) | st.lists(st.sampled_from([b"\n", b"\r", b"\xff", b"\xe2\x80", b"{", b"a"])).map(b"".join)
)
def test_lines_come_out_once_and_unchanged(data: bytes) -> None:
    content = Content(io.BytesIO(data), "utf-8", "lf")
    items = list(read_items(content.pieces(), reading(LineReader(NOW_US, ZONE)), Position()))
    expected = [line for line in data.removeprefix(BOM_UTF8).decode("utf-8", "replace").split("\n") if line]
    assert [orjson.loads(item.body)["message"] for item in items if isinstance(item, Item)] == expected
    assert len(items) == len(expected)


@given(st.tuples(_SHAPES, st.text(max_size=20)).map("".join) | st.text(max_size=80))
def test_a_time_that_is_recognised_can_be_sent(line: str) -> None:
    reader = LineReader(NOW_US, ZONE, decided=True)
    found = reader.read(line)
    assert reader.read(line) == found
    items = list(read_items(iter([line.encode("utf-8", "replace")]), reading(reader), Position()))
    for item in items:
        assert isinstance(item, Item)
        event = orjson.loads(item.body)
        assert parse_timestamp_us(event["timestamp"]) == item.timestamp_us


@given(st.from_regex(r"(Jan|Feb|Mar|Jun|Nov|Dec) [ 12]\d \d\d:\d\d:\d\d", fullmatch=True))
def test_a_year_that_was_inferred_is_never_in_the_future(line: str) -> None:
    found = LineReader(NOW_US, ZONE).read(line).timestamp_us
    assert found is None or found <= NOW_US + DAY_US
