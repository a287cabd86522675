"""GELF: messages to events, and chunks to messages, within their limits."""

from __future__ import annotations

import gzip
import json
import zlib
from datetime import UTC, datetime
from typing import Any

import pytest

from ess_ray.core.event import MAX_EVENT_BYTES
from ess_ray.intake.decoded import Decoded
from ess_ray.intake.formats.format import Body
from ess_ray.intake.formats.gelf import decode
from ess_ray.intake.formats.gelf_chunks import MAGIC, ChunkLimits, GelfChunks
from ess_ray.intake.formats.gelf_http import GELF_HTTP
from ess_ray.intake.formats.syslog import Received
from ess_ray.intake.limits import IntakeLimits
from tests.loki import rows_of

NOW_US = 1_790_000_000_000_000
LIMITS = IntakeLimits()


def read(*contents: bytes) -> Decoded:
    decoded = decode([Received(content, "192.0.2.7") for content in contents], NOW_US, LIMITS)
    decoded.batch.validate(full=True)
    return decoded


def one(content: bytes) -> dict[str, Any]:
    (row,) = rows_of(read(content).batch)
    return row


MESSAGE = {
    "version": "1.1",
    "host": "example.org",
    "short_message": "A short message",
    "full_message": "Backtrace here\nmore",
    "timestamp": 1789999000.5,
    "level": 1,
    "_user_id": 9001,
    "_container_name": "web",
    "_level": "mine",
    "_trace_id": "4BF92F3577B34DA6A3CE929D0E0E4736",
    "line": 12,
}


@pytest.mark.parametrize("pack", [bytes, zlib.compress, gzip.compress])
def test_a_message_plain_or_compressed(pack: Any) -> None:
    row = one(pack(json.dumps(MESSAGE).encode()))
    assert (row["message"], row["host"], row["level"]) == ("A short message", "example.org", "ALERT")
    assert row["timestamp"] == datetime.fromtimestamp(1_789_999_000.5, UTC)
    assert (row["service"], row["trace_id"]) == ("web", "4bf92f3577b34da6a3ce929d0e0e4736")
    assert row["attributes"] == {
        "full_message": "Backtrace here\nmore",
        "line": "12",
        "user_id": "9001",
        "level": "mine",
        "source.ip": "192.0.2.7",
    }


def test_a_message_without_a_short_one_has_the_full_one_or_what_the_table_names() -> None:
    assert one(b'{"full_message": "f"}')["message"] == "f"
    assert one(b'{"_msg": "m", "host": "h"}')["message"] == "m"
    assert json.loads(one(b'{"_a": 1, "host": "h"}')["message"]) == {"a": 1, "host": "h"}


@pytest.mark.parametrize(
    ("message", "text", "full"),
    [
        ({"short_message": 0, "full_message": "f"}, "0", "f"),
        ({"short_message": False}, "false", None),
        ({"short_message": "", "full_message": "f"}, "f", None),
        ({"short_message": None, "full_message": None}, '{"short_message":null,"full_message":null}', None),
        ({"short_message": "s", "full_message": "s"}, "s", None),
        ({"short_message": "s", "full_message": "s\n"}, "s", "s\n"),
        ({"short_message": [1], "full_message": "f", "_x": "y"}, "[1]", "f"),
        ({"short_message": "", "timestamp": [1]}, '{"short_message":"","timestamp":[1]}', None),
        ({"short_message": "x" * MAX_EVENT_BYTES}, "x" * (MAX_EVENT_BYTES - 2048), None),
    ],
)
def test_a_message_means_the_same_over_http_and_over_sockets(message: Any, text: str, full: str | None) -> None:
    content = json.dumps(message).encode()
    by_socket = one(content)
    (by_http,) = rows_of(GELF_HTTP.decode(Body(content), NOW_US, LIMITS).batch)
    assert by_socket["attributes"].pop("source.ip") == "192.0.2.7"
    for row in (by_socket, by_http):
        row.pop("attribute_types")  # the sender's address has one, too
    assert by_http == by_socket
    assert (by_http["message"], by_http["attributes"].get("full_message")) == (text, full)


def test_a_message_that_is_too_deep_costs_no_other() -> None:
    deep = '{"timestamp":' + "[" * 200 + "]" * 200 + "}"
    decoded = read(deep.encode(), b'{"short_message": "s"}')
    assert (len(decoded.batch), len(decoded.rejected)) == (1, 1)


def test_a_full_message_that_says_the_same_is_no_attribute() -> None:
    assert "full_message" not in one(b'{"short_message": "s", "full_message": "s"}')["attributes"]


def test_a_message_that_is_no_json_any_more_is_kept_as_it_came() -> None:
    assert one(b'{"short_message": "cut off')["message"] == '{"short_message": "cut off'


@pytest.mark.parametrize("content", [b"hello", b"[1]", b"\x1f\x8bxxxx", b"\x78\x9cxx", b"5"])
def test_what_is_no_gelf_is_named_and_costs_no_other(content: bytes) -> None:
    decoded = read(content, b'{"short_message": "s"}')
    assert [index for index, _ in decoded.rejected] == [0]
    assert len(decoded.batch) == 1


def test_a_bomb_costs_its_limit() -> None:
    decoded = read(gzip.compress(b" " * 50_000_000))
    assert "larger than" in decoded.rejected[0][1]


def test_a_message_that_is_too_long_is_cut() -> None:
    row = one(json.dumps({"short_message": "x" * (MAX_EVENT_BYTES + 1_000)}).encode())
    assert MAX_EVENT_BYTES // 2 < len(row["message"]) < MAX_EVENT_BYTES


# ------------------------------------------------------------------------------------------------------------- chunks
class Clock:
    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def chunk(name: int, number: int, count: int, part: bytes = b"x") -> bytes:
    return MAGIC + name.to_bytes(8, "big") + bytes([number, count]) + part


def test_chunks_in_any_order_with_repeats() -> None:
    chunks = GelfChunks(Clock())
    assert chunks.add("a", chunk(1, 2, 3, b"C")) is None
    assert chunks.add("a", chunk(1, 0, 3, b"A")) is None
    assert chunks.add("a", chunk(1, 0, 3, b"A")) is None
    assert chunks.add("b", chunk(1, 1, 3, b"other")) is None, "another peer's message of the same name"
    assert chunks.add("a", chunk(1, 1, 3, b"B")) == b"ABC"
    assert chunks.add("a", b"{}") == b"{}"
    assert len(chunks) == 1


def test_what_is_incomplete_after_five_seconds_is_lost_and_counted() -> None:
    clock = Clock()
    chunks = GelfChunks(clock)
    chunks.add("a", chunk(1, 0, 2))
    clock.now_s += 5.1
    assert chunks.add("a", chunk(1, 1, 2)) is None
    assert chunks.lost == {"expired": 1}
    clock.now_s += 5.1
    chunks.expire()
    assert (len(chunks), chunks.held_bytes) == (0, 0)


@pytest.mark.parametrize(
    "datagram", [MAGIC, MAGIC + b"12345678", chunk(1, 0, 0), chunk(1, 3, 3), chunk(1, 0, 129), chunk(1, 200, 128)]
)
def test_malformed_chunks_are_counted(datagram: bytes) -> None:
    chunks = GelfChunks(Clock())
    assert chunks.add("a", datagram) is None
    assert (chunks.lost["malformed"], len(chunks)) == (1, 0)


def test_a_message_whose_chunks_disagree_is_lost() -> None:
    chunks = GelfChunks(Clock())
    chunks.add("a", chunk(1, 0, 3))
    chunks.add("a", chunk(1, 1, 2))
    assert (chunks.lost["malformed"], len(chunks)) == (1, 0)


def test_one_peer_holds_no_more_than_its_share() -> None:
    limits = ChunkLimits(max_messages_per_peer=3, max_bytes_per_peer=10_000, max_bytes=15_000)
    chunks = GelfChunks(Clock(), limits)
    chunks.add("b", chunk(7, 0, 2, b"b"))
    for name in range(10):
        chunks.add("a", chunk(name, 0, 2, b"a"))
    assert (chunks.lost["too_many"], len(chunks)) == (7, 4)
    chunks.add("a", chunk(50, 0, 2, b"a" * 9_950))
    assert chunks.held_bytes <= 15_000
    assert chunks.add("b", chunk(7, 1, 2, b"B")) == b"bB", "what another peer lost is not this one's"


def test_all_peers_together_hold_no_more_than_the_limit() -> None:
    chunks = GelfChunks(Clock(), ChunkLimits(max_bytes=50_000))
    for number in range(100):
        chunks.add(f"peer {number}", chunk(1, 0, 2, b"a" * 1_000))
        assert chunks.held_bytes <= 50_000
    assert chunks.lost["too_many"] > 0
