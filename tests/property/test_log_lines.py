"""Whatever bytes are read in whatever format, no line vanishes, and how they are cut into pieces does not matter."""

from __future__ import annotations

import itertools
from datetime import UTC
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from ess_ray.intake.lines.catalog import SPECS
from ess_ray.intake.lines.joining import Caps
from ess_ray.intake.lines.parser import Found, Group, Parser
from ess_ray.intake.lines.raw import cut_lines
from ess_ray.intake.lines.recognise import recognise
from ess_ray.intake.lines.times import LineReader

NOW_US = 1_796_000_000_000_000
_SAMPLES = Path(__file__).parent.parent / "unit" / "lines" / "samples"
_LINES = sorted({line for path in _SAMPLES.glob("*/in.log") for line in path.read_bytes().split(b"\n")})
_LINE = st.one_of(st.sampled_from(_LINES), st.binary(max_size=20), st.just(b""))
_INPUT = st.lists(_LINE, max_size=12).map(b"\n".join)
_CAPS = st.builds(Caps, lines=st.integers(1, 5), bytes=st.integers(1, 400))


def read(form: str, data: bytes, cuts: list[int], caps: Caps | None = None) -> list[tuple[Group, Found]]:
    bounds = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    pieces = [data[start:end] for start, end in itertools.pairwise(bounds)]
    parser = Parser(form, LineReader(NOW_US, UTC, decided=True), caps=caps)
    return [(group, parser.read(group)) for group in parser.groups(cut_lines(pieces))]


@given(st.sampled_from(sorted(SPECS)), _INPUT, _CAPS)
def test_every_line_is_in_one_group_in_its_place(form: str, data: bytes, caps: Caps) -> None:
    found = read(form, data, [], caps)
    assert [line for group, _ in found for line in group.lines] == list(cut_lines([data]))
    for group, one in found:
        assert not (group.more and group.lines)
        if one.kind == "blank":
            assert not group.text
        elif one.kind == "header":
            assert form in ("csv", "tsv", "w3c", "vpc-flow")
        else:
            assert one.kind in ("event", "plain", "object")
    assert not found or not found[-1][0].more


@given(st.sampled_from([name for name, spec in SPECS.items() if spec.envelope == "none"]), _INPUT)
def test_what_is_not_understood_is_a_message_unchanged(form: str, data: bytes) -> None:
    for group, one in read(form, data, []):
        if one.kind == "plain":
            assert one.event["message"] == "\n".join(line.content.decode("utf-8", "replace") for line in group.lines)


@given(st.sampled_from(sorted(SPECS)), _INPUT, st.lists(st.integers(0, 10_000), max_size=5))
def test_pieces_do_not_matter(form: str, data: bytes, cuts: list[int]) -> None:
    assert read(form, data, cuts) == read(form, data, [])


@given(st.lists(st.text(max_size=60) | st.sampled_from(_LINES).map(lambda line: line.decode("utf-8", "replace"))))
def test_every_input_is_of_some_format(lines: list[str]) -> None:
    assert recognise(lines, NOW_US) in SPECS
