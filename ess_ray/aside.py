"""Work that grows with rows, done beside the event loop: merging, adding up, the JSON of answers.

In threads of its own: asyncio's may all be waiting for a store that stands still, and what was found must be readable
then, too.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Final, ParamSpec, TypeVar

THREADS: Final = 4
"""Of a process: Arrow lets go of the interpreter's lock, so that some run at once; JSON does not."""

Given = ParamSpec("Given")
Result = TypeVar("Result")

_threads = ThreadPoolExecutor(THREADS, thread_name_prefix="aside")


async def aside(work: Callable[Given, Result], *given: Given.args, **named: Given.kwargs) -> Result:
    """Do `work` in a thread, as `asyncio.to_thread` does. Interrupted, it goes on to its end, which nobody sees."""
    call = partial(contextvars.copy_context().run, work, *given, **named)
    return await asyncio.get_running_loop().run_in_executor(_threads, call)


async def aside_if_any(rows: int, work: Callable[Given, Result], *given: Given.args, **named: Given.kwargs) -> Result:
    """Do `work` on so many rows: in a thread, or at once where there are none, which is over before a thread begins."""
    return await aside(work, *given, **named) if rows else work(*given, **named)
