"""Made-up streams of the forward protocol: any split means the same, any bytes do no more than end the stream."""

from __future__ import annotations

import tracemalloc
from typing import Any

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ess_ray.core.errors import EssError, TooLarge
from ess_ray.intake.fields import FIELD_TABLE
from ess_ray.intake.formats import forward
from ess_ray.intake.formats.format import Body
from ess_ray.intake.formats.forward import ForwardEntries
from ess_ray.intake.formats.forward_handshake import Handshake
from ess_ray.intake.formats.forward_message import read_message
from ess_ray.intake.formats.forward_stream import Elements, ForwardStream
from ess_ray.intake.formats.msgpack_walk import Malformed, Walker
from ess_ray.intake.limits import IntakeLimits
from tests.examples import examples
from tests.forward import MODES, event_time, message, pack, packed_entries
from tests.loki import rows_of

NOW_US = 1_790_000_000_000_000
LIMITS = IntakeLimits()
MAX_BYTES = 2_000

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
keys = st.sampled_from(["message", "log", "level", "service", "tag", "a", "a.b", "time"]) | texts
numbers = st.integers(-(2**63), 2**64 - 1) | st.floats() | st.booleans() | st.none()
values = st.recursive(
    numbers | texts | st.binary(max_size=8) | st.builds(msgpack.ExtType, st.integers(0, 127), st.binary(max_size=9)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3),
    max_leaves=6,
)
records = st.dictionaries(keys, values, max_size=4) | values
times = (
    st.integers(NOW_US // 1_000_000 - 1_000, NOW_US // 1_000_000)
    | st.builds(event_time, st.integers(0, 2**32 * 10**9 - 1))
    | st.tuples(st.builds(event_time, st.integers(0, 2**61)), st.dictionaries(keys, values, max_size=2)).map(list)
    | values
)
entries = st.lists(st.tuples(times, records), max_size=4)
messages = st.builds(
    lambda entries, mode, tag, chunk: message(entries, mode, tag, **({} if chunk is None else {"chunk": chunk})),
    st.lists(st.tuples(st.integers(0, 10), records), min_size=1, max_size=4),
    st.sampled_from(MODES),
    texts,
    st.none() | texts,
)
streams = st.lists(messages | st.just(b"\xc0"), max_size=5)


def fed(stream: ForwardStream, pieces: list[bytes]) -> tuple[list[Elements], type[EssError] | None]:
    """Feed pieces until one ends the stream; gives what was read, and how it ended."""
    found: list[Elements] = []
    for piece in pieces:
        try:
            for elements in stream.feed(piece):
                found.append(elements)
        except EssError as error:
            return found, type(error)
    return found, None


def split(data: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({cut % (len(data) + 1) for cut in cuts})
    return [data[start:end] for start, end in zip([0, *places], [*places, len(data)], strict=True)]


@settings(max_examples=examples(300))
@given(streams, st.lists(st.integers(0, 10**6), max_size=8))
def test_any_split_of_a_stream_means_the_same(made: list[bytes], cuts: list[int]) -> None:
    data = b"".join(made)
    whole = ForwardStream()
    expected, ended = fed(whole, [data])
    assert ended is None
    assert whole.held_bytes == 0
    for pieces in (split(data, cuts), [data[at : at + 1] for at in range(len(data))]):
        assert fed(ForwardStream(), pieces) == (expected, None)


@settings(max_examples=examples(300))
@given(
    st.binary(max_size=300) | streams.map(b"".join), st.binary(max_size=30), st.lists(st.integers(0, 10**6), max_size=4)
)
def test_any_bytes_are_read_alike_however_they_are_cut_and_never_crash(
    data: bytes, more: bytes, cuts: list[int]
) -> None:
    whole = fed(ForwardStream(MAX_BYTES), [data + more])
    assert whole[1] in (None, Malformed, TooLarge)
    assert fed(ForwardStream(MAX_BYTES), split(data + more, cuts)) == whole
    for elements in whole[0]:
        Handshake({"a": "b"}, server_name="ess").answer(elements)
        if elements:
            found = read_message(elements)
            ForwardEntries([(found.tag, None)]).decode(Body(found.entries), NOW_US, LIMITS)


@settings(max_examples=examples(300))
@given(st.lists(st.binary(min_size=1, max_size=200), max_size=60))
def test_no_more_is_held_than_a_message_and_what_came_with_its_end(pieces: list[bytes]) -> None:
    stream = ForwardStream(MAX_BYTES)
    try:
        for piece in pieces:
            list(stream.feed(b"\x92\xa1a\xc5\x07\x00" + piece))
            assert stream.held_bytes <= MAX_BYTES + len(piece) + 6
    except EssError:
        assert stream.held_bytes <= MAX_BYTES + 206


def test_announced_sizes_take_no_memory() -> None:
    heads = [b"\xdd\xff\xff\xff\xff", b"\xdf\xff\xff\xff\xff", b"\xc6\xff\xff\xff\xff", b"\xc9\xff\xff\xff\xff\x00"]
    tracemalloc.start()
    try:
        for head in heads:
            decoded = ForwardEntries([("a", None)]).decode(Body(b"\x92\x01" + head), NOW_US, LIMITS)
            assert len(decoded.rejected) == 1
            with pytest.raises(TooLarge):
                list(ForwardStream().feed(b"\x92\xa1a" + head))
        assert tracemalloc.get_traced_memory()[1] < 5_000_000
    finally:
        tracemalloc.stop()


@settings(max_examples=examples(300))
@given(values)
def test_a_value_ends_where_the_library_says(value: Any) -> None:
    data = pack(value)
    walker = Walker(0)
    assert walker.walk(data + b"\xc0\xc0")
    assert walker.at == len(data)
    slow = Walker(3)
    ends = [slow.walk(b"???" + data[:length]) for length in range(1, len(data) + 1)]
    assert ends == [False] * (len(data) - 1) + [True]


@settings(max_examples=examples(300))
@given(entries, texts)
def test_every_mode_gives_the_same_rows_and_no_entry_is_lost(made: list[tuple[Any, Any]], tag: str) -> None:
    found = []
    for mode in ("forward", "packed"):
        (elements,) = ForwardStream().feed(message(made, mode, tag))
        told = read_message(elements)
        assert (told.tag, told.fault) == (tag, None)
        found.append(ForwardEntries([(told.tag, None)]).decode(Body(told.entries), NOW_US, LIMITS))
    first, second = found
    assert rows_of(first.batch) == rows_of(second.batch)
    assert first.rejected == second.rejected
    assert len(first.batch) + len(first.rejected) == len(made)


@settings(max_examples=examples(300))
@given(entries, st.integers(1, 1_000), st.binary(max_size=5))
def test_pieces_are_the_whole_wherever_they_are_cut(made: list[tuple[Any, Any]], piece_bytes: int, more: bytes) -> None:
    form, body = ForwardEntries([("app", None)]), Body(packed_entries(made) + more)
    whole = form.decode(body, NOW_US, LIMITS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(forward, "PIECE_BYTES", piece_bytes)
        pieces = form.cut(body)
    parts = [pieces.decode(number, FIELD_TABLE, NOW_US, LIMITS) for number in range(len(pieces))]
    assert [row for part in parts for row in rows_of(part.batch)] == rows_of(whole.batch)
    assert [why for part in parts for _, why in part.rejected] == [why for _, why in whole.rejected]
