"""Run one scan task over a store: what a Ray task, a Lambda invocation and a search in place all do.

May live here: opening objects and gathering their matches. May not: scheduling, merging tasks, any executor's library.
"""

from __future__ import annotations

from collections.abc import Callable

from ess_ray.core.chunk import FOOTERS, GAP_BYTES, index_first, open_object, scan_object
from ess_ray.core.errors import EssError
from ess_ray.core.merge import OrderedMerge
from ess_ray.ports import ObjectStore, ScanResult, ScanTask


def run_task(store: ObjectStore, task: ScanTask, cancelled: Callable[[], bool] = lambda: False) -> ScanResult:
    """Scan a task's objects one after the other; one that cannot be read is named in `failed`, never left out.

    As soon as `limit` rows are found, the objects that follow are asked only for rows that can still be among them,
    and those that can hold none are not opened.
    """
    merge = OrderedMerge(task.query.order, task.query.limit)
    failed: list[tuple[str, str]] = []
    matched = bytes_read = gets = repeats = hits = misses = 0
    gap_bytes = getattr(store, "coalesce_bytes", GAP_BYTES)  # a store that wraps another need not say it
    with_index = index_first(task.query, task.probe)
    for entry in task.entries:
        if cancelled():
            break
        query = task.query.bounded(merge.bound_us)
        if not query.overlaps(entry.min_us, entry.max_us):
            continue
        try:
            reader = open_object(store, entry.key, entry.size, FOOTERS, gap_bytes, with_index)
            from_memory = reader.gets == 0
            matches = scan_object(reader, query, cancelled, task.probe)
        except (EssError, OSError) as error:
            failed.append((entry.key, str(error)))
            continue
        matched += matches.rows_matched
        repeats += matches.duplicates_suppressed
        bytes_read += reader.bytes_read
        gets += reader.gets
        hits, misses = hits + from_memory, misses + (not from_memory)
        merge.add(matches.rows)
    rows = merge.release(None)
    return ScanResult(
        rows, matched, bytes_read, gets, repeats + merge.duplicates_suppressed, tuple(failed), hits, misses
    )
