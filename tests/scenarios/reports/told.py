"""What is found both in flight and stored: a line of a report is asked twice."""

from __future__ import annotations

from typing import Any

from tests.systems import System

RANGE = {"start": "2026-11-20", "end": "2026-11-21"}
AT = "2026-11-20T12:00:00Z"


def push_twice(system: System, service: str, events: list[dict[str, Any]]) -> None:
    """Push events to be stored, and again to stay in flight, as those of two hosts."""
    for host in ("stored", "in-flight"):
        system.push([{"timestamp": AT, "service": service, "host": host, **event} for event in events])
        if host == "stored":
            assert system.ess("flush").returncode == 0


def messages(system: System, service: str, query: str) -> list[str]:
    """Give the messages that a query finds, the same in flight and stored, in order."""
    found: dict[str, list[str]] = {"stored": [], "in-flight": []}
    for event in system.search(f"service:{service} ({query})", **RANGE):
        found[event["host"]].append(event["message"])
    assert sorted(found["stored"]) == sorted(found["in-flight"])
    return sorted(found["stored"])


def attributes(system: System, service: str, message: str) -> dict[str, Any]:
    """Give the attributes of the events of a message, which are alike in flight and stored."""
    found = [event["attributes"] for event in system.search(f'service:{service} message:"{message}"', **RANGE)]
    assert len(found) == 2
    assert found[0] == found[1]
    one: dict[str, Any] = found[0]
    return one
