"""The stored form of the skip index: what it rules out, its versions, damage, and rows made to hurt it."""

from __future__ import annotations

import random
import resource
import struct
import time
from collections.abc import Callable

import pyarrow as pa
import pytest

from ess_ray.core.errors import CorruptData
from ess_ray.core.fold import fold_text
from ess_ray.core.index import Index, build, file, planes, values
from ess_ray.core.literals import ANYTHING, NOTHING, AllOf, AnyOf, Holds, Text, needs
from ess_ray.core.query import Field, Query
from ess_ray.language import parse

Make = Callable[..., pa.Table]
GROUPS = 19
ROWS = 400


@pytest.fixture(scope="module")
def groups(make_events: Make, t0_us: int) -> list[pa.Table]:
    draw = random.Random(5)
    return [
        make_events(
            [t0_us + group] * ROWS,
            [f"request {group:06x}{i // 20:02x} of a user who has a cart took {i} ms" for i in range(ROWS)],
            trace_id=[f"{group:016x}{i // 4:016x}" for i in range(ROWS)],
            span_id=[f"{draw.getrandbits(64):016x}" for _ in range(ROWS)],
            service=[f"service-{group}"] * ROWS,
            attributes=[[("user", f"u-{group}-{i}"), ("empty", None)] for i in range(ROWS)],
        )
        for group in range(GROUPS)
    ]


@pytest.fixture(scope="module")
def blob(groups: list[pa.Table]) -> bytes:
    return build(groups)


def kept(blob: bytes, text: str, count: int = GROUPS) -> list[int]:
    return Index(blob, count).keep(needs(Query(parse(text))))


def test_it_keeps_only_where_things_are(groups: list[pa.Table], blob: bytes) -> None:
    for group in (0, 7, 8, 18):
        row = groups[group].slice(123, 1).to_pylist()[0]
        assert group in kept(blob, f"trace_id:{row['trace_id']}")
        assert group in kept(blob, f"user:u-{group}-123")
        assert kept(blob, f"service:SERVICE-{group}") == [group]
        assert group in kept(blob, row["message"].split()[1]) != list(range(GROUPS))
        assert group in kept(blob, f"span_id:{row['span_id']}")
    assert kept(blob, "nowhere") == []
    assert kept(blob, "trace_id:absent") == []
    assert kept(blob, "user:u-5-1 trace_id:absent") == []
    assert kept(blob, "service:service-3 OR service:service-17") == [3, 17]
    assert kept(blob, "id:*") == []
    assert kept(blob, "empty:*") == kept(blob, "request") == kept(blob, "") == list(range(GROUPS))
    assert kept(blob, "other:*") == []


def test_filters_err_as_seldom_as_their_widths_say(blob: bytes) -> None:
    index = Index(blob, GROUPS)
    for name, share in (("trace_id", 1 / 200), ("span_id", 1 / 50), ("user", 1 / 200)):
        field = Field(name, attribute=name == "user")
        wrong = sum(len(index.keep(Holds(field, b"absent-%d" % i))) for i in range(400))
        assert wrong <= share * 400 * GROUPS, name


def test_formulas(blob: bytes) -> None:
    index = Index(blob, GROUPS)
    three, four = (Holds(Field("service"), b"service-%d" % i) for i in (3, 4))
    everything = list(range(GROUPS))
    assert index.keep(ANYTHING) == everything
    assert index.keep(NOTHING) == []
    assert index.keep(AnyOf((three, four))) == [3, 4]
    assert index.keep(AllOf((three, four))) == []
    assert index.keep(AllOf((AnyOf((three, four)), four))) == [4]
    assert index.keep(Text(b"usxy")) == everything  # shorter than a gram
    assert index.keep(Text(b"request " * 100_000)) == []
    assert index.keep(Text(b"x")) == everything


def test_the_same_rows_give_the_same_bytes(groups: list[pa.Table], blob: bytes) -> None:
    assert build(iter(groups)) == blob
    assert build([group.combine_chunks().to_batches()[0] for group in groups]) == blob


def test_an_object_without_an_index_keeps_all() -> None:
    assert Index(b"", 3).keep(NOTHING) == []
    assert Index(b"", 3).keep(Text(b"something")) == [0, 1, 2]
    assert Index(build([]), 0).keep(Text(b"something")) == []


@pytest.mark.parametrize("at", [4, 6])
def test_an_unknown_version_rules_nothing_out(blob: bytes, at: int) -> None:
    newer = blob[:at] + struct.pack("<H", 99) + blob[at + 2 :]
    assert kept(newer, "nowhere") == list(range(GROUPS))


def test_damage_is_told(blob: bytes) -> None:
    with pytest.raises(CorruptData, match="not this object's"):
        Index(blob, GROUPS + 1)
    for bad in (b"x", b"PAR1" + blob[4:], blob[:30], blob[:-1], blob + b"x", blob[:21] + b"\xff" + blob[22:]):
        with pytest.raises(CorruptData):
            Index(bad, GROUPS)


def test_no_flipped_byte_rules_out_what_is_there(blob: bytes) -> None:
    draw = random.Random(1)
    noticed = 0
    for _ in range(300):
        at = draw.randrange(len(blob))
        bad = bytearray(blob)
        bad[at] ^= 1 << draw.randrange(8)
        try:
            index = Index(bytes(bad), GROUPS)
            assert 3 in index.keep(AllOf((Holds(Field("service"), b"service-3"), Text(b"request "), Text(b" took "))))
        except CorruptData:
            noticed += 1
    assert noticed


def test_a_column_that_is_not_there_rules_nothing_out(groups: list[pa.Table]) -> None:
    few = build([group.select(["message", "trace_id"]) for group in groups])
    assert kept(few, "service:absent") == list(range(GROUPS))
    assert kept(few, "trace_id:absent") == []


def test_text_that_is_no_utf8_rules_nothing_out(make_events: Make, t0_us: int) -> None:
    bad = pa.Array.from_buffers(
        pa.string(), 1, [None, pa.py_buffer(struct.pack("<2i", 0, 6)), pa.py_buffer(b"ab\xffcde")]
    )
    table = make_events([t0_us], ["fine"])
    for name in ("message", "service"):
        table = table.set_column(table.schema.names.index(name), name, bad)
    index = Index(build([table, make_events([t0_us], ["fine"])]), 2)
    assert index.keep(Text(b"needle")) == [0]
    assert index.keep(Holds(Field("service"), b"x")) == [0]


# ------------------------------------------------------------------------------------------------- rows made to hurt it
def hurt(make_events: Make, t0_us: int, messages: list[str], **columns: object) -> tuple[bytes, float]:
    table = make_events([t0_us] * len(messages), messages, **columns)
    before = time.process_time()
    made = build([table])
    return made, time.process_time() - before


def test_random_text_costs_its_budget_and_no_more(make_events: Make, t0_us: int) -> None:
    draw = random.Random(2)
    letters = "".join(map(chr, [*range(33, 127), *range(0x4E00, 0x4E80), 0x212A, 0xC5]))
    long = ["".join(draw.choices(letters, k=170_000)) for _ in range(24)]
    made, seconds = hurt(make_events, t0_us, long)
    total = sum(len(text.encode()) for text in long)
    assert len(made) < 0.03 * total
    assert seconds < 20e-6 * total
    assert Index(made, 1).keep(Text(fold_text(long[3][1000:1100]).encode())) == [0]


def test_many_distinct_attributes_are_bounded(make_events: Make, t0_us: int) -> None:
    pairs = [[(f"key{row}_{i}", f"value{row}-{i}" + "x" * (i % 300)) for i in range(3_000)] for row in range(20)]
    made, _ = hurt(make_events, t0_us, ["m"] * 20, attributes=pairs)
    assert len(made) < planes.MAX_POSITIONS / 4
    assert kept(made, "key3_77:" + dict(pairs[3])["key3_77"], 1) == [0]
    assert kept(made, "key3_77:absent", 1) == []


def test_memory_does_not_grow_with_the_object(make_events: Make, t0_us: int) -> None:
    table = make_events([t0_us] * 16, ["abcdefgh" * 8_000] * 16)
    build([table])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    build(table for _ in range(64))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 32 * 1024


def test_the_empty_and_the_tiny(make_events: Make, t0_us: int) -> None:
    one = build([make_events([t0_us], ["tiny message"])])
    assert len(one) < 1500
    assert kept(one, "tiny", 1) == [0]
    assert kept(one, "something", 1) == []
    none = build([make_events([], [])])
    assert kept(none, "something", 1) == []


def test_the_table_has_what_the_format_says(blob: bytes) -> None:
    magic, version, _, groups, count, _ = struct.unpack_from("<4sHHIII", blob)
    assert (magic, version, groups) == (b"ESSX", file.INDEX_VERSION, GROUPS)
    assert count == len(range(0, GROUPS, planes.LANES)) * (1 + len(values.KINDS))
