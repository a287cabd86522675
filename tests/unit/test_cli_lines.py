"""Plain lines and the other forms of input: times as they are meant, messages exactly as they stand."""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import orjson
import pytest

from ess_ray.cli import inputs
from ess_ray.cli.content import Content
from ess_ray.cli.inputs import Bad, Defaults, Form, Item, Reading, form_of, read_items
from ess_ray.cli.position import Position
from ess_ray.core.event import MAX_EVENT_BYTES
from ess_ray.intake.lines.times import LineReader

BERLIN = ZoneInfo("Europe/Berlin")
NOW = datetime(2026, 11, 24, 12, 0, 0, tzinfo=UTC)


def us(*moment: int, zone: object = UTC, micro: int = 0) -> int:
    when = datetime(*moment, tzinfo=zone)  # type: ignore[arg-type]
    return (when - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1) + micro


NOW_US = us(2026, 11, 24, 12)


@pytest.fixture
def reader() -> LineReader:
    return LineReader(NOW_US, BERLIN)


def day(*clock: int, zone: object = UTC, micro: int = 0) -> int:
    return us(2026, 11, 24, *clock, zone=zone, micro=micro)


CASES = [
    ("2026-11-24 10:00:00 status installed libc6:amd64 2.36", day(10, zone=BERLIN)),
    ("2026-07-24 10:00:00 summer time", us(2026, 7, 24, 8)),
    ("2026-11-24T10:00:00Z x", day(10)),
    ("2026-11-24T10:00:00.123456789+02:00 x", day(8, micro=123456)),
    ("2026-11-24 10:00:00,123 ERROR [main] x", day(10, zone=BERLIN, micro=123000)),
    ("2026-11-24 10:00:00.5 UTC [12] LOG: x", day(10, micro=500000)),
    ("2026-11-24 10:00:00 -0500 x", day(15)),
    ("2026-11-24 10:00:00 -1234 bytes", day(10, zone=BERLIN)),
    ("2026/11/24 10:00:00 [error] 31#31: *1 open() failed", day(10, zone=BERLIN)),
    ("[2026-11-24T10:00:00.250Z] x", day(10, micro=250000)),
    ("Start-Date: 2026-11-24  10:00:00", day(10, zone=BERLIN)),
    ("Log started: 2026-11-24  10:00:00", day(10, zone=BERLIN)),
    ("update-alternatives 2026-11-24 10:00:00: run with --install", day(10, zone=BERLIN)),
    ("Nov 24 10:00:00 web-1 sshd[812]: Accepted", day(10, zone=BERLIN)),
    ("<13>Nov  4 10:00:00 web-1 cron: x", us(2026, 11, 4, 10, zone=BERLIN)),
    ("Dec 24 10:00:00 web-1 cron: last year", us(2025, 12, 24, 10, zone=BERLIN)),
    ("Feb 29 10:00:00 web-1 cron: leap", us(2024, 2, 29, 10, zone=BERLIN)),
    ('10.0.0.1 - - [24/Nov/2026:10:00:00 +0000] "GET / HTTP/1.1" 200 5', day(10)),
    ('10.0.0.1 - - [24/Nov/2026:10:00:00 +0100] "GET /?at=2025-01-01T00:00:00Z HTTP/1.1" 200 5', day(9)),
    ("[Tue Nov 24 10:00:00.123456 2026] [core:notice] x", day(10, zone=BERLIN, micro=123456)),
    ("24-Nov-2026 10:00:00.123 INFO [main] org.apache.catalina", day(10, zone=BERLIN, micro=123000)),
    ("Nov 24, 2026 1:00:00 PM com.acme.Main run", day(13, zone=BERLIN)),
    ("Tue, 24 Nov 2026 10:00:00 GMT x", day(10)),
    ("20261124T100000Z x", day(10)),
    ("20261124T100000.250+0100 ERROR x", day(9, micro=250000)),
    ("[20261124T100000] x", day(10, zone=BERLIN)),
    ("at=20261124T100000,5+01 x", day(9, micro=500000)),
    ("20261124T100000 UTC x", day(10)),
    ("backup-20261124T100000Z is a name", None),
    ("20261124T100000Z.tar.gz is a name", None),
    ("20261324T100000Z is no date", None),
    ("120261124T100000Z is a number", None),
    ("24/Nov/2026:10:00:00 +0100 GET /", day(9)),
    ("10.0.0.1 24/Nov/2026:10:00:00 +0000 GET /?at=2025-01-01T00:00:00Z", day(10)),
    ("10.0.0.1 24/Nov/2026:10:00:00 GET /", day(10, zone=BERLIN)),
    ('10.0.0.1 - - [24/Nov/2026:10:00:00 +0100] "GET /?at=20250101T000000Z HTTP/1.1" 200 5', day(9)),
    ("/24/Nov/2026:10:00:00 is a path", None),
    ("24.11.2026 10:00:00 WARN x", day(10, zone=BERLIN)),
    ("24.11.2026 10:00:00,123 WARN x", day(10, zone=BERLIN, micro=123000)),
    ("[24.11.2026, 10:00:00.5] x", day(10, zone=BERLIN, micro=500000)),
    ("24.11.2026 10:00:00 +0200 x", day(8)),
    ("24.11.2026T10:00:00Z x", day(10)),
    ("4.11.2026 9:00:00 x", us(2026, 11, 4, 9, zone=BERLIN)),
    ("05.10.2026 20:06:00 WARN x", us(2026, 10, 5, 20, 6, 0, zone=BERLIN)),
    ("11.24.2026 10:00:00 is no date", None),
    ("1.24.11.2026 10:00:00 is no date", None),
    ("05/10/2026 20:06:00 may be May or October", None),
    ("1790000000 x", 1_790_000_000_000_000),
    ("1790000000.25 x", 1_790_000_000_250_000),
    ("[1790000000123] x", 1_790_000_000_123_000),
    ("1790000000123456789 x", 1_790_000_000_123_456),
    ("1234567890123456 is older than any log", 1_234_567_890_123_456),
    ("9999999999 is no time", None),
    ("0123456789 is no time", None),
    ("12345 x", None),
    ("2026-13-40 10:00:00 is no date", None),
    ("expires 0001-01-01T00:00:00Z", None),
    ("12026-11-24 10:00:00 is a part number", None),
    ("nothing here", None),
    ("x" * 100 + " 2026-11-24 10:00:00 is what the line talks about", None),
]


@pytest.mark.parametrize(("line", "expected"), CASES, ids=[line[:40] for line, _ in CASES])
def test_times_are_recognised(reader: LineReader, line: str, expected: int | None) -> None:
    assert reader.read(line).timestamp_us == expected
    assert reader.read(line).timestamp_us == expected  # from the cache


def test_without_a_zone_times_are_the_machines_own() -> None:
    expected = round(datetime(2026, 7, 1, 10).timestamp()) * 1_000_000
    assert LineReader(NOW_US).read("2026-07-01 10:00:00 x").timestamp_us == expected


@pytest.mark.parametrize(
    ("line", "level"),
    [
        ("2026-11-24 10:00:00 ERROR x", "ERROR"),
        ("[WARNING] disk", "WARNING"),
        ("INFO: WARN later", "INFO"),
        ("GET /INFO HTTP/1.1", None),
        ("an error in lower case is content", None),
        ("LOG_ERROR=1 INFO.txt", None),
    ],
)
def test_levels_are_whole_words_in_capitals(reader: LineReader, line: str, level: str | None) -> None:
    assert reader.read(line).level == level


def items_of(
    data: bytes, reader: LineReader, form: Form = "auto", defaults: Defaults | None = None
) -> list[Item | Bad]:
    content = Content(io.BytesIO(data), "utf-8")
    form = form_of(content.head) if form == "auto" else form
    reading = Reading(form, defaults or Defaults(), reader, content.line_end == "crlf")
    return list(read_items(content.pieces(), reading, Position()))


def read(
    data: bytes, reader: LineReader, form: Form = "auto", defaults: Defaults | None = None
) -> tuple[list[dict[str, object]], list[Bad]]:
    items = items_of(data, reader, form, defaults)
    return [json.loads(i.body) for i in items if isinstance(i, Item)], [i for i in items if isinstance(i, Bad)]


def test_lines_are_unchanged_and_inherit_the_time_before(reader: LineReader) -> None:
    data = b"first\n\n2026-11-24T10:00:00Z a \xff\r\n\tat frame\x0b\n  \nNov 24 10:00:00 web-1 sshd[812]: in"
    found, bad = read(data, reader)
    assert not bad
    assert [event["message"] for event in found] == [
        "first",
        "2026-11-24T10:00:00Z a �\r",
        "\tat frame\x0b",
        "  ",
        "Nov 24 10:00:00 web-1 sshd[812]: in",
    ]
    assert [event["timestamp"] for event in found] == [
        "2026-11-24T12:00:00.000000Z",
        *["2026-11-24T10:00:00.000000Z"] * 3,
        "2026-11-24T09:00:00.000000Z",
    ]
    assert (found[4]["host"], found[4]["service"]) == ("web-1", "sshd")
    assert "service" not in found[0]


@pytest.mark.parametrize("form", ["json-lines", "ndjson", "json"])
def test_names_that_differ_in_bad_bytes_alone_are_sent_as_they_are(reader: LineReader, form: Form) -> None:
    data = b'{"message":"a","x\xff":1,"x\xfe":2}\n'
    (item,) = items_of(data, reader, form, Defaults(service="s"))
    assert isinstance(item, Item)
    assert item.body.startswith(data.rstrip()[:-1])
    assert item.body.endswith(b',"service":"s"}')


def test_options_come_before_what_a_line_says(reader: LineReader) -> None:
    found, _ = read(b"Nov 24 10:00:00 web-1 sshd[812]: ERROR x", reader, defaults=Defaults("s", "h", "info"))
    assert (found[0]["service"], found[0]["host"], found[0]["level"]) == ("s", "h", "info")


@pytest.mark.parametrize(
    "data",
    [
        b'{"message":"a"}\n{"message":"b"}\n',
        b'{"message":"a"}\r\n\r\n{"message":"b"}',
        b'[{"message":"a"},{"message":"b"}]',
        b'  [\n {"message":"a"},\n {"message":"b"}]',
        b'{"events":[{"message":"a"},{"message":"b"}]}',
        b'{\n "events": [\n{"message":"a"},{"message":"b"}]}\n',
    ],
)
def test_forms_of_json_are_told_apart(reader: LineReader, data: bytes) -> None:
    found, bad = read(data, reader, defaults=Defaults(service="s"))
    assert (found, bad) == ([{"message": "a", "service": "s"}, {"message": "b", "service": "s"}], [])


@pytest.mark.parametrize("data", [b"[error] x\n", b"{braces} x\n", b'{"half": \n', b"[24/Nov/2026:10:00:00 +0000] x\n"])
def test_lines_that_begin_like_json_are_lines(reader: LineReader, data: bytes) -> None:
    if data.startswith(b'{"half"'):
        with pytest.raises(ValueError, match="--format"):
            read(data, reader)
        data = b"{half: \n"
    found, _ = read(data, reader)
    assert [event["message"] for event in found] == [data.decode().rstrip("\n")]


def test_what_is_no_event_is_named_with_its_line(reader: LineReader) -> None:
    found, bad = read(b'{"message":"a"}\nnot json\n[1]\n{"message":"b"}\n', reader)
    assert [event["message"] for event in found] == ["a", "b"]
    assert [(one.position, one.reason[:8]) for one in bad] == [(2, "not JSON"), (3, "not a JS")]


def test_json_that_orjson_refuses_is_sent_as_it_is(reader: LineReader) -> None:
    raw = b'{"message":"a \\ud800 b"}'
    items = items_of(raw + b"\n", reader, "ndjson")
    assert items == [Item(1, raw, None)]
    found, _ = read(raw, reader, "ndjson", Defaults(service="s"))
    assert found == [{"message": "a \ud800 b", "service": "s"}]


def test_a_line_over_the_limit_is_named_and_the_rest_is_read(reader: LineReader) -> None:
    data = b"a\n" + b"x" * (3 * MAX_EVENT_BYTES) + b"\nb\n" + b"y" * MAX_EVENT_BYTES + b"\nc"
    items = items_of(data, reader, "lines")
    assert [item.position for item in items if isinstance(item, Bad)] == [2]
    assert [len(orjson.loads(item.body)["message"]) for item in items if isinstance(item, Item)] == [
        1,
        1,
        MAX_EVENT_BYTES,
        1,
    ]


def test_a_document_over_the_limit_is_refused(reader: LineReader, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inputs, "MAX_DOCUMENT_BYTES", 10)
    with pytest.raises(ValueError, match="NDJSON"):
        read(b'[{"message":"too long"}]', reader)


def test_nothing_is_nothing(reader: LineReader) -> None:
    assert read(b"", reader) == ([], [])
    assert read(b"\n\n", reader) == ([], [])


@pytest.mark.parametrize("size", [1, 7, 65_535, 65_536, 65_537, 131_072])
def test_every_line_is_read_once_at_any_boundary(reader: LineReader, size: int) -> None:
    lines = [b"%d" % i + b"-" * (size - 6) for i in range(100_000, 100_000 + max(3, 300_000 // (size + 100)))]
    items = items_of(b"\n".join(lines), reader, "lines")
    assert [orjson.loads(i.body)["message"].encode() for i in items if isinstance(i, Item)] == lines
