"""JSON documents: each event is sent as it stands, whatever numbers are in it."""

from __future__ import annotations

import io
import json

import pytest

from ess_ray.cli.content import Content
from ess_ray.cli.documents import spans_of
from ess_ray.cli.inputs import Defaults, Form, Item, Reading, read_items
from ess_ray.cli.position import Position
from ess_ray.intake.lines.times import LineReader

EXACT = '{"n": 123456789012345678901234567890, "d": 0.1000000000000000055, "x": NaN, "s": "\\ud800"}'


@pytest.mark.parametrize(
    ("text", "events"),
    [
        ("[]", []),
        (" [ ] ", []),
        ('[{"a":1},\n {"b":[1,{"c":"]"}]}\n]', ['{"a":1}', '{"b":[1,{"c":"]"}]}']),
        ('[1, "x", null]', ["1", '"x"', "null"]),
        ('{"message":"a"}\n', ['{"message":"a"}']),
        ('{"x": {"events": []}, "events": [{"a": 1}]}', ['{"a": 1}']),
        ('{"events": [{"a": 1}], "events": [{"b": 2}]}', ['{"b": 2}']),
        ('{"events": [1], "message": "m"}', ['{"events": [1], "message": "m"}']),
        (f"[{EXACT}]", [EXACT]),
        ('{\n "a": 1\n}\n{\n "b": 2\n}\n', ['{\n "a": 1\n}', '{\n "b": 2\n}']),
        ('{"a":1}{"events":[2]}', ['{"a":1}', '{"events":[2]}']),
        ('[{"a":1},{"b":"\\q"},{"c":"ü"},\n{"d":"\x01"}]', ['{"a":1}', '{"b":"\\q"}', '{"c":"ü"}', '{"d":"\x01"}']),
        ('{"Records": [{"ä":1},{"b":007}]}', ['{"ä":1}', '{"b":007}']),
    ],
)
def test_events_are_found_where_they_stand(text: str, events: list[str]) -> None:
    assert [text[start:end] for start, end in spans_of(text)] == events


@pytest.mark.parametrize("text", ["", "[", "[1] x", "12", '"text"', "[1,]", '{"a" 1}', "[" * 100_000,
             '{"a":1}{"b":', '{"a":1},{"b":2}', '[{"a":1} {"b":2}]', '[{"a":"x},{"b":2},{"c":"d"e"}]'])  # fmt: skip
def test_what_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="JSON"):
        spans_of(text)


@pytest.mark.parametrize(("form", "text"), [("json", f"[{EXACT}]"), ("ndjson", f"{EXACT}\n")])
@pytest.mark.parametrize("service", [None, "s"])
def test_nothing_changes_on_the_way(form: Form, text: str, service: str | None) -> None:
    reading = Reading(form, Defaults(service=service), LineReader(0))
    (item,) = read_items(Content(io.BytesIO(text.encode())).pieces(), reading, Position())
    assert isinstance(item, Item)
    added = "" if service is None else ',"service":"s"'
    assert item.body.decode() == EXACT[:-1] + added + "}"


def test_an_element_that_is_no_json_is_named_and_costs_no_other() -> None:
    text = b'[{"message":"a"},{"message":"b\nc"},{"message":"\\q"},{"message":"d"}]'
    read = list(read_items(iter([text]), Reading("json", Defaults(), LineReader(0)), Position()))
    assert [one.body for one in read if isinstance(one, Item)] == [b'{"message":"a"}', b'{"message":"d"}']
    assert [one.position for one in read if not isinstance(one, Item)] == [2, 3]


@pytest.mark.parametrize("form", ["json", "ndjson"])
@pytest.mark.parametrize("event", [{}, {"service": None}, {"service": "own"}, {"a": {"service": 1}}])
def test_defaults_are_added_where_they_are_missing(form: Form, event: dict[str, object]) -> None:
    text = json.dumps(event)
    reading = Reading(form, Defaults("s", "h", "info"), LineReader(0))
    (item,) = read_items(iter([f"[{text}]".encode() if form == "json" else text.encode()]), reading, Position())
    assert isinstance(item, Item)
    assert json.loads(item.body) == {"service": "s", "host": "h", "level": "info"} | {
        name: value for name, value in event.items() if value is not None
    }


def test_a_line_with_a_bad_byte_is_an_event() -> None:
    reading, position = Reading("ndjson", Defaults(), LineReader(0)), Position()
    (item,) = read_items(iter([b'{"message":"a \xff b"}\n']), reading, position)
    assert isinstance(item, Item)
    assert (item.body, position.broken, position.broken_first) == (b'{"message":"a \xff b"}', 1, 1)
