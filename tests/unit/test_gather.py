"""Gathering: at once when idle, together when busy, routed alike for alike, bounded, and nobody hurt by another."""

from __future__ import annotations

import asyncio
import random
from collections import Counter

import pytest

from ess_ray.core.errors import BadRequest, KeyConflict, Unavailable
from ess_ray.intake.gate import Gate
from ess_ray.intake.gather import PROBE_INTERVAL_S, SLOW_APPEND_S, Gatherer
from ess_ray.intake.idempotency import WINDOW_US, KeyGuard
from ess_ray.intake.limits import GatherLimits
from ess_ray.ports import MAX_RECORD_BYTES
from ess_ray.record import KnownRequest
from ess_ray.testing import MemoryLog
from tests.gathering import T0_US, VNODES, SlowLog, batch_of, everything, messages, turns


async def test_a_batch_alone_goes_at_once_and_is_there_when_submit_returns() -> None:
    log = MemoryLog(VNODES)
    await Gatherer(log).submit("acme", batch_of("a", "b"))
    (record,) = await everything(log)
    assert (record.tenant, messages([record])) == ("acme", ["a", "b"])


async def test_no_rows_need_no_log() -> None:
    log = SlowLog()
    await Gatherer(log).submit("default", batch_of())
    assert log.started == 0


async def test_what_arrives_during_an_append_goes_together_with_the_next() -> None:
    log, tasks = SlowLog(), []
    gatherer = Gatherer(log)
    first = asyncio.create_task(gatherer.submit("default", batch_of("first")))
    await turns()
    assert log.started == 1
    for number in range(50):
        tasks.append(asyncio.create_task(gatherer.submit(f"t{number % 2}", batch_of(str(number)))))
    await turns()
    assert log.started == 1
    assert not any(task.done() for task in (first, *tasks))
    log.open.set()
    await asyncio.gather(first, *tasks)
    assert [len(records) for records in log.appends] == [1, 2]  # one record for each tenant
    records = await everything(log)
    assert Counter(messages(records)) == Counter(["first", *map(str, range(50))])
    assert {r.tenant for r in records} == {"default", "t0", "t1"}
    assert gatherer.gate.held_bytes == 0


async def test_full_records_do_not_wait_for_the_append_before_up_to_a_few() -> None:
    log = SlowLog()
    gatherer = Gatherer(log, limits=GatherLimits(max_appends=3))
    tasks = []
    for _ in range(10):
        tasks.append(asyncio.create_task(gatherer.submit("default", batch_of("x" * 500_000))))
        await turns()
    assert log.started == 3
    log.open.set()
    await asyncio.gather(*tasks)
    assert len(messages(await everything(log))) == 10


async def test_a_request_that_fits_a_record_is_never_cut_by_its_neighbours() -> None:
    log = SlowLog()
    gatherer = Gatherer(log)
    sizes = [100_000, 300_000, 430_000, 10, 700_000, 440_000, 50_000]
    tasks = [
        asyncio.create_task(gatherer.submit("default", batch_of(*[f"{n} " + "x" * (size // 10)] * 10)))
        for n, size in enumerate(sizes)
    ]
    await turns()
    log.open.set()
    await asyncio.gather(*tasks)
    records = await everything(log)
    for number in range(len(sizes)):
        holding = [record for record in records if any(m.startswith(f"{number} ") for m in messages([record]))]
        assert len(holding) == 1
    assert all(len(record.value) <= MAX_RECORD_BYTES for append in log.appends for record in append)


async def test_a_request_of_many_records_goes_to_one_virtual_node_in_one_append() -> None:
    log = SlowLog()
    log.open.set()
    await Gatherer(log).submit("default", batch_of(*["x" * 400_000] * 20))
    (append,) = log.appends
    assert len(append) > 1
    assert len({record.vnode for record in append}) == 1


async def test_batches_are_spread_evenly_over_the_virtual_nodes() -> None:
    log = MemoryLog(VNODES)
    gatherer = Gatherer(log)
    for number in range(400):
        await gatherer.submit("default", batch_of(*["x" * 100] * (1 + number % 7)))
    loads = Counter(
        row["vnode"] for record in await everything(log) for row in record.batch.select(["vnode"]).to_pylist()
    )
    assert len(loads) == VNODES
    assert max(loads.values()) < 1.1 * sum(loads.values()) / VNODES


# --------------------------------------------------------------------------------------------------------- failures
async def test_a_failed_append_fails_all_its_submitters_and_none_of_the_next() -> None:
    log = SlowLog()
    gatherer = Gatherer(log)
    tasks = [asyncio.create_task(gatherer.submit("default", batch_of(str(n)))) for n in range(5)]
    await turns()
    log.error = Unavailable("down", retry=1)
    log.open.set()
    ended = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(error, Unavailable) and error.message == "down" for error in ended)
    assert len({id(error) for error in ended}) == 5
    log.error = None
    await gatherer.submit("default", batch_of("after"))
    assert messages(await everything(log)) == ["after"]
    assert gatherer.gate.held_bytes == 0


async def test_a_log_that_breaks_its_promise_is_unavailable_too(caplog: pytest.LogCaptureFixture) -> None:
    log = SlowLog()
    log.error = RuntimeError("a bug")
    log.open.set()
    gatherer = Gatherer(log)
    with pytest.raises(Unavailable):
        await gatherer.submit("default", batch_of("m"))
    await turns()
    assert "should have named" in caplog.text
    log.error = None
    await gatherer.submit("default", batch_of("after"))


async def test_a_caller_that_goes_hurts_nobody() -> None:
    log = SlowLog()
    gatherer = Gatherer(log)
    first = asyncio.create_task(gatherer.submit("default", batch_of("in flight, gone")))
    await turns()
    waiting = [asyncio.create_task(gatherer.submit("default", batch_of(name))) for name in ("a", "waiting, gone", "b")]
    await turns()
    first.cancel()
    waiting[1].cancel()
    await turns()
    log.open.set()
    await asyncio.gather(waiting[0], waiting[2])
    assert {"a", "b"} <= set(messages(await everything(log)))
    assert "waiting, gone" not in messages(await everything(log))
    assert gatherer.gate.held_bytes == 0


async def test_too_much_waiting_is_refused_until_it_is_durable() -> None:
    log = SlowLog()
    gatherer = Gatherer(log, gate=Gate(4_000_000))
    tasks = [asyncio.create_task(gatherer.submit("default", batch_of("x" * 600_000))) for _ in range(3)]
    await turns()
    with pytest.raises(Unavailable, match="kept for smaller ones"):
        await gatherer.submit("default", batch_of("x" * 800_000))
    small = asyncio.create_task(gatherer.submit("default", batch_of("m")))
    other = asyncio.create_task(gatherer.submit("other", batch_of("x" * 400_000)))
    await turns()
    log.open.set()
    await asyncio.gather(*tasks, small, other)
    await gatherer.submit("default", batch_of("x" * 800_000))
    assert len(messages(await everything(log))) == 6
    assert gatherer.gate.held_bytes == 0


async def test_what_a_caller_claims_goes_over_to_its_batch_and_stays_until_that_is_let_go() -> None:
    log = SlowLog()
    gatherer = Gatherer(log)
    claim = gatherer.gate.claim("default")
    claim.hold(1_000_000)
    task = asyncio.create_task(gatherer.submit("default", batch_of("m"), claim=claim))
    await turns()
    assert 0 < gatherer.gate.held_bytes < 1_000, "the batch alone"
    task.cancel()
    await turns()
    claim.close()
    assert gatherer.gate.held_bytes > 0, "it is being appended, whoever waits for it"
    log.open.set()
    await turns()
    assert gatherer.gate.held_bytes == 0


async def test_an_event_that_fits_no_record_fails_alone() -> None:
    log = SlowLog()
    gatherer = Gatherer(log)
    source = "".join(chr(32 + i * i * 31 % 90) for i in range(4000))
    huge = asyncio.create_task(gatherer.submit("default", batch_of(noise(2_500_000) + source)))
    small = asyncio.create_task(gatherer.submit("default", batch_of("small")))
    await turns()
    log.open.set()
    with pytest.raises(BadRequest):
        await huge
    await small


def noise(characters: int) -> str:
    import random

    return random.Random(1).randbytes(characters // 2).hex()


# ------------------------------------------------------------------------------------------------------------- keys
class Owner:
    """Knows what a writer would, or is not there."""

    def __init__(self) -> None:
        self.known: dict[tuple[str, str], KnownRequest] = {}
        self.there = True

    async def known_request(self, vnode: int, tenant: str, key: str) -> KnownRequest | None:
        if not self.there:
            raise Unavailable("no owner just now")
        return self.known.get((tenant, key))


async def test_a_key_with_another_body_is_refused() -> None:
    owner, now = Owner(), [T0_US]
    guard = KeyGuard(owner.known_request, lambda: now[0])
    await guard.check(0, "default", "k", "one")
    await guard.check(0, "default", "k", "one")
    await guard.check(0, "other", "k", "two")
    with pytest.raises(KeyConflict):
        await guard.check(0, "default", "k", "two")
    now[0] += WINDOW_US + 1
    await guard.check(0, "default", "k", "two")
    guard.forget("default", "k", "one")  # not what it is known with: stays
    with pytest.raises(KeyConflict):
        await guard.check(0, "default", "k", "one")
    guard.forget("default", "k", "two")
    await guard.check(0, "default", "k", "one")


async def test_the_owner_is_asked_and_its_absence_refuses_nothing() -> None:
    owner = Owner()
    guard = KeyGuard(owner.known_request, lambda: T0_US, max_recent=2)
    owner.known[("default", "k")] = KnownRequest("one", frozenset({(0, 2)}))
    for _ in range(2):
        with pytest.raises(KeyConflict):
            await guard.check(0, "default", "k", "two")
    assert await guard.check(0, "default", "k", "one") == owner.known[("default", "k")]
    guard.done("default", "k", "one")
    assert await guard.check(0, "default", "k", "one") == KnownRequest("one", whole=True), "the owner may be behind"
    owner.there = False
    await guard.check(0, "default", "new", "x")
    await guard.check(0, "default", "newer", "x")
    await guard.check(0, "default", "k", "two")  # pushed out of the memory by the newer ones


# ------------------------------------------------------------------------------------------------ whether the log takes
class Clock:
    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


async def test_a_failed_append_is_trouble_at_once_until_one_succeeds() -> None:
    log = SlowLog()
    log.open.set()
    gatherer = Gatherer(log)
    assert gatherer.trouble() == []
    log.error = Unavailable("the disk is full")
    with pytest.raises(Unavailable):
        await gatherer.submit("acme", batch_of("a"))
    (told,) = gatherer.trouble()
    assert "the disk is full" in told
    log.error = None
    await gatherer.submit("acme", batch_of("b"))
    assert gatherer.trouble() == []


async def test_an_append_that_does_not_end_is_trouble() -> None:
    log, clock = SlowLog(), Clock()
    gatherer = Gatherer(log, clock_s=clock)
    pushing = asyncio.create_task(gatherer.submit("acme", batch_of("a")))
    await turns()
    assert gatherer.trouble() == []
    clock.now_s += SLOW_APPEND_S
    (told,) = gatherer.trouble()
    assert "has not ended for 2.0 s" in told
    log.open.set()
    await pushing
    assert gatherer.trouble() == []


async def test_after_a_failure_as_much_as_failed_is_tried_without_a_push() -> None:
    """Nobody pushes to what is not healthy; and a disk that still takes a little may be full for what is pushed."""
    log, clock = SlowLog(), Clock()
    log.open.set()
    gatherer = Gatherer(log, clock_s=clock)
    await gatherer.try_again()
    assert log.started == 0, "nothing has failed"
    log.error = Unavailable("the disk is full")
    with pytest.raises(Unavailable):
        await gatherer.submit("acme", batch_of(random.Random(1).randbytes(200_000).hex()))
    with pytest.raises(Unavailable):
        await _later(gatherer, clock)
    assert gatherer.trouble()
    await gatherer.try_again()
    assert log.started == 2, "not at any rate that probes come at"
    log.error = None
    await _later(gatherer, clock)
    assert gatherer.trouble() == []
    ((tried,),) = log.appends
    size = len(tried.value) + sum(len(value) for _, value in tried.headers)
    assert 190_000 < size < MAX_RECORD_BYTES
    assert messages(await everything(log)) == [], "it holds no event"


async def _later(gatherer: Gatherer, clock: Clock) -> None:
    clock.now_s += PROBE_INTERVAL_S
    await gatherer.try_again()


async def test_a_request_that_is_wrong_is_no_trouble_of_the_log() -> None:
    log = SlowLog()
    log.open.set()
    log.error = BadRequest("too large for a record")
    gatherer = Gatherer(log)
    with pytest.raises(BadRequest):
        await gatherer.submit("acme", batch_of("a"))
    assert gatherer.trouble() == []
