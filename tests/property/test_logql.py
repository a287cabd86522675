"""LogQL against plain Python: metrics over rows stored and in flight, pipelines line by line, text that reads back."""

from __future__ import annotations

import asyncio
import json
import math
import re
from collections import defaultdict
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ess_ray.core.errors import QueryError
from ess_ray.language.logql import parse_logql, write_logql
from ess_ray.language.logql.texts import quote, unquote
from ess_ray.limits import SearchLimits
from ess_ray.search.direct import Direct
from ess_ray.search.logql.entries import Entry
from ess_ray.search.logql.metrics import Metrics
from ess_ray.search.logql.series import Steps
from ess_ray.search.logql.stages import Pipeline
from tests.aggregating import BASE_US, push
from tests.examples import examples
from tests.unit.test_search_app import Rig
from tests.worlds import World

SECOND_US = 1_000_000
ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "timestamp": st.integers(0, 20 * SECOND_US),
            "level": st.sampled_from([None, "INFO", "ERROR"]),
            "service": st.sampled_from([None, "a", "b"]),
            "message": st.integers(0, 30).map(lambda n: f"n={n} x"),
        }
    ),
    max_size=25,
)
WINDOWS = st.tuples(st.integers(1, 7), st.integers(1, 9), st.integers(0, 3))


def naive(rows: list[dict[str, Any]], function: str, by: tuple[str, ...], steps: Steps, range_us: int) -> Any:
    found: dict[Any, dict[int, float]] = defaultdict(dict)
    for step, at_us in enumerate(steps.times_us.tolist()):
        windows: dict[Any, list[float]] = defaultdict(list)
        for row in rows:
            us = BASE_US + row["timestamp"]
            if at_us - range_us < us <= at_us:
                level, service = row["level"], row["service"] or "unknown_service"
                labels = {"level": level or "", "detected_level": (level or "unknown").lower(), "service_name": service}
                key = tuple((name, labels[name]) for name in sorted(by) if labels[name])
                windows[key].append(float(row["message"].split("=")[1].split()[0]))
        for key, numbers in windows.items():
            length = sum(len(f"n={int(number)} x") for number in numbers)
            found[key][step] = {
                "count_over_time": len(numbers),
                "rate": len(numbers) / (range_us / SECOND_US),
                "bytes_over_time": length,
                "sum_over_time": math.fsum(numbers),
                "max_over_time": max(numbers),
            }[function]
    return dict(found)


@pytest.mark.parametrize("parsed", [False, True], ids=["counted", "read"])
@given(rows=ROWS, windows=WINDOWS, by=st.sampled_from([(), ("level",), ("service_name", "detected_level")]))
@settings(max_examples=examples(20), deadline=None)
def test_metrics_are_those_of_plain_python(
    parsed: bool, rows: list[dict[str, Any]], windows: tuple[int, int, int], by: tuple[str, ...]
) -> None:
    step_s, range_s, half = windows
    steps = Steps(BASE_US, step_s * SECOND_US, 20 // step_s + 1)

    async def run() -> None:
        world = World()
        writer = world.writer()
        await writer.assign(range(3))
        rig = Rig(world, writer, SearchLimits(in_place_bytes=0, task_bytes=1))
        if rows[:half]:
            await push(rig, *rows[:half], flush=True)
        if rows[half:]:
            await push(rig, *rows[half:], vnode=1)
        names = ", ".join(by)
        lines = '{service_name=~".+"}' + (" | logfmt | n >= 0" if parsed else "")
        for function in ("count_over_time", "rate", "bytes_over_time", *(("sum_over_time", "max_over_time") * parsed)):
            unwrapped = " | unwrap n" if function in ("sum_over_time", "max_over_time") else ""
            grouped = "max" if function == "max_over_time" else "sum"
            text = f"{grouped} by ({names}) ({function}({lines}{unwrapped} [{range_s}s]))"
            metrics = Metrics(Direct(rig.searcher, rig.results), "default", (), steps)
            found = await metrics.answer(parse_logql(text))  # type: ignore[arg-type]
            assert not isinstance(found, float)
            told = {
                pairs: {at: float(points.values[at]) for at in range(steps.count) if points.there[at]}
                for pairs, points in found.items()
            }
            expected = naive(rows, function, by, steps, range_s * SECOND_US)
            assert told.keys() == expected.keys(), text
            for pairs, numbers in expected.items():
                assert told[pairs] == pytest.approx(numbers), text
        await rig.http.aclose()

    asyncio.run(run())


WORDS = st.text(st.sampled_from('abz_09é "\\\n`{}='), max_size=8)
KEYS = st.from_regex(r"[a-z][a-z0-9_]{0,5}", fullmatch=True)


@given(st.dictionaries(KEYS, st.one_of(WORDS, st.integers(), st.booleans()), max_size=5))
@settings(max_examples=examples(100))
def test_json_gives_what_was_written(fields: dict[str, Any]) -> None:
    entry = Entry(0, json.dumps(fields), {}, {})
    Pipeline(parse_logql('{a="b"} | json').stages).run([entry])  # type: ignore[union-attr]
    shown = {name: str(value).lower() if isinstance(value, bool) else str(value) for name, value in fields.items()}
    assert entry.parsed == shown


@given(st.dictionaries(KEYS, st.from_regex(r"[a-z0-9./:-]{1,6}", fullmatch=True), max_size=5), WORDS)
@settings(max_examples=examples(100))
def test_filters_and_logfmt_are_those_of_plain_python(fields: dict[str, str], word: str) -> None:
    line = " ".join(f"{name}={value}" for name, value in fields.items())
    text = f'{{a="b"}} |= {quote(word)} or `0` !~ `z[a0]` | logfmt | a!="" or b=~"[0-9].*"'
    entries = Pipeline(parse_logql(text).stages).run([Entry(0, line, {}, {})])  # type: ignore[union-attr]
    wanted = (word in line or "0" in line) and not re.search("z[a0]", line)
    wanted = wanted and (fields.get("a", "") != "" or re.fullmatch("[0-9].*", fields.get("b", "")) is not None)
    assert [entry.parsed for entry in entries] == ([fields] if wanted else [])


@given(st.text(max_size=20))
@settings(max_examples=examples(200))
def test_texts_read_back(text: str) -> None:
    assert unquote(quote(text)) == text


@given(WORDS, WORDS, st.integers(1, 10**9), st.sampled_from(["sum", "avg", "topk"]), st.booleans())
@settings(max_examples=examples(100))
def test_queries_read_back(first: str, second: str, width: int, name: str, without: bool) -> None:
    parameter = "3, " if name == "topk" else ""
    inner = f'rate({{a=~".+", b!={quote(first)}}} |= {quote(second)} | json | c > 1 or (d="x" and e<5ms) [{width}us])'
    text = f"{name} {'without' if without else 'by'} (a, b) ({parameter}{inner}) > bool 2 or vector(1)"
    expression = parse_logql(text)
    assert parse_logql(write_logql(expression)) == expression


@given(st.text(st.sampled_from('{}()[]|="~!`abc,.5ms \\ sumbyrate#<>'), max_size=40))
@settings(max_examples=examples(300))
def test_no_text_does_more_than_be_refused(text: str) -> None:
    position = 0
    try:
        parse_logql(text)
    except QueryError as error:
        position = error.position
    assert 0 <= position <= len(text)
