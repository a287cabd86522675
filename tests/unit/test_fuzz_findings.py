"""What fuzzing found in the readers of objects (tests/fuzz): small inputs that once raised something else."""

from __future__ import annotations

from collections.abc import Callable

import pyarrow as pa
import pytest
import zstandard

from ess_ray.core.chunk import tail_bytes
from ess_ray.core.chunk.footer import parse_footer
from ess_ray.core.chunk.page import NotInPlace, TextBlock, text_blocks
from ess_ray.core.errors import CorruptData
from ess_ray.core.index.planes import Plane
from tests.formats import encode_object_1


def test_a_page_of_fewer_than_no_bytes_is_not_read_in_place() -> None:
    # Thrift, compact: kind 0, 4 bytes, -1 bytes compressed, and a data page header of one value in encoding 6.
    header = bytes([0x15, 0x00, 0x15, 0x08, 0x15, 0x01, 0x2C, 0x15, 0x02, 0x15, 0x0C, 0x15, 0x00, 0x15, 0x00, 0, 0])
    with pytest.raises(NotInPlace):
        text_blocks(pa.py_buffer(header + bytes(20)), "UNCOMPRESSED", 1)


def test_a_footer_whose_statistics_are_damaged_is_corrupt(make_events: Callable[..., pa.Table], t0_us: int) -> None:
    entry, data = encode_object_1(make_events([t0_us]), [])  # format 2 has a checksum over its tail
    tail = data[-tail_bytes(entry.key) :]
    smallest = t0_us.to_bytes(8, "little")
    at = tail.index(smallest)
    # The statistics of the timestamps: their fields' numbers become those of fields that nobody knows.
    told = 0
    for before in range(max(0, at - 8), at):
        damaged = tail[:before] + b"\x7f" + tail[before + 1 :]
        try:
            assert parse_footer(entry.key, damaged).times
        except CorruptData:
            told += 1
    assert told


def test_a_chunk_of_the_index_takes_no_more_memory_than_it_should() -> None:
    frame = bytearray(zstandard.ZstdCompressor(level=1, write_checksum=True).compress(bytes(1000)))
    assert zstandard.frame_content_size(bytes(frame)) == 1000
    # The frame's head: content size in eight bytes instead of two, and what it says there.
    huge = bytes(frame[:4]) + bytes([0b1110_0100]) + (1 << 40).to_bytes(8, "little") + bytes(frame[7:])
    assert zstandard.frame_content_size(huge) == 1 << 40
    plane = Plane(memoryview(len(huge).to_bytes(2, "little") + huge), 1000, zstandard.ZstdDecompressor())
    with pytest.raises(CorruptData, match="positions, not 1000"):
        plane.at(3)


@pytest.mark.parametrize("head", [b"", b"\x28\xb5\x2f", b"no zstd at all"])
def test_a_chunk_of_the_index_that_is_no_frame_is_corrupt(head: bytes) -> None:
    plane = Plane(memoryview(len(head).to_bytes(2, "little") + head), 1000, zstandard.ZstdDecompressor())
    with pytest.raises(CorruptData):
        plane.at(3)


def test_a_footer_whose_times_are_of_an_unknown_type_ends_no_process(
    make_events: Callable[..., pa.Table], t0_us: int
) -> None:
    entry, data = encode_object_1(make_events([t0_us]), [])  # format 2 has a checksum over its tail
    tail = data[-tail_bytes(entry.key) :]
    # A column chunk's metadata begins with its type (2, INT64, as a Thrift number), some bytes before its path.
    at = tail.rindex(b"\x15\x04\x19", 0, tail.index(b"\x19\x18\x09timestamp"))
    damaged = tail[: at + 1] + b"\x40" + tail[at + 2 :]
    footer = parse_footer(entry.key, damaged)
    with pytest.raises(CorruptData, match="another type"):
        footer.times  # noqa: B018 (read when it is asked for)


def varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


@pytest.mark.parametrize(
    ("block_values", "miniblocks", "first", "minimum"),
    [(0, 4, 0, 0), (128, 4, 2**63, 0), (128, 4, 0, 2**63), (128, 4, 2**62 * 2, 0), (2**63, 4, 0, 0)],
)
def test_lengths_beyond_all_bounds_are_not_unpacked(
    block_values: int, miniblocks: int, first: int, minimum: int
) -> None:
    head = varint(block_values) + varint(miniblocks) + varint(3) + varint(first) + varint(minimum) + bytes(4)
    block = TextBlock(pa.py_buffer(head + b"text"), 3)
    with pytest.raises(NotInPlace):
        block.offsets  # noqa: B018 (unpacked when asked for)


def test_lengths_whose_sum_wraps_around_are_not_taken() -> None:
    # Four lengths of 2**62 add up to nothing in 64 bits.
    head = varint(128) + varint(4) + varint(4) + varint(2**63) + varint(0) + bytes(4)
    block = TextBlock(pa.py_buffer(head), 4)
    with pytest.raises(NotInPlace):
        block.offsets  # noqa: B018 (unpacked when asked for)


def test_a_page_header_that_points_beyond_all_memory_or_nests_for_ever_is_not_read_in_place() -> None:
    for header in (b"\x18" + varint(2**63 + 5) + bytes(8), b"\x1c" * 5000):
        with pytest.raises(NotInPlace):
            text_blocks(pa.py_buffer(header), "UNCOMPRESSED", 1)


def test_a_page_header_with_a_struct_where_a_number_belongs_is_not_in_place() -> None:
    # Fields 1 (kind), 2 (bytes), 3 (compressed) and 5 (a data page, whose number of values is a struct).
    header = bytes([0x15, 0x00, 0x15, 0x20, 0x15, 0x24, 0x2C, 0x1C, 0x00, 0x15, 0x0C, 0x00, 0x00])
    with pytest.raises(NotInPlace):
        text_blocks(pa.py_buffer(header + bytes(40)), "UNCOMPRESSED", 1)
