"""Bodies as agents send them: what is found of each, what its answer names. One bad thing costs no good neighbour."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Callable
from typing import Any, NamedTuple

import cramjam
import pytest
import zstandard

from tests.systems import System

TWO = b'[{"message":"TOKEN a"},{"message":"TOKEN b"}]'
LINES = b'{"message":"TOKEN a"}\n{"message":"TOKEN b"}\n'
JSON, NDJSON, PLAIN = "application/json", "application/x-ndjson", "text/plain"


class Row(NamedTuple):
    """`TOKEN` stands for a word of the row's own. `found`: messages without it; `rejected`: indices."""

    body: bytes
    found: list[str]
    kind: str | None = JSON
    rejected: tuple[int, ...] = ()
    adjusted: tuple[int, ...] = ()
    headers: tuple[tuple[str, str], ...] = ()
    pack: Callable[[bytes], bytes] = bytes


def raw_deflate(body: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(body) + packer.flush()


def encoded(encoding: str, pack: Callable[[bytes], Any]) -> Row:
    return Row(TWO, ["a", "b"], headers=(("Content-Encoding", encoding),), pack=lambda body: bytes(pack(body)))


DEEP = b'{"message":"TOKEN deep","a":' + b"[" * 3_000 + b"]" * 3_000 + b"}"
NINES = b"9" * 5_000
LARGE = b'{"message":"TOKEN ' + b"x" * 600_000 + b'"}'

ROWS = {
    "ndjson as json": Row(LINES, ["a", "b"]),
    "json as ndjson": Row(TWO, ["a", "b"], NDJSON),
    "indented json as ndjson": Row(json.dumps(json.loads(TWO), indent=1).encode(), ["a", "b"], NDJSON),
    "no type": Row(TWO, ["a", "b"], None),
    "two types": Row(LINES, ["a", "b"], "application/json, application/x-ndjson"),
    "a type that is none beside one": Row(TWO, ["a", "b"], "image/png, application/json"),
    "what curl -d says": Row(TWO, ["a", "b"], "application/x-www-form-urlencoded"),
    "parameters of a type": Row(TWO, ["a", "b"], 'application/json; version=1; charset="UTF-8"'),
    "lines of text": Row(b"TOKEN a\n\nTOKEN b\r\n", ["a", "b"], PLAIN),
    "objects as text": Row(LINES, ["a", "b"], PLAIN),
    "utf-8 with a mark": Row(b"\xef\xbb\xbf" + TWO, ["a", "b"]),
    "utf-16 with a mark": Row(TWO, ["a", "b"], pack=lambda body: body.decode().encode("utf-16")),
    "empty lines": Row(b"\n\n" + LINES.replace(b"\n", b"\n \r\n\n"), ["a", "b"], NDJSON),
    "an envelope": Row(b'{"events": ' + TWO + b"}", ["a", "b"]),
    "gzip": encoded("gzip", gzip.compress),
    "two members of gzip": encoded("GZIP", lambda body: gzip.compress(body[:20]) + gzip.compress(body[20:])),
    "zstd": encoded("zstd", zstandard.compress),
    "deflate": encoded("deflate", zlib.compress),
    "raw deflate": encoded("deflate", raw_deflate),
    "snappy": encoded("snappy", cramjam.snappy.compress),
    "a raw block of snappy": encoded("snappy", cramjam.snappy.compress_raw),
    "identity": encoded("identity", bytes),
    "NaN and infinities": Row(b'[{"message":"TOKEN a","v":NaN,"w":[-Infinity]},{"message":"TOKEN b"}]', ["a", "b"]),
    "huge numbers": Row(b'[{"message":"TOKEN a","v":1e999},{"message":"TOKEN b","v":' + NINES + b"}]", ["a", "b"]),
    "bad bytes": Row(b'[{"message":"TOKEN a\xff"},{"message":"TOKEN b"}]', ["a\ufffd", "b"]),
    "a lone surrogate": Row(rb'[{"message":"TOKEN a\ud800"},{"message":"TOKEN b"}]', ["a\ufffd", "b"]),
    "NUL stays": Row(rb'[{"message":"TOKEN a\u0000z"}]', ["a\0z"]),
    "of duplicate keys the last": Row(b'[{"message":"no","message":"TOKEN a"}]', ["a"]),
    "nested too deep": Row(b"[" + DEEP + b',{"message":"TOKEN b"}]', ["b"], rejected=(0,)),
    "too deep in an envelope": Row(b'{"events":[' + DEEP + b',{"message":"TOKEN b"}]}', ["b"], rejected=(0,)),
    "too deep on a line": Row(DEEP + b"\n" + LINES, ["a", "b"], rejected=(0,)),
    "a line that is no json": Row(LINES + b"{bad\n", ["a", "b"], rejected=(2,)),
    "a value that is no json": Row(TWO.replace(b"TOKEN a", rb"\q"), ["b"], rejected=(0,)),
    "a control code in a text": Row(b'{"events":\n' + TWO.replace(b"TOKEN a", b"\1") + b"}", ["b"], rejected=(0,)),
    "objects one behind another": Row(TWO[1:-1].replace(b",{", b"{"), ["a", "b"]),
    "values that are no objects": Row(b'[1,"x",null,[2],{"message":"TOKEN a"}]', ["a"], rejected=(0, 1, 2, 3,)),
    "an event that is too large": Row(b"[" + LARGE + b',{"message":"TOKEN b"}]', ["b"], rejected=(0,)),
    "a long id": Row(b'[{"message":"x","id":"' + NINES + b'"},{"message":"TOKEN b"}]', ["b"], rejected=(0,)),
    "nulls": Row(b'[{"message":"TOKEN a","level":null,"service":null,"attributes":null,"x":null}]', ["a"]),
    "other types": Row(b'[{"message":"TOKEN a","level":30,"host":{"name":"h"},"service":5,"id":7}]', ["a"]),
    "times that cannot be": Row(
        b'[{"message":"TOKEN a","timestamp":"soon"},{"message":"TOKEN b","timestamp":"1970-01-01T00:00:00Z"},'
        b'{"message":"TOKEN c","timestamp":"2199-01-01T00:00:00Z"},{"message":"TOKEN d","timestamp":NaN}]',
        ["a", "b", "c", "d"],
        adjusted=(0, 1, 2, 3,),
    ),
    "other names": Row(b'[{"@timestamp":"2026-11-20T12:00:00Z","msg":"TOKEN a","severity":"error"}]', ["a"]),
    "a line's end of Docker's": Row(rb'[{"log":"TOKEN a\n","stream":"stderr"}]', ["a"]),
    "a tenant that nobody asked for": Row(TWO, ["a", "b"], headers=(("X-Scope-OrgID", "fake"),)),
}  # fmt: skip


@pytest.mark.parametrize("name", ROWS)
def test_what_is_good_of_a_body_is_found(system: System, name: str) -> None:
    row = ROWS[name]
    token = f"wayin{list(ROWS).index(name)}x"
    body = row.pack(row.body.replace(b"TOKEN", token.encode()))
    headers = {**dict(row.headers), **({} if row.kind is None else {"Content-Type": row.kind})}
    answer = system.http.post("/push/v1/events", content=body, headers=headers)
    assert answer.status_code == 202, answer.text
    told = answer.json()
    assert told["accepted"] == len(row.found)
    assert [one["index"] for one in told["rejected"]] == list(row.rejected)
    assert [one["index"] for one in told["adjusted"]] == list(row.adjusted)
    found = system.search(token, order="oldest")
    assert sorted(event["message"].removeprefix(f"{token} ") for event in found) == row.found


REFUSED = {
    "empty": (b"", {}, 400),
    "blank": (b" \n\n", {}, 400),
    "no json": (b"not json", {}, 400),
    "cut off": (b'[{"message":"refused"},{"mess', {}, 400),
    "a number": (b"5", {}, 400),
    "nothing valid": (b"[1,2]", {}, 400),
    "not what its encoding says": (TWO, {"Content-Encoding": "gzip"}, 400),
    "an encoding that is not spoken": (TWO, {"Content-Encoding": "br"}, 415),
    "a type that is not spoken": (TWO, {"Content-Type": "image/png"}, 415),
    "a charset that is not spoken": (TWO, {"Content-Type": "application/json; charset=ebcdic"}, 415),
    "a key that is too long": (TWO, {"Idempotency-Key": "k" * 101}, 400),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_taken_is_refused_with_a_reason(system: System, name: str) -> None:
    body, headers, status = REFUSED[name]
    answer = system.http.post("/push/v1/events", content=body, headers={"Content-Type": JSON, **headers})
    assert answer.status_code == status
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert len(answer.json()["detail"]) > 20


def test_a_large_body_is_one_request_and_its_repeat_stores_nothing(system: System) -> None:
    count = 40_000
    lines = [
        b'{"message":"wayinlarge","service":"ways-large","n":%d,"pad":"%s"}' % (n, b"p" * 400) for n in range(count)
    ]
    body = gzip.compress(b"\n".join(lines), compresslevel=1)
    headers = {"Content-Type": NDJSON, "Content-Encoding": "gzip"}
    for _ in range(2):
        answer = system.http.post("/push/v1/events", content=body, headers=headers, timeout=120)
        assert answer.json() == {"accepted": count, "rejected": [], "adjusted": []}
    assert sum(bucket["count"] for bucket in system.count("service:ways-large")["buckets"]) == count


def test_a_repeat_with_a_key_is_told(system: System) -> None:
    body, headers = TWO.replace(b"TOKEN", b"wayinkeyed"), {"Content-Type": JSON, "Idempotency-Key": "ways-in"}
    told = [system.http.post("/push/v1/events", content=body, headers=headers).json()["repeats"] for _ in range(2)]
    assert told == [0, 2]
    assert len(system.search("wayinkeyed")) == 2
