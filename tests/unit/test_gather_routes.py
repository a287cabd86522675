"""Gathering: which virtual node a request goes to, whole and in its order."""

from __future__ import annotations

import asyncio
import random
from collections import Counter

import pytest

from ess_ray.core.errors import BadRequest
from ess_ray.intake.gather import Gatherer, route
from ess_ray.intake.limits import GatherLimits
from ess_ray.testing import MemoryLog
from tests.gathering import VNODES, SlowLog, batch_of, everything, messages, turns


async def test_a_keyed_request_goes_whole_to_the_node_of_its_key_alone_in_its_records() -> None:
    log = SlowLog()
    gatherer = Gatherer(log)
    tasks = [asyncio.create_task(gatherer.submit("default", batch_of(f"plain {n}"))) for n in range(3)]
    tasks += [asyncio.create_task(gatherer.submit("default", batch_of("keyed"), "key", "hash")) for _ in range(2)]
    tasks += [asyncio.create_task(gatherer.submit("other", batch_of("keyed"), "key", "hash2"))]
    await turns()
    log.open.set()
    await asyncio.gather(*tasks)
    keyed = [record for record in await everything(log) if record.request is not None]
    assert len(keyed) == 3
    for record in keyed:
        assert record.request is not None
        assert (record.request.key, record.request.part, record.request.parts) == ("key", 0, 1)
        assert messages([record]) == ["keyed"]
        vnode = await gatherer.vnode_of_key(record.tenant, "key")
        assert set(record.batch.column("vnode").to_pylist()) == {vnode}
    assert Counter(record.request.body_hash for record in keyed if record.request) == {"hash": 2, "hash2": 1}


async def test_a_large_keyed_request_is_numbered_and_a_repeat_is_cut_alike() -> None:
    log = MemoryLog(VNODES)
    batch = batch_of(*["x" * 300_000] * 20)
    for _ in range(2):
        await Gatherer(log).submit("default", batch, "key", "hash")
    requests = Counter(record.request for record in await everything(log))
    assert len(requests) > 1
    assert set(requests.values()) == {2}
    assert {r.part for r in requests if r} == set(range(len(requests)))


async def test_requests_with_ids_go_to_the_node_of_their_ids_in_any_order() -> None:
    log = MemoryLog(VNODES)
    for start in range(40):
        names = [f"{start}-{n}" for n in range(3)]
        await Gatherer(log).submit("default", batch_of("a", "b", "c", ids=names))
        await Gatherer(log).submit("default", batch_of("c", "b", "a", "no id", ids=[*reversed(names), None]))
    nodes: dict[str, set[int]] = {}
    for record in await everything(log):
        for row in record.batch.select(["event_id", "vnode"]).to_pylist():
            if row["event_id"] is not None:
                nodes.setdefault(row["event_id"], set()).add(row["vnode"])
    assert len(nodes) == 120
    assert all(len(found) == 1 for found in nodes.values())
    assert len(set.union(*nodes.values())) == VNODES


async def test_requests_with_ids_share_records_with_their_own_node_only() -> None:
    log = SlowLog()
    gatherer = Gatherer(log)
    tasks = [asyncio.create_task(gatherer.submit("default", batch_of("m", ids=[f"id {n % 20}"]))) for n in range(200)]
    tasks.append(asyncio.create_task(gatherer.submit("default", batch_of("plain"))))
    await turns()
    log.open.set()
    await asyncio.gather(*tasks)
    assert sum(map(len, log.appends)) <= 2 * VNODES + 2
    for record in await everything(log):
        for row in record.batch.select(["event_id", "vnode"]).to_pylist():
            assert row["event_id"] is None or row["vnode"] == route("default", [row["event_id"]], VNODES)


def test_routes_are_for_ever() -> None:
    assert [route("default", [name], 64) for name in ("a", "b", "c")] == [
        route("default", [name], 64) for name in ("a", "b", "c")
    ]
    assert route("default", ["ab", "c"], 1 << 60) != route("default", ["a", "bc"], 1 << 60)
    assert route("default", ["a"], 1 << 60) != route("other", ["a"], 1 << 60)
    assert route("default", ["order-17"], 64) == 37, "a change of the hash would send repeats to another node"


@pytest.mark.parametrize("key", ["", "k" * 101, "é" * 51])
async def test_a_key_has_1_to_100_bytes(key: str) -> None:
    gatherer = Gatherer(MemoryLog(VNODES))
    with pytest.raises(BadRequest, match="100 bytes"):
        await gatherer.submit("default", batch_of("m"), key, "hash")
    await gatherer.submit("default", batch_of("m"), "k" * 100, "hash")


async def test_what_has_one_route_keeps_its_order_with_and_without_keys() -> None:
    log = MemoryLog(VNODES)
    gatherer = Gatherer(log, limits=GatherLimits(max_append_bytes=64 * 1024))
    expected = []
    for number in range(40):
        key = f"key {number}" if number % 2 else None
        ids = [f"id {number}"] if number % 3 == 0 else None
        await gatherer.submit("acme", batch_of(f"{number}", ids=ids), key, "hash", route_name="a file")
        expected.append(f"{number}")
        await gatherer.submit("acme", batch_of("another's"))
    found = [record for record in await everything(log) if messages([record]) != ["another's"]]
    assert messages(found) == expected
    assert {record.batch.column("vnode")[0].as_py() for record in found} == {route("acme", ["a file"], VNODES)}
    assert await gatherer.vnode_of_key("acme", "k", "a file") == route("acme", ["a file"], VNODES)


async def test_a_large_request_is_cut_into_records_in_its_order() -> None:
    log = MemoryLog(VNODES)
    texts = [f"{number} {random.Random(number).randbytes(500).hex()}" for number in range(5_000)]
    await Gatherer(log).submit("default", batch_of(*texts))
    found = await everything(log)
    assert len(found) > 3
    assert messages(found) == texts
    assert len({record.batch.column("vnode")[0].as_py() for record in found}) == 1


@pytest.mark.parametrize("name", ["", "x" * 101, "ö" * 51])
async def test_a_route_has_a_name_of_a_hundred_bytes_at_most(name: str) -> None:
    with pytest.raises(BadRequest, match="Ess-Route"):
        await Gatherer(MemoryLog(VNODES)).submit("default", batch_of("a"), route_name=name)
