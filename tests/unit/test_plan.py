"""What covers what: views, snapshot, and the offsets that neither has; tasks by bytes."""

from __future__ import annotations

from collections.abc import Callable

import pyarrow as pa
import pytest

from ess_ray.core.query import Query
from ess_ray.ports import ObjectEntry, VnodeRange
from ess_ray.search.plan import cut_tasks, in_scan_order, not_stored, uncovered, watermark_us


@pytest.mark.parametrize(
    ("end", "view", "stored", "missing"),
    [
        (10, VnodeRange(4, 10), 4, []),
        (10, VnodeRange(4, 12), 10, []),
        (10, VnodeRange(4, 10), 3, [(3, 4)]),  # a snapshot older than the view's beginning
        (10, VnodeRange(4, 8), 4, [(8, 10)]),  # an owner that did not catch up
        (10, VnodeRange(4, 8), 10, []),
        (10, None, 10, []),  # no owner, but all is stored
        (10, None, 7, [(7, 10)]),
        (10, None, None, [(0, 10)]),
        (0, None, None, []),
    ],
)
def test_uncovered(end: int, view: VnodeRange | None, stored: int | None, missing: list[tuple[int, int]]) -> None:
    ranges = {} if view is None else {0: view}
    got = uncovered({0: end}, {0: 0}, ranges, {0: stored})
    assert [(gap.first, gap.end) for gap in got] == missing


def test_buffered_rows_that_the_snapshot_holds_are_dropped(make_events: Callable[..., pa.Table], t0_us: int) -> None:
    rows = pa.concat_tables([make_events([t0_us] * 4, vnode=0), make_events([t0_us] * 4, vnode=1)])
    kept = not_stored(rows, {0: 2, 1: None})
    pairs = list(zip(kept.column("vnode").to_pylist(), kept.column("offset").to_pylist(), strict=True))
    assert pairs == [(0, 2), (0, 3), (1, 0), (1, 1), (1, 2), (1, 3)]


def entry(number: int, size: int, min_us: int, max_us: int) -> ObjectEntry:
    return ObjectEntry(f"k{number}", size, "default", "2026-01-01", 0, 1, min_us, max_us, 0)


def test_tasks_are_cut_by_bytes_in_scan_order() -> None:
    entries = [entry(0, 5, 0, 10), entry(1, 5, 5, 30), entry(2, 50, 7, 20), entry(3, 1, 1, 40)]
    ordered = in_scan_order(entries, "newest")
    assert [e.key for e in ordered] == ["k3", "k1", "k2", "k0"]
    tasks = cut_tasks("default", Query(), ordered, 10)
    assert [[e.key for e in task.entries] for task in tasks] == [["k3", "k1"], ["k2"], ["k0"]]
    assert watermark_us(tasks[1:], "newest") == 20
    assert watermark_us(tasks[1:], "oldest") == 0
    assert watermark_us([], "newest") is None
