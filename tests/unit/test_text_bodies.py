"""Lines of text over HTTP in a tenant's format: events as of a file; without the setting each line is a message."""

from __future__ import annotations

import pyarrow as pa
import pytest

from ess_ray.core.errors import BadRequest
from ess_ray.core.event import to_json_rows
from ess_ray.intake.decoded import Decoded
from ess_ray.intake.fields import FIELD_TABLE
from ess_ray.intake.formats.format import Body
from ess_ray.intake.formats.json_events import decode_events, decode_together
from ess_ray.intake.formats.json_pieces import cut
from ess_ray.intake.limits import IntakeLimits
from ess_ray.intake.lines.bodies import formats_of
from ess_ray.record import identified
from ess_ray.settings import load

NOW_US = 1_796_000_000_000_000
LIMITS = IntakeLimits()
ACCESS = b'203.0.113.7 - - [24/Nov/2026:10:00:00 +0000] "GET / HTTP/1.1" 503 0\r\n'
TRACE = b"2026-11-24 10:00:01 ERROR x\njava.lang.Exception: y\n\tat a.B.c(B.java:1)\n"


def body(data: bytes, parse: str | None, content_type: str = "text/plain") -> Body:
    return Body(data, content_type, parse=parse)


def rows(decoded: Decoded) -> list[dict[str, object]]:
    return to_json_rows(pa.Table.from_batches([identified(decoded.batch, "log", 0, 0)]))


def test_lines_are_read_in_the_format_that_is_said_or_recognised() -> None:
    for parse in ("auto", "access"):
        (event,) = rows(decode_events(body(ACCESS, parse), NOW_US, LIMITS))
        assert event["message"] == ACCESS.decode().strip()
        assert event["timestamp"] == "2026-11-24T10:00:00.000000Z"
        assert (event["level"], event["attributes"]["status"]) == ("ERROR", 503)  # type: ignore[index]


def test_a_stack_trace_is_one_event_and_blank_lines_are_none() -> None:
    found = rows(decode_events(body(b"\n" + TRACE + b"\n" + TRACE, "auto"), NOW_US, LIMITS))
    assert [event["message"] for event in found] == [TRACE.decode().strip()] * 2


def test_without_the_setting_and_as_json_nothing_is_different() -> None:
    assert len(rows(decode_events(body(TRACE, None), NOW_US, LIMITS))) == 3
    objects = b'{"message": "a", "level": "info"}\n{"message": "b"}\n'
    for content_type in ("text/plain", "application/x-ndjson"):
        said, unsaid = (decode_events(body(objects, parse, content_type), NOW_US, LIMITS) for parse in ("access", None))
        assert said.batch == unsaid.batch


def test_a_table_without_records_has_no_events() -> None:
    with pytest.raises(BadRequest, match="no events in it"):
        decode_events(body(b"time,message\n", "csv"), NOW_US, LIMITS)


def test_bodies_that_are_decoded_together_keep_their_formats() -> None:
    bodies = [body(ACCESS, "auto"), body(b"plain\n", None), body(TRACE, "auto")]
    found = [one for one in decode_together(bodies, NOW_US, LIMITS) if isinstance(one, Decoded)]
    assert [len(one.batch) for one in found] == [1, 1, 1]
    assert rows(found[0])[0]["level"] == "ERROR"


def test_a_large_body_is_read_by_pieces_in_its_format() -> None:
    pieces = cut(ACCESS * 200, "text/plain", piece_bytes=1_000, parse="auto")
    assert len(pieces) > 5
    decoded = [pieces.decode(number, FIELD_TABLE, NOW_US, LIMITS) for number in range(len(pieces))]
    events = [event for one in decoded for event in rows(one)]
    assert [event["level"] for event in events] == ["ERROR"] * 200


def test_a_format_that_there_is_none_of_is_refused_at_the_start() -> None:
    with pytest.raises(BadRequest, match=r"push\.parse: shop has 'acess'"):
        formats_of(load(push={"parse": {"shop": "acess"}}).push.parse)
    parse = load(push={"parse": {"shop": "nginx", "bakery": "auto"}}).push.parse
    assert formats_of(parse) == {"shop": "access", "bakery": "auto"}
