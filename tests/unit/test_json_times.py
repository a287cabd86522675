"""What an event's time becomes, however it is written."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ess_ray.core.timestamps import format_timestamp
from tests.json_events import NOW_US, TEN_YEARS_US, decode, row, rows


@pytest.mark.parametrize(
    "time",
    ["2026-09-21T14:13:20Z", "2026-09-21 14:13:20Z", "2026-09-21t14:13:20z", "2026-09-21T14:13:20",
     "2026-09-21T14:13:20.000000999Z", "2026-09-21T16:13:20+02:00", "2026-09-21T16:13:20+0200",
     "2026-09-21T16:13:20+02", 1_790_000_000,
     "1790000000", 1_790_000_000_000, "1790000000000",
     1_790_000_000_000_000, 1_790_000_000_000_000_000, "1790000000000000000",
     1_790_000_000.0, "1790000000.0", " 1790000000 ", "1.79e9", "1.79e+09", "17900000000e-1",
     "2026-09-21 14:13:20 UTC", "2026-09-21T14:13:20GMT"],
)  # fmt: skip
def test_one_moment_in_many_ways(time: Any) -> None:
    assert row(timestamp=time)["timestamp"] == NOW_US
    assert [r["timestamp"] for r in rows([{"message": "m", "timestamp": t} for t in (time, None, NOW_US + 5)])] == [
        NOW_US,
        NOW_US,
        NOW_US + 5,
    ]


@pytest.mark.parametrize(
    "time",
    ["", "yesterday", "2026-09-21", "2026-09-21T14:13Z", "2026-09-21T14:13+00:00",
     "2026-13-21T14:13:20Z", "2026-09-31T14:13:20Z", "2026-09-21T25:13:20Z", "0000-01-01T00:00:00Z", True, False,
     {}, [],
     1e300, 10**25, -1, 0, "NaN", "9" * 30],
)  # fmt: skip
def test_a_time_that_cannot_be_read_is_kept_beside_that_of_receipt(time: Any) -> None:
    decoded = decode([{"message": "good", "timestamp": NOW_US}, {"message": "m", "timestamp": time}])
    assert decoded.rejected == []
    ((index, said),) = decoded.adjusted
    assert (index, said.startswith("stored at the time of receipt: ")) == (1, True)
    found = row(timestamp=time)
    assert found["timestamp"] == NOW_US
    assert found["attributes"] == {"original_timestamp": time if isinstance(time, str) else said_as(time)}


@pytest.mark.parametrize("name", ["@timestamp", "time", "ts", "date", "_time"])
@pytest.mark.parametrize(
    ("time", "why"),
    [
        ("2026-11-30T20:00:00 CEST", "neither RFC 3339 text"),
        (NOW_US + 601_000_000, "in the future"),
        (format_timestamp(NOW_US + 601_000_000), "in the future"),
        (0.35, "old"),
    ],
)
def test_a_time_under_another_name_that_cannot_be_read_is_named(name: str, time: Any, why: str) -> None:
    decoded = decode([{"msg": "good", name: NOW_US}, {"msg": "m", name: time}, {"msg": "no time"}])
    ((index, said),) = decoded.adjusted
    assert (index, said.startswith("stored at the time of receipt: "), why in said) == (1, True, True)
    assert repr(name) in said
    found = row(**{name: time})
    assert found["timestamp"] == NOW_US
    assert found["attributes"] == {name: str(time)}  # it may be somebody's attribute


@pytest.mark.parametrize(
    "event",
    [
        {"timestamp": NOW_US, "time": "1.5 ms"},
        {"time": "1.5 ms", "ts": NOW_US},
        {"time": {"elapsed": 3}},
        {"time": True},
        {"time": None},
        {"time": ""},
        {"attributes": {"time": "1.5 ms"}},
    ],
)
def test_an_event_that_has_its_time_elsewhere_or_none_is_not_named(event: dict[str, Any]) -> None:
    assert decode([{"message": "m", **event}]).adjusted == []


def test_of_two_times_that_cannot_be_read_its_own_name_says_why() -> None:
    ((_, said),) = decode([{"message": "m", "time": "soon", "timestamp": True}]).adjusted
    assert "true or false" in said
    assert row(time="soon", timestamp=True)["attributes"] == {"original_timestamp": "true", "time": "soon"}


def said_as(value: Any) -> str:
    return repr(value) if isinstance(value, float) else json.dumps(value, separators=(",", ":"))


def test_the_window_of_times_is_exact() -> None:
    ahead, old = NOW_US + 600_000_000, NOW_US - TEN_YEARS_US
    assert row(timestamp=ahead)["timestamp"] == ahead
    assert row(timestamp=old)["timestamp"] == old
    beyond = [ahead + 1, format_timestamp(ahead + 1), old - 1, format_timestamp(old - 1)]
    decoded = decode([{"message": "m", "timestamp": time} for time in beyond])
    assert [("future" in said, "old" in said) for _, said in decoded.adjusted] == [(True, False)] * 2 + [
        (False, True)
    ] * 2
    assert decoded.batch.column("timestamp").cast("int64").to_pylist() == [NOW_US] * 4
