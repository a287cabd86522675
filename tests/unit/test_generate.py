"""Generated events: the same from the same seed, in time order, of the promised size and variety."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from typing import Any

import orjson
import pytest

from ess_ray.core.timestamps import parse_timestamp_us
from ess_ray.generate import events

COUNT = 20_000
SPAN_US = 600 * 1_000_000


@pytest.fixture(scope="module")
def made(t0_us: int) -> list[dict[str, Any]]:
    return list(events(COUNT, 7, t0_us, SPAN_US))


def test_the_same_seed_gives_the_same_events(made: list[dict[str, Any]], t0_us: int) -> None:
    assert list(events(COUNT, 7, t0_us, SPAN_US)) == made
    assert list(events(100, 8, t0_us, SPAN_US)) != made[:100]


@pytest.mark.parametrize("count", [0, 1, 2, 3, 1000])
def test_as_many_as_asked_for(count: int, t0_us: int) -> None:
    assert sum(1 for _ in events(count, 1, t0_us)) == count


def test_times_ascend_within_the_span(made: list[dict[str, Any]], t0_us: int) -> None:
    times = [parse_timestamp_us(event["timestamp"]) for event in made]
    assert times == sorted(times)
    assert times[0] == t0_us - SPAN_US
    assert times[-1] < t0_us


def test_sizes_are_those_of_the_reference_corpus(made: list[dict[str, Any]]) -> None:
    assert 95 <= sum(len(event["message"]) for event in made) / COUNT <= 125
    assert 300 <= sum(len(orjson.dumps(event)) for event in made) / COUNT <= 370


def test_levels_services_and_ids_look_real(made: list[dict[str, Any]]) -> None:
    levels = Counter(event["level"] for event in made)
    assert levels["INFO"] > COUNT * 0.7
    assert 0.002 * COUNT < levels["ERROR"] < 0.05 * COUNT
    assert len({event["service"] for event in made}) == 8
    services = defaultdict(set)
    for event in made:
        if "trace_id" in event:
            assert re.fullmatch(r"[0-9a-f]{32}", event["trace_id"])
            services[event["trace_id"]].add(event["service"])
        if "span_id" in event:
            assert re.fullmatch(r"[0-9a-f]{16}", event["span_id"])
    assert max(len(names) for names in services.values()) >= 4
    traces = [event for event in made if "\n\tat " in event["message"]]
    assert traces
    assert all(event["level"] in ("ERROR", "FATAL") for event in traces)
