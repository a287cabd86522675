"""How many rows an answer has by now, and being woken when it has as many as somebody waits for."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator


class Growth:
    """The rows of one answer that can be read by now. Lives on one event loop."""

    def __init__(self) -> None:
        self.rows = 0
        self._waiting: dict[asyncio.Future[None], int] = {}

    def add(self, rows: int) -> None:
        """Tell that so many more can be read, and wake who waited for them."""
        self.rows += rows
        for future, wanted in self._waiting.items():
            if wanted <= self.rows and not future.done():
                future.set_result(None)

    @contextlib.contextmanager
    def reaching(self, rows: int) -> Iterator[asyncio.Future[None]]:
        """Give what is done as soon as there are so many; within the block it may be waited for, by one or by many."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if rows <= self.rows:
            future.set_result(None)
        self._waiting[future] = rows
        try:
            yield future
        finally:
            del self._waiting[future]
            future.cancel()
