"""What an event's attributes become: flattened, named, bounded."""

from __future__ import annotations

from typing import Any

import pytest

from ess_ray.core.errors import BadRequest, TooLarge
from ess_ray.intake.formats.format import body_hash
from tests.json_events import decode, reason, row, rows
from tests.unit.test_json_events import NDJSON


def test_attribute_values_are_text() -> None:
    given = {
        "s": "x",
        "e": "",
        "i": 5,
        "n": -0.5,
        "f": 1.0,
        "t": True,
        "u": False,
        "z": None,
        "l": [1, "a", None, {"b": 2.5}],
        "o": {},
        "v": [],
    }
    kept = {
        "s": "x",
        "e": "",
        "i": "5",
        "n": "-0.5",
        "f": "1.0",
        "t": "true",
        "u": "false",
        "l": '[1,"a",null,{"b":2.5}]',
        "v": "[]",
    }
    for found in (row(attributes=given), row(**given)):
        assert (found["attributes"], found["attribute_types"]) == (kept, "ssnnnbbjj")
    assert row(a="x", b={"c": "5"})["attribute_types"] is None
    assert rows([{"message": "m", "a": 1}, {"message": "m", "a": "1"}, {"message": "m"}])[1]["attribute_types"] is None


def test_nested_attributes_are_flattened_and_both_of_one_name_are_kept() -> None:
    assert row(attributes={"a": {"b": {"c": 1}, "d": "x"}, "": {"": "e"}})["attributes"] == {
        "a.b.c": "1",
        "a.d": "x",
        ".": "e",
    }
    assert row(attributes={"a": {"b": 1}, "a.b": 2})["attributes"] == {"a.b": "1", "a.b#2": "2"}
    assert row(attributes={"a.b": 2, "a": {"b": "x"}})["attributes"] == {"a.b": "2", "a.b#2": "x"}
    clash = row(attributes={"a": {"b": "1"}, "a.b": 2, "a.b#2": "own"}, **{"a.b": True})
    assert clash["attributes"] == {"a.b": "true", "a.b#2": "own", "a.b#3": "1", "a.b#4": "2"}
    assert clash["attribute_types"] == "bssn"


def test_unknown_keys_become_attributes_beside_the_explicit_ones() -> None:
    assert row(region="eu", attributes={"zone": "b"})["attributes"] == {"region": "eu", "zone": "b"}
    assert row(region="eu", attributes={"region": "us"})["attributes"] == {"region": "eu", "region#2": "us"}
    assert row(region="eu", attributes={"region": None})["attributes"] == {"region": "eu"}
    assert row(a={"b": "1", "c": "2"}, attributes={"a": {"b": "3"}})["attributes"] == {
        "a.b": "1",
        "a.c": "2",
        "a.b#2": "3",
    }


@pytest.mark.parametrize(
    ("event", "attributes"),
    [
        ({"attributes.x": 1}, {"x": "1"}),
        ({"attributes.x": 1, "x": 2}, {"x": "1", "x#2": "2"}),
        ({"attributes.x": 1, "attributes": {"x": 2}}, {"x": "1", "x#2": "2"}),
        ({"attributes.level": "a", "level": "INFO"}, {"level": "a"}),
        ({"attributes.attributes.x": 1}, {"attributes.x": "1"}),
        ({"attributes": {"attributes.x": 1, "attributes": {"y": 2}}}, {"attributes.x": "1", "attributes.y": "2"}),
        ({"attributes": 5, "attributes.": 6}, {"attributes": "5", "attributes.": "6"}),
        ({"attributes._ess.x": 1}, {"_ess.x#2": "1"}),
        (
            {"resource.attributes.x": 1, "resource": {"attributes": {"y": 2}}},
            {"resource.attributes.x": "1", "resource.attributes.y": "2"},
        ),
    ],
)
def test_the_prefix_of_attributes_is_no_part_of_a_name(event: Any, attributes: dict[str, str]) -> None:
    assert row(**event)["attributes"] == attributes


def test_names_of_ours_are_a_clients_own() -> None:
    own = {"offset": 4, "row": "r", "vnode": 1, "log_id": "l", "event_id": "e", "observed_timestamp": "now"}
    found = row(**own)
    assert found["attributes"] == {name: str(value) for name, value in own.items()}
    assert found["event_id"] is None
    assert row(**{"_ess.offset": 5})["attributes"] == {"_ess.offset#2": "5"}
    assert row(_ess={"offset": 5}, attributes={"_ess.row": "x"})["attributes"] == {
        "_ess.offset#2": "5",
        "_ess.row#2": "x",
    }


@pytest.mark.parametrize(
    ("event", "stored"),
    [
        ({"severity_number": 17}, ("ERROR", 17)),
        ({"severity_number": "9"}, ("INFO", 9)),
        ({"severity_number": 18, "level": "warn"}, ("WARN", 18)),
        ({"severity_number": 99}, (None, 99)),
        ({"severity_number": 2**40}, (None, None)),
        ({"severity_number": "high", "level": "info"}, ("INFO", 9)),
    ],
)
def test_a_severity_number_that_is_sent_is_the_events(event: dict[str, Any], stored: tuple[Any, Any]) -> None:
    found = row(**event)
    assert (found["level"], found["severity_number"]) == stored


def test_of_duplicate_keys_the_last_wins() -> None:
    found = rows(b'[{"message":"a","message":"b","x":1,"x":2,"attributes":{"k":"1"},"attributes":{"k":"2","k":"3"}}]')[
        0
    ]
    assert (found["message"], found["attributes"]) == ("b", {"x": "2", "k": "3"})


def nest(levels: int, key: str = "a") -> dict[str, Any]:
    value: Any = "x"
    for _ in range(levels):
        value = {key: value}
    assert isinstance(value, dict)
    return value


def test_a_hundred_levels_are_kept_and_one_more_is_rejected() -> None:
    assert row(attributes=nest(100))["attributes"] == {".".join("a" * 100): "x"}
    assert "100 levels" in reason(message="m", attributes=nest(101))
    assert row(**nest(100))["attributes"] == {".".join("a" * 100): "x"}
    assert "100 levels" in reason(message="m", **nest(101))
    lists: Any = "x"
    for _ in range(99):
        lists = [lists]
    assert row(attributes={"l": lists})["attributes"]["l"].startswith("[[[")
    assert "100 levels" in reason(message="m", attributes={"l": [lists]})
    assert "100 levels" in reason(message="m", attributes=nest(900))


@pytest.mark.parametrize("open_close", [('{"a":', "}"), ("[", "]")])
@pytest.mark.parametrize("levels", [1_020, 5_000, 500_000])
def test_json_too_deep_to_parse_is_refused(open_close: tuple[str, str], levels: int) -> None:
    nested = open_close[0] * levels + "1" + open_close[1] * levels
    for body in (nested, f'[{{"message":"m","attributes":{nested}}}]', f'[{{"message":"\\ud800","x":{nested}}}]'):
        with pytest.raises(BadRequest):
            decode(body.encode())


def test_lone_surrogates_become_replacement_characters() -> None:
    event = rb'{"message":"a\ud800b\udc00","service":"\uD83D\uDE00","attributes":{"k\udfff":"\ud800x","l":["\ud800"]}}'
    body = b"[" + event + rb',{"message":"plain \u00e9"}]'
    first, second = rows(body)
    assert first["message"] == "a\ufffdb\ufffd"
    assert first["service"] == "\U0001f600"
    assert first["attributes"] == {"k\ufffd": "\ufffdx", "l": '["\ufffd"]'}
    assert second["message"] == "plain é"
    assert rows(rb'{"message":"\ud800"}', NDJSON)[0]["message"] == "\ufffd"


def test_bytes_that_are_no_utf8_are_replaced_in_one_event_alone() -> None:
    good = b'{"message":"good","n":1}'
    for bad, text in ((b"\xff", "\ufffd"), (b"\xed\xa0\x80", "\ufffd" * 3), (b"caf\xe9", "caf\ufffd")):
        body = b"[" + good + b',{"message":"' + bad + b'","k":"' + bad + b'"},' + good + b"]"
        found = rows(body)
        assert [row["message"] for row in found] == ["good", text, "good"]
        assert (found[0]["attribute_types"], found[1]["attributes"]) == ("n", {"k": text})


def test_an_event_has_at_most_512_kib() -> None:
    assert row(message="x" * (512 * 1024))["message"].startswith("xxx")
    for event in (
        {"message": "x" * (512 * 1024 + 1)},
        {"message": "é" * (256 * 1024) + "x"},
        {"message": "", "a": "x" * (512 * 1024)},
    ):
        assert "524288 bytes" in reason(**event)
    # Small as JSON, large when flattened: the prefix is in every key.
    inner = {f"{i}": "x" for i in range(1000)}
    assert "524288 bytes" in reason(message="m", attributes={"p" * 2000: inner})


def test_many_events_that_flatten_to_too_much_are_refused_together() -> None:
    inner = {f"{i}": "x" for i in range(200)}
    event = {"message": "m", "attributes": {"p" * 2000: inner}}
    assert len(decode([event] * 10).batch) == 10
    with pytest.raises(TooLarge):
        decode([event] * 400)


def test_a_body_hash_counts_what_was_rejected() -> None:
    assert body_hash(b"a", []) == body_hash(b"a", []) != body_hash(b"b", [])
    assert body_hash(b"a", [(1, "x")]) == body_hash(b"a", [(1, "y")]) != body_hash(b"a", [])
