"""The gate: bounded, shared among tenants and requests, small ones always in, and all that is given back is free."""

from __future__ import annotations

import random

import pytest

from ess_ray.core.errors import Unavailable
from ess_ray.intake.gate import MAX_HELD_BYTES, Claim, Gate

KIB = 1024
MIB = 1024 * 1024


def grown(claim: Claim, step_bytes: int, most_bytes: int) -> int:
    """Have a claim hold more until it is refused or has enough; gives what it holds."""
    try:
        while claim.held_bytes < most_bytes:
            claim.hold(claim.held_bytes + step_bytes)
    except Unavailable:
        pass
    return claim.held_bytes


def test_three_hundred_that_grow_leave_room_for_small_ones_and_for_others() -> None:
    gate = Gate()
    slow = [gate.claim("slow") for _ in range(300)]
    for _ in range(10 * MIB // (16 * KIB)):
        for claim in slow:
            grown(claim, 16 * KIB, claim.held_bytes + 16 * KIB)
    assert gate.held_bytes < 130 * MIB
    assert min(claim.held_bytes for claim in slow) > 0
    for tenant, most_bytes in (("slow", 300 * KIB), ("other", 8 * MIB)):
        claim = gate.claim(tenant)
        claim.hold(most_bytes)
        claim.close()


def test_a_thousand_that_hold_as_much_as_they_can_are_within_the_limit_and_a_hundred_events_go_on() -> None:
    gate = Gate()
    for number in range(999):
        grown(gate.claim(f"tenant {number % 7}"), 64 * KIB, 10 * MIB)
    assert gate.held_bytes <= MAX_HELD_BYTES
    for number in range(8):
        gate.claim(f"tenant {number}").hold(40 * KIB)


def test_alone_one_holds_a_body_of_64_mib_and_some_of_what_it_was_compressed() -> None:
    assert grown(Gate().claim("t"), MIB, MAX_HELD_BYTES) == 72 * MIB


def test_what_is_refused_keeps_what_it_held_and_fits_when_others_have_gone() -> None:
    gate = Gate(1_000)
    first, second = gate.claim("a"), gate.claim("a")
    first.hold(300)
    second.hold(100)
    with pytest.raises(Unavailable) as refused:
        second.hold(400)
    assert refused.value.details == {"limit": 1_000}
    with pytest.raises(Unavailable):
        second.check(400)
    assert (second.held_bytes, gate.held_bytes) == (100, 400)
    first.close()
    first.close()
    second.check(350)
    second.hold(350)
    second.hold(10)
    assert gate.held_bytes == 10
    assert [gate.most_held(), gate.most_held()] == [400, 10]


def test_a_claim_that_was_passed_on_is_the_other_ones() -> None:
    gate = Gate(1_000)
    mine = gate.claim("a")
    mine.hold(100)
    other = mine.pass_on()
    mine.close()
    assert gate.held_bytes == 100
    other.close()
    assert gate.held_bytes == 0


def test_a_thread_that_goes_on_after_its_request_holds_nothing() -> None:
    gate = Gate(1_000)
    claim = gate.claim("a")
    claim.hold(100)
    claim.close()
    with pytest.raises(Unavailable, match="over"):
        claim.hold(200)
    assert gate.held_bytes == 0


def test_whatever_is_taken_and_given_back_adds_up() -> None:
    source, gate = random.Random(4), Gate(10_000)
    claims: list[Claim] = []
    for _ in range(5_000):
        if source.random() < 0.3 or not claims:
            claims.append(gate.claim(source.choice("abc")))
        claim = source.choice(claims)
        if source.random() < 0.3:
            claims.remove(claim)
            claim.close()
        else:
            before = claim.held_bytes
            try:
                claim.hold(source.randrange(3_000))
            except Unavailable:
                assert claim.held_bytes == before
        assert gate.held_bytes == sum(one.held_bytes for one in claims) <= 10_000
    for claim in claims:
        claim.close()
    assert (gate.held_bytes, gate.tenants) == (0, 0)
