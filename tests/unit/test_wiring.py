"""Calls to actors: what becomes of their answers."""

from __future__ import annotations

import asyncio

import pytest

from ess_ray.core.errors import Unavailable
from ess_ray.runtime.wiring import call


async def test_a_cancellation_that_comes_with_the_answer_is_not_lost() -> None:
    """Else a search that is stopped in that moment runs on, and who stopped it waits for its end."""
    answer: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    calling = asyncio.create_task(call(answer, "somebody"))
    for _ in range(3):  # until it waits
        await asyncio.sleep(0)
    answer.set_result(1)
    calling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await calling


async def test_who_does_not_answer_in_time_is_unavailable() -> None:
    never: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    with pytest.raises(Unavailable, match=r"somebody did not answer within 0\.01 s"):
        await call(never, "somebody", 0.01)
