"""What a compressed body becomes, and what a hostile one costs."""

from __future__ import annotations

import gzip
import time
import zlib

import pytest
import zstandard

from ess_ray.core.errors import BadRequest, TooLarge, Unsupported
from ess_ray.intake.body import decompress
from ess_ray.intake.limits import IntakeLimits

LIMITS = IntakeLimits()


def zstd_streamed(data: bytes) -> bytes:
    writer = zstandard.ZstdCompressor().compressobj()  # no content size in the frame
    return writer.compress(data) + writer.flush()


PACK = {"gzip": gzip.compress, "zstd": zstandard.compress, "zstd streamed": zstd_streamed}


@pytest.mark.parametrize("pack", PACK)
@pytest.mark.parametrize("size", [0, 1, 65_536, 65_537, 3_000_000])
def test_compressed_bodies_come_back(pack: str, size: int) -> None:
    data = bytes(i * i % 251 for i in range(1000)) * (size // 1000 + 1)
    data = data[:size]
    assert decompress(PACK[pack](data), pack.partition(" ")[0].upper(), 3_000_000) == data


@pytest.mark.parametrize("pack", PACK)
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
    for name in ("br", "deflate", "gzip, gzip", "compress"):
        with pytest.raises(Unsupported):
            decompress(zlib.compress(b"x"), name, 1000)
    assert decompress(b"x", "identity", 1) == decompress(b"x", None, 1) == b"x"
    with pytest.raises(TooLarge):
        decompress(b"xy", None, 1)
