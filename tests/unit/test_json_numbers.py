"""Numbers keep their digits, and hashes tell events of one id apart."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest

from ess_ray.intake.columns import plain_columns
from ess_ray.intake.fields import FIELD_TABLE
from ess_ray.intake.formats.json_values import read_values
from tests.json_events import LIMITS, NOW_US, decode, rows
from tests.unit.test_json_events import NDJSON

LONG = [
    *("19.990000000000000001", "123456789012345678.25", "1e-400", "12345678901234567e2", "-0.10000000000000001"),
    *("12345678901234567890.5e-15", "-1234567.123456789012", "12345678.12345678901"),
]


@pytest.mark.parametrize("number", LONG)
def test_decimals_keep_all_their_digits(number: str) -> None:
    event = f'{{"message": "m", "id": "a", "n": {number}, "l": [{number}, 99999999999999999999, 1.50], "plain": 1.5}}'
    for text in (f"[{event}]", f'{{"message": "m"}}\n{event}'):
        batch = decode(text.encode()).batch
        attributes = dict(batch.column("attributes").to_pylist()[-1])
        assert attributes == {"n": number, "l": f"[{number},99999999999999999999,1.5]", "plain": "1.5"}
        assert batch.column("attribute_types").to_pylist()[-1] == "njn"


def test_events_of_one_id_whose_decimals_differ_are_two() -> None:
    def hash_of(*numbers: str) -> Any:
        events = ",".join(f'{{"message": "m", "id": "a", "timestamp": 1790000000.0, "n": {n}}}' for n in numbers)
        return decode(f"[{events}]".encode()).batch.column("event_hash")[0]

    assert hash_of("0.1") == hash_of("0.1", LONG[0]) != hash_of("0.10000000000000001")
    assert hash_of(LONG[0]) == hash_of(LONG[0], "1")


def test_the_hash_of_a_time_of_many_digits_is_the_same_beside_any_other_event() -> None:
    event = '{"message": "m", "id": "a", "timestamp": 1790000000.12345678901234567}'
    alone = decode(f"[{event}]".encode()).batch
    beside = decode(f'[{event},{{"message": "b", "n": {LONG[0]}}}]'.encode()).batch
    assert alone.column("event_hash")[0] == beside.column("event_hash")[0]
    assert alone.column("timestamp")[0] == beside.column("timestamp")[0]


FEW = ["0.1", "0.30000000000000004", "1.5e-7", "0.0", "5e-324", "1e15", "1.10", "123456.789012345"]


@pytest.mark.parametrize("number", FEW)
def test_decimals_that_a_double_tells_are_read_fast(number: str) -> None:
    text = b'[{"message": "took 1.2 s", "trace": "0123456789012345e-400", "n": %b}]' % number.encode()
    read = read_values(text, None)
    assert len(plain_columns(read.values, NOW_US, LIMITS, FIELD_TABLE, read.exact)) == 1
    assert Decimal(dict(decode(text).batch.column("attributes").to_pylist()[0])["n"]) == Decimal(number)


def test_numbers_keep_their_digits() -> None:
    digits = "123456789012345678901234567890"
    attributes = f'{{"m":-{digits},"u":18446744073709551615,"e":1e30}}'
    body = f'[{{"message":"m","n":{digits},"l":[{digits}],"attributes":{attributes}}}]'
    kept = {"n": digits, "l": f"[{digits}]", "m": f"-{digits}", "u": "18446744073709551615", "e": "1e+30"}
    assert rows(body.encode())[0]["attributes"] == kept
    assert rows(body[1:-1].encode(), NDJSON)[0]["attributes"] == kept


@pytest.mark.parametrize("number", ["1e400", "-1e400", "9" * 5000, "NaN", "Infinity", "-Infinity"])
def test_what_is_no_json_number_is_kept_as_text(number: str) -> None:
    lines = [b'{"message":"good"}', f'{{"message":"m","n":{number},"l":[{number}]}}'.encode()]
    lines.append(f'{{"message":"m","timestamp":{number}}}'.encode())
    for body, kind in ((b"[" + b",".join(lines) + b"]", None), (b"\n".join(lines), NDJSON)):
        decoded = decode(body, kind)
        assert decoded.rejected == []
        assert [index for index, _ in decoded.adjusted] == [2]
        attributes = decoded.batch.column("attributes").to_pylist()
        assert attributes[1:] == [[("n", number), ("l", f'["{number}"]')], [("original_timestamp", number)]]
        assert decoded.batch.column("attribute_types").to_pylist() == [None, "sj", None]


def hashes(*events: dict[str, Any]) -> list[bytes | None]:
    found: list[bytes | None] = decode(list(events)).batch.column("event_hash").to_pylist()
    return found


def test_an_event_with_an_id_has_a_hash_of_what_was_sent() -> None:
    sent = {"message": "created", "id": "o-7", "n": 1.50, "a": {"b": [1]}}
    (first,) = hashes(sent)
    assert first is not None
    assert hashes({"a": {"b": [1]}, "n": 1.5, "id": "o-7", "message": "created"}, {"message": "m"}) == [first, None]
    # However it is parsed, and whatever stands beside it.
    assert hashes(sent, {"message": "m", "n": 10**30}, {"message": "m", "level": ["odd"]})[0] == first
    assert decode(b'[%s,{"message":"\xff"}]' % json.dumps(sent).encode()).batch.column("event_hash")[0].as_py() == first
    others = hashes(
        *({**sent, **change} for change in ({"message": "paid"}, {"n": 2}, {"timestamp": NOW_US}, {"level": "info"}))
    )
    assert len({first, *others}) == 5


def test_an_id_that_is_no_text_has_a_hash_too() -> None:
    assert hashes({"message": "m", "id": 7})[0] is not None
    assert hashes({"message": "m", "id": ""}) == [None]
