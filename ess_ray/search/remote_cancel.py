"""Remote cancellation: ending a search that another replica runs, and being asked to end one that this one runs.

The answer's state in the result store is all that replicas share.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Iterable
from typing import Final

from ess_ray.core.errors import EssError, NotFound, Unavailable
from ess_ray.ports import AnswerState, ResultStore

_log = logging.getLogger(__name__)

WATCH_INTERVAL_S: Final = 0.25
"""Pause between looks for wishes: with the look, the end and telling it, a search ends within a second."""
CANCEL_WAIT_S: Final = 5.0
"""How long a cancel waits for another replica: five times what it should take; a dead one reads as failed later."""
LOOK_AGAIN_S: Final = 0.05
"""Pause between looks at the state of a search that runs elsewhere."""
FIRST_LOOK_S: Final = 0.01
"""Before the second look at one that is waited for: small searches take as long."""

AnswerKey = tuple[str, str]
"""(tenant, query id)"""


async def cancel_remotely(results: ResultStore, tenant: str, query_id: str) -> AnswerState:
    """Ask whoever runs a search to end it, and give its state once it has; one that has ended stays as it is.

    Raises NotFound; Unavailable when it still runs after CANCEL_WAIT_S (the wish stays).
    """
    state = await results.state(tenant, query_id)
    if state.under_way:
        await results.request_cancel(tenant, query_id)
    deadline = time.monotonic() + CANCEL_WAIT_S
    while state.under_way:
        if time.monotonic() >= deadline:
            raise Unavailable(
                f"the replica that runs query {query_id} was asked to end it and has not within {CANCEL_WAIT_S:g} s; "
                "look at its state in a few seconds: a replica that is gone is told there as failed"
            )
        await asyncio.sleep(LOOK_AGAIN_S)
        state = await results.state(tenant, query_id)
    return state


async def wait_remotely(
    results: ResultStore, tenant: str, query_id: str, timeout_s: float, rows: int | None = None
) -> None:
    """Wait while a search is running and its answer has fewer than `rows` rows, at most `timeout_s`; return at once
    when it is not there.

    The store is looked at, more and more seldom: nobody tells who does not run a search that it goes on.
    """
    deadline, pause_s = time.monotonic() + timeout_s, FIRST_LOOK_S
    with contextlib.suppress(NotFound):
        while (await results.state(tenant, query_id)).under_way:
            if rows is not None and await results.row_count(tenant, query_id) >= rows:
                return
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                return
            await asyncio.sleep(min(pause_s, left_s))
            pause_s = min(2 * pause_s, LOOK_AGAIN_S)


class WishWatch:
    """Looks, while told to, which of the searches of this replica others asked to end, and has them ended."""

    def __init__(
        self, results: ResultStore, running: Callable[[], Iterable[AnswerKey]], stop: Callable[[AnswerKey], None]
    ) -> None:
        """`running` names the searches of this replica; `stop` is told each that somebody wants to end."""
        self._results, self._running, self._stop = results, running, stop
        self._task: asyncio.Task[None] | None = None

    def look(self, wanted: bool) -> None:
        """Look from now on, or no more. Idempotent."""
        if wanted and self._task is None:
            self._task = asyncio.create_task(self._loop(), name="watch for cancelled searches")
        elif not wanted and self._task is not None:
            self._task.cancel()
            self._task = None

    async def _loop(self) -> None:
        while True:
            await asyncio.sleep(WATCH_INTERVAL_S)
            try:
                for key in await self._results.cancel_requested(list(self._running())):
                    self._stop(key)
            except EssError as error:
                _log.warning("cannot see which searches are to be cancelled: %s", error.message)
            except Exception:  # noqa: BLE001
                # Whatever it is, a loop that ends in silence is worse: searches could not be cancelled any more.
                _log.exception("cannot see which searches are to be cancelled")
