"""The forward protocol without sockets: messages of all modes to rows, the stream's limits, the handshake."""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from hashlib import sha512
from typing import Any

import msgpack
import pytest

from ess_ray.core.errors import TooLarge
from ess_ray.core.event import MAX_EVENT_BYTES
from ess_ray.intake.compression import decompress
from ess_ray.intake.decoded import Decoded
from ess_ray.intake.fields import FIELD_TABLE
from ess_ray.intake.formats.format import Body, Stored
from ess_ray.intake.formats.forward import ForwardEntries
from ess_ray.intake.formats.forward_handshake import Handshake, Verdict
from ess_ray.intake.formats.forward_message import Message, acknowledgement, key_of, read_message
from ess_ray.intake.formats.forward_stream import Elements, ForwardStream
from ess_ray.intake.formats.json_pieces import PIECE_BYTES
from ess_ray.intake.formats.msgpack_walk import Malformed
from ess_ray.intake.limits import MAX_KEY_BYTES, IntakeLimits
from ess_ray.record import ORIGINAL_TIMESTAMP
from tests.forward import MODES, Mode, event_time, message, pack, packed_entries, ping
from tests.loki import rows_of

NOW_US = 1_790_000_000_000_000
NOW_S = NOW_US // 1_000_000
LIMITS = IntakeLimits()


def elements_of(data: bytes) -> list[Elements]:
    return list(ForwardStream().feed(data))


def messages_of(data: bytes) -> list[Message]:
    return [read_message(elements) for elements in elements_of(data)]


def decode(found: Message) -> Decoded:
    entries = decompress(found.entries, found.encoding, LIMITS.max_batch_bytes)
    return ForwardEntries([(found.tag, None)], found.chunk).decode(Body(entries), NOW_US, LIMITS)


def rows(data: bytes) -> list[dict[str, Any]]:
    return [row for found in messages_of(data) for row in rows_of(decode(found).batch)]


def one(record: Any, time: Any = NOW_S, mode: Mode = "packed", tag: str = "app") -> dict[str, Any]:
    (row,) = rows(message([(time, record)], mode, tag))
    return row


def us_of(row: dict[str, Any]) -> int:
    return round(row["timestamp"].timestamp() * 1_000_000)


# ------------------------------------------------------------------------------------------------------------- events
@pytest.mark.parametrize("mode", MODES)
def test_a_record_its_time_and_its_tag(mode: Mode) -> None:
    record = {"log": "card declined\n", "level": "error", "container_name": "/shop", "n": 7, "deep": {"a": [1, "b"]}}
    row = one(record, event_time(NOW_US * 1_000 + 1_999), mode, "docker.shop")
    assert (row["message"], row["level"], row["service"]) == ("card declined", "ERROR", "/shop")
    assert us_of(row) == NOW_US + 1
    assert row["attributes"] == {"n": "7", "deep.a": '[1,"b"]', "tag": "docker.shop"}
    assert row["attribute_types"] == "njs"


@pytest.mark.parametrize("mode", MODES)
def test_entries_keep_their_order(mode: Mode) -> None:
    found = rows(message([(NOW_S, {"message": f"{number}"}) for number in range(50)], mode))
    assert [row["message"] for row in found] == [f"{number}" for number in range(50)]


def test_a_tag_in_the_record_keeps_its_name() -> None:
    assert one({"message": "m", "tag": "own"})["attributes"] == {"tag": "own", "tag#2": "app"}


def test_parts_of_dockers_driver_stay_parts() -> None:
    part = {
        "log": "begin",
        "partial_message": "true",
        "partial_id": "x",
        "partial_ordinal": "1",
        "partial_last": "false",
    }
    row = one(part)
    assert row["message"] == "begin"
    assert row["attributes"] == {**{name: value for name, value in part.items() if name != "log"}, "tag": "app"}


@pytest.mark.parametrize(
    ("time", "us"),
    [
        (NOW_S, NOW_US),
        (NOW_S + 0.5, NOW_US + 500_000),
        (event_time(NOW_US * 1_000), NOW_US),
        ([event_time(NOW_US * 1_000), {}], NOW_US),
        ([NOW_S, {"source": "x"}], NOW_US),
        (msgpack.Timestamp(NOW_S, 5_000), NOW_US + 5),
        (None, NOW_US),
    ],
    ids=["int", "float", "event time", "fluent bit", "metadata", "msgpack's own", "none"],
)
def test_times(time: Any, us: int) -> None:
    row = one({"message": "m"}, time)
    assert us_of(row) == us
    assert ORIGINAL_TIMESTAMP not in row["attributes"]


def test_an_event_time_of_another_length_of_header() -> None:
    ext8 = b"\xc7\x08\x00" + event_time(NOW_US * 1_000 + 7_000).data
    (row,) = rows(pack(["app", b"\x92" + ext8 + pack({"message": "m"})]))
    assert us_of(row) == NOW_US + 7


@pytest.mark.parametrize(
    "time", [0, event_time(5), "yesterday", True, [], float("nan"), {"a": 1}, msgpack.ExtType(9, b"x")]
)
def test_a_time_that_cannot_be_is_kept_beside_that_of_receipt(time: Any) -> None:
    row = one({"message": "m"}, time)
    assert us_of(row) == NOW_US
    assert (ORIGINAL_TIMESTAMP in row["attributes"]) is (time != [])


def test_metadata_of_fluent_bits_are_attributes() -> None:
    row = one({"message": "m", "a": 1}, [NOW_S, {"a": 2, "otlp": {"severity_text": "INFO"}}])
    assert row["attributes"] == {"a": "1", "a#2": "2", "otlp.severity_text": "INFO", "tag": "app"}


def test_binary_is_text_and_what_is_no_utf8_is_replaced() -> None:
    row = one({b"log": b"caf\xc3\xa9 \xff\x00", "other": "\udcff", 5: b"\xff", None: 1})
    assert row["message"] == "café \ufffd\x00"
    assert row["attributes"] == {"other": "\ufffd", "5": "\ufffd", "null": "1", "tag": "app"}


def test_numbers_that_json_has_not_are_kept_as_text() -> None:
    row = one({"message": "m", "a": float("nan"), "b": float("-inf"), "c": 2**64 - 1, "d": 0.1})
    assert row["attributes"] == {"a": "NaN", "b": "-Infinity", "c": "18446744073709551615", "d": "0.1", "tag": "app"}


@pytest.mark.parametrize(
    ("record", "text"), [("line", "line"), (b"line\n", "line"), (["a", 1], '["a",1]'), (None, ""), (7, "7")]
)
def test_a_record_that_is_no_map_is_the_message(record: Any, text: str) -> None:
    assert one(record)["message"] == text


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("odd", ["deep", "deeper", "key", "large"])
def test_an_entry_that_can_never_be_stored_costs_no_other(odd: str, mode: Mode) -> None:
    depth = 2_000 if odd == "deeper" else 500
    broken = {
        "deep": b"\x81\xa1a" * 500 + b"\x01",
        "deeper": b"\x91" * depth + b"\xc0",
        "key": b"\x81\x91\x01\x01",
        "large": pack({"message": "x" * (MAX_EVENT_BYTES + 1)}),
    }[odd]
    good = pack([NOW_S, {"message": "m"}])
    content = good + b"\x92\x01" + broken + good
    data = {
        "message": pack(["app", NOW_S, {"message": "m"}])
        + b"\x93\xa3app\x01"
        + broken
        + pack(["app", 1, {"message": "m"}]),
        "forward": b"\x92\xa3app\x93" + content,
        "packed": pack(["app", content]),
        "gzip": pack(["app", gzip.compress(content), {"compressed": "gzip"}]),
        "zstd": message([(NOW_S, {"message": "m"})], "zstd") + pack(["app", content]),
    }[mode]
    decoded = [decode(found) for found in messages_of(data)]
    assert [row["message"] for each in decoded for row in rows_of(each.batch)] == ["m"] * (3 if mode == "zstd" else 2)
    assert sum(len(each.rejected) for each in decoded) == 1


@pytest.mark.parametrize("end", [b"\xc1 and so on", b"\x92\x01", b"\x92\x01\xa5abc"])
def test_behind_what_is_no_messagepack_nothing_is_read(end: bytes) -> None:
    (found,) = messages_of(pack(["app", packed_entries([(NOW_S, {"message": "m"})]) + end]))
    decoded = decode(found)
    assert [row["message"] for row in rows_of(decoded.batch)] == ["m"]
    assert [index for index, _ in decoded.rejected] == [1]


# ----------------------------------------------------------------------------------------------------------- messages
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("chunk", ["p8n9gmxTQVC8/nh2wlKKeQ==", b"\x01\xff" * 8, "not \udcff utf8"])
def test_a_chunk_is_acknowledged_as_it_was_named(mode: Mode, chunk: str | bytes) -> None:
    (found,) = messages_of(message([(NOW_S, {"message": "m"})], mode, chunk=chunk, size=1))
    assert found.chunk == chunk
    assert acknowledgement(chunk) == pack({"ack": chunk})
    answer = ForwardEntries([(found.tag, None)], found.chunk).accepted(Stored(), None)
    assert answer.content == pack({"ack": chunk})


def test_without_a_chunk_nothing_is_acknowledged() -> None:
    assert ForwardEntries([("app", None)]).accepted(Stored(), None).content == b""


def test_signals_are_told_apart() -> None:
    assert [found.signal for found in messages_of(message([], fluent_signal=1) + message([], fluent_signal=2))] == [
        1,
        2,
    ]


@pytest.mark.parametrize(
    ("data", "chunk"),
    [
        (pack([1, [[1, {}]], {"chunk": "a"}]), "a"),
        (pack(["app", b"", {"chunk": "a", "compressed": "lzo"}]), "a"),
        (pack(["app", 1]), None),
        (pack([{}, {}, {}, {"chunk": "a"}]), "a"),
    ],
)
def test_what_is_no_message_has_a_fault_and_its_chunk(data: bytes, chunk: str | None) -> None:
    (found,) = messages_of(data)
    assert found.fault
    assert (found.chunk, found.entries) == (chunk, b"")


def test_keys_of_chunks_tell_tags_and_types_apart_and_are_short() -> None:
    names = [("a", "bc"), ("ab", "c"), ("a", b"bc"), ("a", "6263"), ("x" * 200, "c"), ("x" * 201, "c"), ("a", "\udcff")]
    keys = [key_of(tag, chunk) for tag, chunk in names] + [key_of("a", "bc", "hash")]
    assert len(set(keys)) == len(keys)
    assert all(1 <= len(key.encode()) <= MAX_KEY_BYTES for key in keys)
    assert key_of("a", "bc") == key_of("a", "bc")


# ------------------------------------------------------------------------------------------------------------- stream
def test_heartbeats_are_empty_messages() -> None:
    assert elements_of(b"\xc0\xc0") == [[], []]


@pytest.mark.parametrize(
    "data", [b"GET / HTTP/1.1", b"\x81\x01\x02", b"\x91\x01", b"\xdc\xff\xff", b"\x92\xa1a\xc1", b"\x90"]
)
def test_what_is_no_message_ends_the_stream(data: bytes) -> None:
    stream = ForwardStream()
    given = stream.feed(b"\xc0" + data)
    assert next(given) == []
    with pytest.raises(Malformed):
        next(given)


@pytest.mark.parametrize(
    "head",
    [
        b"\x92\xa1a\xc6\x00\x00\x04\x00",
        b"\x92\xa1a\xdd\x00\x00\x04\x00",
        b"\x92\xa1a\xdf\x00\x00\x03\x00",
        b"\x92" + b"\x91" * 1_100,
    ],
    ids=["binary", "array", "map", "nesting"],
)
def test_a_message_is_too_large_as_soon_as_it_says_so(head: bytes) -> None:
    stream = ForwardStream(max_message_bytes=1_000)
    with pytest.raises(TooLarge, match="chunk_limit_size"):
        list(stream.feed(head))
    assert stream.held_bytes <= len(head)


def test_a_message_of_the_limit_passes() -> None:
    data = pack(["a", b"x" * 991])
    assert len(data) == 997
    stream = ForwardStream(max_message_bytes=997)
    ((_, second),) = stream.feed(data)
    assert second.content == b"x" * 991
    assert stream.held_bytes == 0


# ------------------------------------------------------------------------------------------------------------- pieces
@pytest.mark.parametrize("mode", ["forward", "packed"])
def test_a_large_message_is_cut_into_pieces_that_are_the_whole(mode: Mode) -> None:
    entries = [(NOW_S, {"message": f"{number:05d}" + "x" * 300}) for number in range(10_000)]
    (found,) = messages_of(message(entries, mode))
    form, body = ForwardEntries([(found.tag, None)]), Body(found.entries)
    assert form.may_be_several(body)
    pieces = form.cut(body)
    assert 5 < len(pieces) < 20
    assert all(pieces.size(number) <= PIECE_BYTES for number in range(len(pieces)))
    parts = [pieces.decode(number, FIELD_TABLE, NOW_US, LIMITS) for number in range(len(pieces))]
    assert [text for part in parts for text in part.batch.column("message").to_pylist()] == [
        record["message"] for _, record in entries
    ]
    assert pieces.body_hash == form.cut(Body(bytearray(found.entries))).body_hash
    assert pieces.body_hash != ForwardEntries([("other", None)]).cut(body).body_hash


def test_messages_that_came_together_are_read_together() -> None:
    data = [message([(NOW_S, {"message": f"{tag}{number}"}) for number in range(3)], tag=tag) for tag in ("a", "b")]
    found = messages_of(b"".join(data))
    form = ForwardEntries([(each.tag, len(each.entries)) for each in found])
    decoded = form.decode(Body(b"".join(each.entries for each in found)), NOW_US, LIMITS)
    told = [(row["message"], row["attributes"]["tag"]) for row in rows_of(decoded.batch)]
    assert told == [(f"{tag}{number}", tag) for tag in ("a", "b") for number in range(3)]


# ---------------------------------------------------------------------------------------------------------- handshake
KEYS = {"acme": "secret one", "shop": "secret two"}


def judged(said: Sequence[Any] | bytes, handshake: Handshake) -> Verdict:
    (elements,) = elements_of(said if isinstance(said, bytes) else pack(list(said)))
    return handshake.answer(elements)


@pytest.mark.parametrize("tenant", KEYS)
def test_who_knows_a_shared_key_is_its_tenant(tenant: str) -> None:
    handshake = Handshake(KEYS, server_name="ess")
    helo = handshake.helo()
    nonce = msgpack.unpackb(helo)[1]["nonce"]
    assert (type(nonce), len(nonce)) == (bytes, 16)
    assert msgpack.unpackb(helo)[1]["auth"] == ""
    verdict = judged(ping(helo, KEYS[tenant]), handshake)
    assert verdict.tenant == tenant
    said, is_right, reason, host, digest = msgpack.unpackb(verdict.pong)
    assert (said, is_right, reason, host) == ("PONG", True, "", "ess")
    assert digest == sha512(b"\xff\x00salt" + b"ess" + nonce + KEYS[tenant].encode()).hexdigest()


def test_each_connection_has_a_nonce_of_its_own() -> None:
    assert Handshake(KEYS, server_name="ess").helo() != Handshake(KEYS, server_name="ess").helo()


def test_a_wrong_key_or_an_old_nonce_is_refused() -> None:
    handshake = Handshake(KEYS, server_name="ess")
    old = ping(Handshake(KEYS, server_name="ess").helo(), KEYS["acme"])
    for said in (ping(handshake.helo(), "wrong"), ping(handshake.helo(), ""), old):
        verdict = judged(said, handshake)
        assert verdict.tenant is None
        assert msgpack.unpackb(verdict.pong) == ["PONG", False, "shared_key mismatch", "", ""]


@pytest.mark.parametrize(
    "said",
    [["PING"] * 5, ["PONG", *"abcde"], ["app", 1], ["app", [[1, {}]]], ["PING", 1, 2, 3, 4, 5], b"\xc0"],
)
def test_nothing_but_a_ping_is_heard(said: Sequence[Any] | bytes) -> None:
    verdict = judged(said, Handshake(KEYS, server_name="ess"))
    assert verdict.tenant is None
    assert msgpack.unpackb(verdict.pong)[1] is False


@pytest.mark.parametrize(
    ("user", "password", "is_in"), [("u", "p", True), ("u", "x", False), ("x", "", False), ("x", "p", False)]
)
def test_users_are_asked_for_their_password_where_there_are_any(user: str, password: str, is_in: bool) -> None:
    handshake = Handshake(KEYS, server_name="ess", users={"u": "p"})
    assert isinstance(msgpack.unpackb(handshake.helo())[1]["auth"], bytes)
    verdict = judged(ping(handshake.helo(), KEYS["shop"], user=user, password=password), handshake)
    assert verdict.tenant == ("shop" if is_in else None)
