"""Ray's actors run on uvloop, whose transports are others than asyncio's: the listener's protocols work on it, too."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
import uvloop

from tests.unit import test_listening_own_servers as own

TRIED: list[Callable[[], Awaitable[None]]] = [
    own.test_a_chunk_of_forward_is_acknowledged_once_it_is_stored,
    own.test_a_shared_key_tells_the_tenant_and_lets_nobody_else_in,
    own.test_otlp_over_grpc_is_answered_once_it_is_stored,
]


@pytest.mark.parametrize("tried", TRIED, ids=lambda tried: tried.__name__)
def test_on_uvloop(tried: Callable[[], Awaitable[None]]) -> None:
    async def run() -> None:
        assert isinstance(asyncio.get_running_loop(), uvloop.Loop)
        await tried()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run())
