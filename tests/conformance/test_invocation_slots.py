"""What every InvocationSlots keeps: a cap, slots that are given back once however often, and names of their own."""

from __future__ import annotations

import asyncio

from ess_ray.ports import InvocationSlots


async def test_no_more_are_taken_than_there_are(slots: InvocationSlots) -> None:
    taken = await asyncio.gather(*(slots.take() for _ in range(slots.cap + 5)))
    names = [name for name in taken if name is not None]
    assert len(names) == len(set(names)) == slots.cap
    assert await slots.take() is None


async def test_a_slot_given_back_twice_is_one(slots: InvocationSlots) -> None:
    names = [await slots.take() for _ in range(slots.cap)]
    assert names[0] is not None
    await slots.give_back(names[0])
    await slots.give_back(names[0])
    assert await slots.take() is not None
    assert await slots.take() is None


async def test_giving_back_what_nobody_took_frees_nothing(slots: InvocationSlots) -> None:
    for _ in range(slots.cap):
        assert await slots.take() is not None
    await slots.give_back("never-taken")
    assert await slots.take() is None
