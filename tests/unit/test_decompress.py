"""What a compressed body becomes, and what a hostile one costs."""

from __future__ import annotations

import gzip
import random
import time
import zlib
from collections.abc import Callable

import cramjam
import pytest
import zstandard

from ess_ray.core.errors import BadRequest, TooLarge, Unsupported
from ess_ray.intake.compression import decompress
from ess_ray.intake.limits import IntakeLimits

LIMITS = IntakeLimits()


def zstd_streamed(data: bytes) -> bytes:
    writer = zstandard.ZstdCompressor().compressobj()  # no content size in the frame
    return writer.compress(data) + writer.flush()


def raw_deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(data) + packer.flush()


def framed_snappy(data: bytes) -> bytes:
    return bytes(cramjam.snappy.compress(data))


def raw_snappy(data: bytes) -> bytes:
    return bytes(cramjam.snappy.compress_raw(data))


MEMBERS = {"gzip": gzip.compress, "zstd": zstandard.compress, "zstd streamed": zstd_streamed}
PACK = {
    **MEMBERS,
    "deflate": zlib.compress,
    "deflate raw": raw_deflate,
    "snappy": framed_snappy,
    "snappy raw": raw_snappy,
}


@pytest.mark.parametrize("pack", PACK)
@pytest.mark.parametrize("size", [0, 1, 65_536, 65_537, 3_000_000])
def test_compressed_bodies_come_back(pack: str, size: int) -> None:
    data = bytes(i * i % 251 for i in range(1000)) * (size // 1000 + 1)
    data = data[:size]
    assert decompress(PACK[pack](data), pack.partition(" ")[0].upper(), 3_000_000) == data


@pytest.mark.parametrize("pack", MEMBERS)
def test_members_one_after_another_are_one_body(pack: str) -> None:
    body = b"".join(PACK[pack](part) for part in (b"one", b"", b"two" * 50_000))
    assert decompress(body, pack.partition(" ")[0], 1_000_000) == b"one" + b"two" * 50_000
    if pack == "gzip":
        assert decompress(body + b"\0" * 500, "gzip", 1_000_000) == b"one" + b"two" * 50_000


@pytest.mark.parametrize("pack", PACK)
def test_the_limit_is_exact(pack: str) -> None:
    assert len(decompress(PACK[pack](b"x" * 1000), pack.partition(" ")[0], 1000)) == 1000
    with pytest.raises(TooLarge):
        decompress(PACK[pack](b"x" * 1001), pack.partition(" ")[0], 1000)


@pytest.mark.parametrize("pack", PACK)
def test_a_bomb_costs_its_limit_only(pack: str) -> None:
    bomb = PACK[pack](b"\0" * 100_000_000)
    started_s = time.process_time()
    with pytest.raises(TooLarge):
        decompress(bomb, pack.partition(" ")[0], LIMITS.max_batch_bytes)
    assert time.process_time() - started_s < 2  # 0.02 s; all of it would take 0.5 s and more


@pytest.mark.parametrize("pack", [gzip.compress, zstandard.compress])
def test_any_number_of_members_that_hold_something_is_one_body(pack: Callable[[bytes], bytes]) -> None:
    name = "gzip" if pack is gzip.compress else "zstd"
    body = pack(b"x" * 100) * 3_000 + pack(b"") * 900
    assert len(decompress(body, name, LIMITS.max_batch_bytes)) == 300_000


def test_empty_members_without_end_are_refused() -> None:
    for name, pack in (("gzip", gzip.compress), ("zstd", zstandard.compress)):
        with pytest.raises(BadRequest, match="members"):
            decompress(pack(b"") * 100_000, name, LIMITS.max_batch_bytes)


@pytest.mark.parametrize("pack", PACK)
def test_broken_streams_are_refused(pack: str) -> None:
    name, whole = pack.partition(" ")[0], PACK[pack](bytes(range(256)) * 400)
    for body in (
        whole[:-3],
        whole[: len(whole) // 2],
        whole[:2],
        b"plain text",
        whole + b"garbage",
        whole[:30] + b"\xff" * 40,
    ):
        with pytest.raises(BadRequest):
            decompress(body, name, LIMITS.max_batch_bytes)


def test_other_encodings_are_not_spoken() -> None:
    for name in ("br", "lz4", "gzip, gzip", "compress"):
        with pytest.raises(Unsupported, match="gzip, zstd, deflate, snappy"):
            decompress(zlib.compress(b"x"), name, 1000)
    for nothing in ("identity", None, "", "identity, identity"):
        assert decompress(b"x", nothing, 1) == b"x"
    assert decompress(gzip.compress(b"x"), " GZIP, identity ", 1) == b"x"
    with pytest.raises(TooLarge):
        decompress(b"xy", None, 1)


@pytest.mark.parametrize("pack", PACK)
def test_what_was_read_of_a_large_body_is_let_go_and_counts_no_longer(pack: str) -> None:
    """Or a body of the limit's size, hardly compressed, would count twice and never fit."""
    data = random.Random(3).randbytes(3_000_000)
    packed = bytearray(PACK[pack](data))
    told: list[int] = []
    assert decompress(packed, pack.partition(" ")[0], 4_000_000, told.append) == data
    assert not packed
    if pack != "snappy raw":  # one block: all or nothing
        assert max(told) < 3_400_000


def test_a_raw_block_of_snappy_may_not_say_that_it_is_small() -> None:
    packed = raw_snappy(b"x" * 5_000)
    with pytest.raises(BadRequest, match="not snappy"):
        decompress(b"\x10" + packed[2:], "snappy", 1_000_000)
