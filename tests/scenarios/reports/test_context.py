"""`ess search --context`: what stood around a row in its own stream."""

from __future__ import annotations

import json

import pytest

from tests.systems import System

SECOND = "2026-11-22T12:00:{:02d}Z"


@pytest.fixture(scope="module", autouse=True)
def _pushed(system: System) -> None:
    one = [{"message": f"one {n}", "timestamp": SECOND.format(n), "service": "ctx", "host": "h1"} for n in range(20)]
    other = [
        {"message": f"other {n}", "timestamp": SECOND.format(n).replace("Z", ".5Z"), "service": "ctx", "host": "h2"}
        for n in range(20)
    ]
    alone = [{"message": f"alone {n}", "timestamp": SECOND.format(n), "service": "ctx-alone"} for n in range(5)]
    same = [
        {"message": f"same {n}", "timestamp": SECOND.format(30), "service": "ctx-same", "host": "h"} for n in range(60)
    ]
    for events in (one, other, alone, same):
        system.push(events)
    system.ess("flush")


CASES = [
    # query, options, lines: `>` before what matches, `--` between groups
    ('"one 5"', ["-C", "1", "--order", "oldest"], [" one 4", ">one 5", " one 6"]),
    ('"one 5"', ["-C", "1"], [" one 6", ">one 5", " one 4"]),
    ('"one 0" host:h1', ["-C", "2", "--order", "oldest"], [">one 0", " one 1", " one 2"]),
    (
        '"one 5" OR "one 7"',
        ["-C", "1", "--order", "oldest"],
        [" one 4", ">one 5", " one 6", ">one 7", " one 8"],
    ),
    (
        '"one 5" OR "other 5" OR "one 9"',
        ["-C", "1", "--order", "oldest"],
        [
            *[" one 4", ">one 5", " one 6", "--"],
            *[" other 4", ">other 5", " other 6", "--"],
            " one 8",
            ">one 9",
            " one 10",
        ],
    ),
    ('"alone 2"', ["-C", "1", "--order", "oldest"], [" alone 1", ">alone 2", " alone 3"]),
    ('"same 40"', ["-C", "2", "--order", "oldest"], [" same 38", " same 39", ">same 40", " same 41", " same 42"]),
    # also what lies outside the range
    (
        '"one 5"',
        ["-C", "1", "--order", "oldest", "--until", SECOND.format(6)],
        [" one 4", ">one 5", " one 6"],
    ),
    ('"nowhere"', ["-C", "1"], []),
]


@pytest.mark.parametrize(("query", "options", "lines"), CASES)
def test_context(system: System, query: str, options: list[str], lines: list[str]) -> None:
    asked = [f"service:ctx* ({query})", "--since", "2026-11-22", *options]
    shown = system.ess("search", *asked).stdout.splitlines()
    told = [line if line == "--" else f"{line[0].strip() or ' '}{' '.join(line.split()[-2:])}" for line in shown]
    assert told == lines
    events = [json.loads(line) for line in system.ess("search", *asked, "--json").stdout.splitlines()]
    assert [f"{'>' if e['hit'] else ' '}{e['message']}" for e in events] == [line for line in lines if line != "--"]
    assert len({e["group"] for e in events}) == (lines.count("--") + 1 if lines else 0)


def test_too_many_rows_for_a_context_are_refused(system: System) -> None:
    system.ess("search", "x", "-C", "1", "--limit", "1001", ok=(2,))
