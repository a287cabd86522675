"""Servers of the listener over loopback sockets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from ess_ray.intake.listening.tcp import TcpServer


@asynccontextmanager
async def opened(server: Any) -> AsyncIterator[Any]:
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


async def connect(server: TcpServer, **more: Any) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection("127.0.0.1", server.port, **more)


async def send(server: TcpServer, data: bytes) -> None:
    _, writer = await connect(server)
    writer.write(data)
    await writer.drain()
    writer.close()
    await writer.wait_closed()
