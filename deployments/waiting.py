"""Requests that wait for something: for how long, and no longer than their client is there."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, Final

from fastapi import Request

MAX_WAIT_S: Final = 30.0
"""How long a request waits for what it asks: then what is known by then is told. Balancers wait 60 s."""
GONE: Final = "the client that asked has gone"


async def while_connected(request: Request, waiting: Coroutine[Any, Any, None]) -> bool:
    """Wait for something until it is there, or the request's client has gone: False then, and the waiting is ended.

    The request's body has been read. Raises what the waiting raises.
    """
    wanted = asyncio.create_task(waiting, name="wait for a client")
    gone = asyncio.create_task(_until_gone(request), name="listen for the client's end")
    try:
        await asyncio.wait({wanted, gone}, return_when=asyncio.FIRST_COMPLETED)
        if wanted.done():
            wanted.result()
        return wanted.done()
    finally:
        wanted.cancel()
        gone.cancel()
        await asyncio.gather(wanted, gone, return_exceptions=True)


async def _until_gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        continue
