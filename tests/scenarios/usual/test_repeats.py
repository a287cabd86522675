"""Requests sent again: whichever push replica they meet, once is once and another body is refused."""

from __future__ import annotations

from tests.systems import System

TRIES = 12
"""Two replicas answer in turn or at random: not to have met both in so many tries has a chance of one in 2,000."""


def test_a_key_means_the_same_at_every_replica(system: System) -> None:
    events = [{"message": f"keyed {number}"} for number in range(3)]
    system.push(events, **{"Idempotency-Key": "k-1"})
    for _ in range(TRIES):
        system.push(events, **{"Idempotency-Key": "k-1"})
        other = system.http.post("/push/v1/events", json=[{"message": "other"}], headers={"Idempotency-Key": "k-1"})
        assert other.status_code == 422, other.text
    for number in range(TRIES):
        key = {"Idempotency-Key": f"k-2-{number}"}
        system.push(events, **key)
        assert system.http.post("/push/v1/events", json=[{"message": "x"}], headers=key).status_code == 422
    assert len(system.search("keyed")) == len(events) * (1 + TRIES)
    system.ess("flush")
    assert len(system.search("keyed")) == len(events) * (1 + TRIES)


def test_an_id_sent_again_through_any_replica_is_one_event(system: System) -> None:
    for _ in range(TRIES):
        system.push([{"message": "identified", "id": "e-1"}])
    assert len(system.search("identified")) == 1
