"""Wherever a push of lines ends, the next one goes on with the events that reading it in one go would have given."""

from __future__ import annotations

import io
from datetime import UTC
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from ess_ray.cli.content import Content
from ess_ray.cli.inputs import read_items
from ess_ray.cli.items import Bad, Defaults, Item, Reading
from ess_ray.cli.position import Mark, Position, position_at
from ess_ray.intake.lines.catalog import SPECS
from ess_ray.intake.lines.times import LineReader

NOW_US = 1_796_000_000_000_000
_SAMPLES = Path(__file__).parent.parent / "unit" / "lines" / "samples"
_LINES = {path.parent.name: path.read_bytes().split(b"\n") for path in _SAMPLES.glob("*/in.log")}
_HEADED = ("csv", "tsv", "w3c", "vpc-flow")


def reading(form: str, *, growing: bool = False) -> Reading:
    reader = LineReader(NOW_US, UTC, decided=True)
    return Reading(form, Defaults("shop"), reader, path="/a.log", may_go_on=growing, only_ended=growing)


@st.composite
def inputs(draw: st.DrawFn) -> tuple[str, bytes]:
    form = draw(st.sampled_from(sorted(_LINES)))
    own = st.sampled_from(_LINES[form])
    other = st.sampled_from(sorted(line for lines in _LINES.values() for line in lines))
    lines = draw(st.lists(st.one_of(own, own, other, st.binary(max_size=8)), max_size=14))
    head = _LINES[form][:1] if form in _HEADED else []
    return form, b"\n".join([*head, *lines])


def marked(data: bytes, form: str) -> list[tuple[Item | Bad, Mark]]:
    position = Position()
    items = read_items(Content(io.BytesIO(data), "utf-8", "lf").pieces(), reading(form), position)
    return [(item, position.mark()) for item in items]


@given(inputs(), st.data())
def test_reading_goes_on_at_any_event(given_input: tuple[str, bytes], data: st.DataObject) -> None:
    form, content = given_input
    found = marked(content, form)
    stops = [at for at, (item, _) in enumerate(found) if isinstance(item, Bad) or not item.more]
    if not stops:
        return
    stop = data.draw(st.sampled_from(stops))
    stand = position_at(Content(io.BytesIO(content), "utf-8", "lf"), found[stop][1])
    assert stand is not None
    position, pieces = stand
    assert list(read_items(pieces, reading(form), position)) == [item for item, _ in found[stop + 1 :]]


@given(inputs(), st.integers(0, 2_000))
def test_a_file_that_grew_while_it_was_read_has_the_same_events(given_input: tuple[str, bytes], size: int) -> None:
    form, content = given_input
    start = content[: size % (len(content) + 1)]
    position = Position()
    first = list(read_items(Content(io.BytesIO(start), "utf-8", "lf").pieces(), reading(form, growing=True), position))
    stand = position_at(Content(io.BytesIO(content), "utf-8", "lf"), position.mark())
    assert stand is not None
    position, pieces = stand
    rest = list(read_items(pieces, reading(form), position))
    assert [*first, *rest] == [item for item, _ in marked(content, form)]


def test_every_format_is_tried() -> None:
    assert {*_LINES, "lines"} == set(SPECS)
