"""The scan function with a stopwatch: a Lambda handler that answers where an invocation's time went instead of rows."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Generator
from contextlib import closing
from typing import Any

from ess_ray.adapters.store_url import open_store
from ess_ray.core.chunk import read
from ess_ray.ports import ObjectStore
from ess_ray.search.scan import run_task
from ess_ray.search.wire import decode_task


class Watch:
    """Seconds of many threads: of the clock within requests, and of the CPU within decompression."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.reset()

    def reset(self) -> None:
        self.get_s = self.decompression_s = 0.0

    def timed(self, call: Callable[..., Any], name: str, clock: Callable[[], float]) -> Callable[..., Any]:
        """Give a call that adds what it takes to a figure of this watch."""

        def measured(*arguments: Any) -> Any:
            begun_s = clock()
            try:
                return call(*arguments)
            finally:
                with self._lock:
                    setattr(self, name, getattr(self, name) + clock() - begun_s)

        return measured


class _Timed:
    """What a scan reads of a store, timed."""

    def __init__(self, store: ObjectStore, watch: Watch) -> None:
        self.coalesce_bytes = store.coalesce_bytes
        self.get_range = watch.timed(store.get_range, "get_s", time.perf_counter)
        self.get_suffix = watch.timed(store.get_suffix, "get_s", time.perf_counter)
        self._stream, self._watch = store.stream_range, watch

    def stream_range(self, key: str, offset: int, length: int) -> Generator[bytes, None, None]:
        """Only what is waited for counts: what arrives while pages are scanned takes no time."""
        with closing(self._stream(key, offset, length)) as pieces:
            waited = self._watch.timed(next, "get_s", time.perf_counter)
            while piece := waited(pieces, b""):
                yield piece


_watch = Watch()
_table: Any = _Timed(open_store(os.environ["TABLE_URL"], os.environ), _watch)
read.text_blocks = _watch.timed(read.text_blocks, "decompression_s", time.thread_time)


def handler(event: Any, context: object) -> dict[str, Any]:
    """Run a scan task with `objects_at_once` objects in work; gives figures in seconds."""
    _watch.reset()
    begun_s, cpu_s = time.perf_counter(), time.process_time()
    result = run_task(_table, decode_task(event), objects_at_once=event["objects_at_once"])
    return {
        "wall_s": time.perf_counter() - begun_s,
        "cpu_s": time.process_time() - cpu_s,
        "get_s": _watch.get_s,
        "decompression_s": _watch.decompression_s,
        "gets": result.cost.gets,
        "rows": result.partial.rows_matched,
        "failed": result.failed,
    }
