"""Each format by a small file of its own: it is recognised, and its events are those written down beside it.

`samples/NAME/in.log` is of the format NAME, `samples/NAME/expected.json` what it becomes: a list of kinds and events.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from ess_ray.intake.lines.catalog import SPECS
from ess_ray.intake.lines.parser import Parser
from ess_ray.intake.lines.raw import cut_lines
from ess_ray.intake.lines.recognise import recognise
from ess_ray.intake.lines.times import LineReader

SAMPLES = Path(__file__).parent / "samples"
NOW_US = int(datetime(2026, 11, 30, 12, tzinfo=UTC).timestamp()) * 1_000_000
NAMES = sorted(path.name for path in SAMPLES.iterdir())


def parsed(form: str, content: bytes) -> list[list[Any]]:
    parser = Parser(form, LineReader(NOW_US, UTC))
    found = [parser.read(group) for group in parser.groups(cut_lines([content]))]
    return [[one.kind, {**one.event, **(one.besides or {})}] for one in found]


@pytest.mark.parametrize("name", NAMES)
def test_a_sample_is_recognised(name: str) -> None:
    content = (SAMPLES / name / "in.log").read_bytes()
    assert recognise(content.decode("utf-8", "replace").split("\n"), NOW_US) == name


@pytest.mark.parametrize("name", NAMES)
def test_a_sample_becomes_its_events(name: str) -> None:
    expected = json.loads((SAMPLES / name / "expected.json").read_text())
    assert parsed(name, (SAMPLES / name / "in.log").read_bytes()) == expected


def test_every_format_has_a_sample() -> None:
    assert {*NAMES, "lines"} == set(SPECS)


@pytest.mark.parametrize(
    ("lines", "name"),
    [
        (["2026-11-24T10:00:00Z line 1", "2026-11-24T10:00:01Z line 2"], "text"),
        (["2026-11-24 10:00:00 status installed dpkg:amd64 1.22"], "text"),
        (["a = b", "x=1 y=2"], "text"),
        (["name, first", "b, c"], "text"),
        ([""], "text"),
        (["starting", *['{"msg": "a"}'] * 3], "json-lines"),
        (["{not JSON}"] * 3, "text"),
    ],
)
def test_what_is_alike_is_not_taken_for_it(lines: list[str], name: str) -> None:
    assert recognise(lines, NOW_US) == name


@pytest.mark.parametrize(
    ("form", "content", "kept"),
    [
        ("logfmt", b'level=info msg=hi a=1 a=two b=3 a="4"\n', {"a": 1, "a#2": "two", "a#3": "4", "b": 3}),
        ("journald-export", b"MESSAGE=hi\nA=1\nA=2\n\n", {"A": "1", "A#2": "2"}),
        ("w3c", b"#Fields: cs-uri cs-uri c-ip\n/a /b -\n", {"cs-uri": "/a", "cs-uri#2": "/b"}),
        ("csv", b"time,message,Level,level,x,x,,column_6\n1,hi,INFO,a,b,c,d,e\n",
         {"x": "b", "x#2": "c", "column_6": "d", "column_6#2": "e", "level": "a"}),
    ],
)  # fmt: skip
def test_of_a_name_that_comes_again_all_values_are_kept(form: str, content: bytes, kept: dict[str, Any]) -> None:
    ((_, event),) = parsed(form, content)[-1:]
    assert {**event, **event.get("attributes", {})}.items() >= kept.items()
