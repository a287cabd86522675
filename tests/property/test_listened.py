"""Any split of a stream gives the same frames, and no bytes do more than become events or be named."""

from __future__ import annotations

import itertools
import json
import re

from hypothesis import given, settings
from hypothesis import strategies as st

from ess_ray.intake.formats import gelf, syslog
from ess_ray.intake.formats.frames import EndedFrames, Frame, Frames
from ess_ray.intake.formats.gelf_chunks import MAGIC, ChunkLimits, GelfChunks
from ess_ray.intake.formats.syslog import Received
from ess_ray.intake.formats.syslog_frames import SyslogFrames
from ess_ray.intake.limits import IntakeLimits
from tests.examples import examples

NOW_US = 1_790_000_000_000_000
LIMITS = IntakeLimits()
MOST = 12

contents = st.binary(max_size=20).map(lambda content: re.sub(rb"^[0-9]+", b"", re.sub(rb"[\n\0]", b"", content)))
counted = st.binary(min_size=1, max_size=20).map(lambda content: b"%d " % len(content) + content)
lines = st.tuples(contents, st.sampled_from([b"\n", b"\r\n", b"\0"])).map(b"".join)
streams = st.lists(counted | lines, max_size=8).map(b"".join) | st.binary(max_size=60)
cuts = st.lists(st.integers(0, 80), max_size=12)


def split(stream: bytes, cuts: list[int]) -> list[bytes]:
    borders = [0, *sorted(cut for cut in cuts if cut < len(stream)), len(stream)]
    return [stream[start:end] for start, end in itertools.pairwise(borders)]


def read(framing: Frames, parts: list[bytes]) -> tuple[list[Frame], bool]:
    found = []
    for part in parts:
        found += framing.feed(part)
        assert framing.partial_bytes <= MOST + 14, "no more than a frame and its count is kept"
    return [*found, *framing.end()], framing.is_broken


@given(streams, cuts)
@settings(max_examples=examples(1000), deadline=None)
def test_any_split_gives_the_same_frames(stream: bytes, cuts: list[int]) -> None:
    assert read(SyslogFrames(MOST, 500), split(stream, cuts)) == read(SyslogFrames(MOST, 500), [stream])
    assert read(EndedFrames(b"\0", MOST), split(stream, cuts)) == read(EndedFrames(b"\0", MOST), [stream])


@given(st.lists(st.tuples(st.booleans(), contents), max_size=8), cuts)
@settings(max_examples=examples(500), deadline=None)
def test_what_was_framed_comes_out(messages: list[tuple[bool, bytes]], cuts: list[int]) -> None:
    """The oracle is who framed them."""
    stream, expected = b"", []
    for is_counted, content in messages:
        if is_counted:
            if content:
                stream += b"%d %s" % (len(content), content)
                expected.append(Frame(content[:MOST], len(content) > MOST))
        else:
            stream += content + b"\n"
            kept = content[:MOST].removesuffix(b"\r")
            if kept:
                expected.append(Frame(kept, len(content) > MOST))
    assert read(SyslogFrames(MOST), split(stream, cuts)) == (expected, False)


pieces = st.sampled_from(
    [
        *(
            b"<34>",
            b"1 ",
            b"2026-09-21T12:00:00Z",
            b" ",
            b"-",
            b"[a",
            b' b="',
            b'"',
            b"]",
            b"\\",
            b"Sep  1 10:00:00 ",
            b":",
        ),
        *(b"host", b"app[1]: ", b"\xff", b"\xef\xbb\xbf", b"\0", b"\n", b"Feb 29 23:59:60"),
    ]
)
texts = st.lists(pieces | st.binary(max_size=5), max_size=12).map(b"".join)


@given(st.lists(texts, max_size=6))
@settings(max_examples=examples(1000), deadline=None)
def test_every_syslog_message_that_is_not_blank_is_an_event(messages: list[bytes]) -> None:
    decoded = syslog.decode([Received(message, "::1", is_cut=True) for message in messages], NOW_US, LIMITS)
    decoded.batch.validate(full=True)
    assert not decoded.rejected
    assert len(decoded.batch) == sum(bool(message.strip(b" \t\r\n\0")) for message in messages)


objects = st.dictionaries(
    st.sampled_from(["short_message", "full_message", "timestamp", "level", "host", "_level", "_", "_message", "_a.b"]),
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5) | st.just({"x": [1]}),
    max_size=6,
)


@given(st.lists(objects.map(lambda each: repr(each).encode()) | objects | st.binary(max_size=30), max_size=5))
@settings(max_examples=examples(500), deadline=None)
def test_every_gelf_message_is_an_event_or_named(messages: list[object]) -> None:
    contents = [each if isinstance(each, bytes) else json.dumps(each).encode() for each in messages]
    decoded = gelf.decode([Received(content) for content in contents], NOW_US, LIMITS)
    decoded.batch.validate(full=True)
    assert len(decoded.batch) + len(decoded.rejected) == sum(bool(content) for content in contents)


@given(st.lists(st.tuples(st.sampled_from("abc"), st.binary(max_size=30), st.booleans()), max_size=60))
@settings(max_examples=examples(300), deadline=None)
def test_no_datagrams_hold_more_than_the_limit(datagrams: list[tuple[str, bytes, bool]]) -> None:
    chunks = GelfChunks(lambda: 0.0, ChunkLimits(max_messages_per_peer=3, max_bytes_per_peer=600, max_bytes=1_000))
    for peer, content, is_chunk in datagrams:
        chunks.add(peer, MAGIC + content if is_chunk else content)
        assert chunks.held_bytes <= 1_000
        assert len(chunks) <= 9


@given(st.binary(min_size=1, max_size=300), st.integers(1, 9), st.randoms(use_true_random=False))
@settings(max_examples=examples(300), deadline=None)
def test_chunks_in_any_order_are_the_message(content: bytes, size: int, random: object) -> None:
    parts = [content[at : at + size] for at in range(0, len(content), size)][:128]
    datagrams = [MAGIC + b"01234567" + bytes([number, len(parts)]) + part for number, part in enumerate(parts)]
    random.shuffle(datagrams)  # type: ignore[attr-defined]
    chunks = GelfChunks(lambda: 0.0)
    answers = [chunks.add("peer", datagram) for datagram in datagrams]
    assert answers[-1] == b"".join(parts)
    assert set(answers[:-1]) <= {None}
    assert chunks.held_bytes == 0
