"""Questions that are right, and found nothing: names of fields, comparisons, texts that look like either."""

from __future__ import annotations

import json
import subprocess
from typing import Any

import pytest

from tests.systems import System

SERVICE = "questions"
AT = "2026-11-20T12:00:00Z"
EVENTS: list[dict[str, Any]] = [
    {
        "message": "agent",
        "attributes": {"user-agent": "curl", "http/path": "/a", "@version": "1", "user agent": "wget 1"},
    },
    {"message": "letters", "attributes": {"ünï": "x", "हिन्दी": "y", "10:22": "z", 'a "b" \\': "q"}},
    {"message": "slow", "level": "ERROR", "attributes": {"duration_ms": "501.5", "status": "500"}},
    {"message": "fast", "level": "INFO", "attributes": {"duration_ms": "500", "status": "200"}},
    {"message": "opened C:\\temp\\x.log via fe80::1 and std::string"},
    {"message": "no route to db01:5432"},
    {"message": "copied arn:aws:s3:::bucket/key"},
    {"message": 'said {"level": "none"} level=FINE error: it failed'},
]


@pytest.fixture(scope="module", autouse=True)
def _pushed(system: System) -> None:
    system.push([{"timestamp": AT, "service": SERVICE, **event} for event in EVENTS])


FOUND = [
    ("user-agent:curl", ["agent"]),
    ("-user-agent:* duration_ms:*", ["fast", "slow"]),
    ("http/path:/a", ["agent"]),
    ("@version:1", ["agent"]),
    ('"user agent":"wget 1"', ["agent"]),
    ('"user agent":wget*', ["agent"]),
    ('"user agent":(x OR /wget/)', ["agent"]),
    ("ünï:x", ["letters"]),
    ("हिन्दी:y", ["letters"]),
    ('"10:22":z', ["letters"]),
    (r'"a \"b\" \\":q', ["letters"]),
    ("duration_ms>500", ["slow"]),
    ("duration_ms>=500", ["fast", "slow"]),
    ("duration_ms<501", ["fast"]),
    ("duration_ms<=500", ["fast"]),
    ('"duration_ms">500', ["slow"]),
    ("-duration_ms>500 status:*", ["fast"]),
    ("severity:error", ["slow"]),
    ("msg:fast", ["fast"]),
    ("@timestamp:>2026-11-20 duration_ms:*", ["fast", "slow"]),
    ('@timestamp:["2026-11-20 12:00" TO 2026-11-21] duration_ms:*', ["fast", "slow"]),
    ('timestamp:>="2026-11-20 12:00:00.000001" duration_ms:*', []),
    ("@timestamp:* duration_ms:*", ["fast", "slow"]),
    (r"C:\temp", ["opened"]),
    ("fe80::1", ["opened"]),
    ("std::string", ["opened"]),
    ("error: failed", ["said"]),
    ("level=FINE", ["said"]),
]


@pytest.mark.parametrize(("query", "starts"), FOUND)
def test_it_is_found(system: System, query: str, starts: list[str]) -> None:
    found = system.search(f"service:{SERVICE} ({query})", start="2026-11-20", end="2026-11-21")
    assert sorted(event["message"].split()[0] for event in found) == starts


HINTED = [
    ("db01:5432", "no_such_field", '"db01:5432"', "no"),
    ("arn:aws:s3:::bucket", "no_such_field", '"arn:aws:s3:::bucket"', "copied"),
    ("level=ERROR", "field", "level:ERROR", "slow"),
    ("level: ERROR", "field", "level:ERROR", "slow"),
    ("status==500", "field", "status:500", "slow"),
    ("duration_ms > 500", "field", "duration_ms:>500", "slow"),
    ('level = "ERROR"', "field", 'level:"ERROR"', "slow"),
    ("_exists_:user-agent", "field", "user-agent:*", "agent"),
    ("+slow", "operator", "slow", "slow"),
    ("level:ERROR&&status:500", "operator", "level:ERROR AND status:500", "slow"),
    ("user_agent:curl", "did_you_mean", "user-agent:curl", "agent"),
    ("durationMs:>500", "did_you_mean", "duration_ms:>500", "slow"),
    ("servise:questions agent", "did_you_mean", "service:questions agent", "agent"),
    ("message:route", "contains", "route", "no"),
    ("route and db01", "operator", "route AND db01", "no"),
    ("slow or nothere", "operator", "slow OR nothere", "slow"),
    ("level:ERROR && status:500", "operator", "level:ERROR AND status:500", "slow"),
]


@pytest.mark.parametrize(("query", "kind", "instead", "start"), HINTED)
def test_nothing_comes_with_what_to_ask_instead(
    system: System, query: str, kind: str, instead: str, start: str
) -> None:
    within = {"start": "2026-11-20", "end": "2026-11-21"}
    events, page = system.try_search(query, **within)
    assert (events, page["state"], page["complete"]) == ([], "done", True)
    assert kind in {hint["kind"] for hint in page["hints"]}
    assert instead in [hint["query"] for hint in page["hints"]]
    assert {event["message"].split()[0] for event in system.search(instead, **within)} >= {start}
    counted = system.count(query, **within)
    assert instead in [hint["query"] for hint in counted["hints"]]


def test_a_hint_is_a_command_to_copy(system: System) -> None:
    done = system.ess("search", "db01:5432", "--since", "2026-11-20", "--until", "2026-11-21", "--json")
    command = next(line for line in done.stderr.splitlines() if line.startswith("  ") and " search " in line)
    again = subprocess.run(["sh", "-c", f"{command} --json"], capture_output=True, text=True, check=True)
    assert "no route to db01:5432" in [json.loads(line)["message"] for line in again.stdout.splitlines()]


def test_a_range_that_holds_nothing_says_where_events_are(system: System) -> None:
    events, page = system.try_search("agent", start="2017-01-01", end="2017-01-02")
    assert events == []
    assert [hint["kind"] for hint in page["hints"]] == ["empty_range"]
    assert system.search(f"service:{SERVICE} agent", start=page["hints"][0]["start"])
