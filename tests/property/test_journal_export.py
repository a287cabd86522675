"""The journal's export format: however its bytes are split, and whatever they are."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from ess_ray.core.errors import BadRequest
from ess_ray.intake.formats.journal_export import MAX_ENTRY_BYTES, TRUNCATED, Entry, JournalParser
from tests import journal
from tests.examples import examples

NAMES = st.sampled_from(["MESSAGE", "_PID", "__CURSOR", "A", "COREDUMP"])
VALUES = st.one_of(
    st.binary(max_size=20), st.sampled_from([b"", b"\n", b"a\n\nb", b"=", b"\xff\xfe", "é".encode() * 5, b"x" * 300])
)
ENTRIES = st.lists(st.lists(st.tuples(NAMES, VALUES), min_size=1, max_size=5), max_size=4)
SPLITS = st.lists(st.integers(0, 400), max_size=12)


def read(pieces: list[bytes]) -> tuple[list[Entry], bool]:
    """Read a stream that comes in pieces; gives its entries, and whether all of it could be read."""
    parser, found = JournalParser(), []
    try:
        for piece in pieces:
            found += parser.feed(piece)
            assert parser.held_bytes <= 3 * MAX_ENTRY_BYTES
        return found + parser.close(), True
    except BadRequest:
        return found + parser.finished(), False


def split(text: bytes, at: list[int]) -> list[bytes]:
    ends = sorted({*(min(each, len(text)) for each in at), len(text)})
    return [text[start:end] for start, end in zip([0, *ends], ends, strict=False)]


def expected(fields: list[tuple[str, bytes]]) -> Entry:
    """Give an entry's fields, of names that are there again as NAME#2."""
    found: Entry = {}
    for name, value in fields:
        seen = sum(1 for other in found if other.partition("#")[0] == name)
        found[name if not seen else f"{name}#{seen + 1}"] = value.decode("utf-8", "replace")
    return found


@settings(max_examples=examples(400), deadline=None)
@given(ENTRIES, SPLITS)
def test_any_split_gives_what_was_written(entries: list[list[tuple[str, bytes]]], at: list[int]) -> None:
    text = b"".join(map(journal.entry, entries))
    assert read(split(text, at)) == ([expected(fields) for fields in entries], True)
    assert read([bytes([byte]) for byte in text]) == ([expected(fields) for fields in entries], True)


@settings(max_examples=examples(400), deadline=None)
@given(
    st.lists(st.one_of(st.binary(max_size=12), st.sampled_from([b"A=1\n", b"\n", b"B\n\x02", b"\0" * 7])), max_size=9)
)
def test_any_split_of_anything_gives_the_same(parts: list[bytes]) -> None:
    text = b"".join(parts)
    whole = read([text])
    assert read(parts) == whole
    assert read([bytes([byte]) for byte in text]) == whole


@settings(max_examples=examples(40), deadline=None)
@given(
    st.sampled_from([b"x", b"\xff", "é".encode()]),
    st.sampled_from([-2, -1, 0, 1, 2, 400, 90_000]),
    st.booleans(),
    st.integers(1, 300_000),
)
def test_what_is_too_large_is_cut_alike_however_it_comes(unit: bytes, more: int, is_binary: bool, step: int) -> None:
    value = (unit * (MAX_ENTRY_BYTES + more))[: MAX_ENTRY_BYTES + more]
    text = journal.entry([("A", b"1"), ("BIG", value + (b"\n" if is_binary else b"")), ("C", b"3")]) + b"A=2\n\n"
    whole = read([text])
    assert read([text[at : at + step] for at in range(0, len(text), step)]) == whole
    (large, small), is_read = whole
    assert (is_read, small, large["A"]) == (True, {"A": "2"}, "1")
    kept = sum(len(name) + len(each.encode()) for name, each in large.items() if name != TRUNCATED)
    assert kept <= MAX_ENTRY_BYTES
    assert large[TRUNCATED] == "true"
