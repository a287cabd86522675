"""Frames of byte streams: both of syslog's framings, mixed, and what is cut."""

from __future__ import annotations

import pytest

from ess_ray.intake.formats.frames import EndedFrames, Frame
from ess_ray.intake.formats.syslog_frames import SyslogFrames


def frames(data: bytes, most: int = 100) -> tuple[list[Frame], bool]:
    framing = SyslogFrames(most, max_count=1_000)
    found = [*framing.feed(data), *framing.end()]
    return found, framing.is_broken


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (b"<1>a\n<2>b\n", [b"<1>a", b"<2>b"]),
        (b"<1>a\r\n\r\n\n<2>b\0<3>c", [b"<1>a", b"<2>b", b"<3>c"]),
        (b"4 <1>a4 <2>b", [b"<1>a", b"<2>b"]),
        (b"5 <1>a\n<2>b\n6 <3>c\nd", [b"<1>a\n", b"<2>b", b"<3>c\nd"]),
        (b"4 <1>a\n4 <2>b\n", [b"<1>a", b"<2>b"]),
        (b"2026-09-21T12:00:00Z box app: x\n3 abc", [b"2026-09-21T12:00:00Z box app: x", b"abc"]),
        (b"12", [b"12"]),
        (b"", []),
    ],
)
def test_framings_are_told_apart_frame_by_frame(data: bytes, found: list[bytes]) -> None:
    assert frames(data) == ([Frame(content) for content in found], False)


def test_what_is_too_long_is_cut_and_the_next_is_whole() -> None:
    data = b"<1>" + b"x" * 200 + b"\n<2>b\n150 <3>" + b"y" * 147 + b"4 <4>d"
    found, _ = frames(data)
    assert found == [
        Frame(b"<1>" + b"x" * 97, is_cut=True),
        Frame(b"<2>b"),
        Frame(b"<3>" + b"y" * 97, is_cut=True),
        Frame(b"<4>d"),
    ]


@pytest.mark.parametrize("count", [b"1001 ", b"99999999999"])
def test_a_nonsensical_count_breaks_the_stream_behind_what_came_before(count: bytes) -> None:
    assert frames(b"<1>a\n" + count + b"<2>b\n") == ([Frame(b"<1>a")], True)


def test_a_counted_frame_that_the_connection_ends_in_counts_as_cut() -> None:
    assert frames(b"10 <1>abc") == ([Frame(b"<1>abc", is_cut=True)], False)


def test_a_partial_frame_is_bounded() -> None:
    framing = SyslogFrames(100)
    for _ in range(1_000):
        framing.feed(b"x" * 50)
        assert framing.partial_bytes <= 150


def test_frames_that_end_with_nul() -> None:
    framing = EndedFrames(b"\0", 10)
    assert framing.feed(b"{a}\0\0{b") == [Frame(b"{a}")]
    assert framing.feed(b"}\0" + b"x" * 20) == [Frame(b"{b}"), Frame(b"x" * 10, is_cut=True)]
    assert framing.feed(b"xx\0{c}") == []
    assert framing.end() == [Frame(b"{c}")]
