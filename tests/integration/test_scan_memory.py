"""The memory of a scan task is bounded, whatever the object's size: measured as what the process's peak grows by."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from ess_ray.adapters.object_store import LocalObjectStore
from ess_ray.core import chunk
from ess_ray.core.chunk import read
from ess_ray.core.chunk.read import WINDOW_GAPS
from ess_ray.core.query import Query
from ess_ray.language import parse
from ess_ray.ports import ObjectEntry, ScanTask
from ess_ray.search.scan import run_task

MAX_TASK_BYTES = 256 * 1024 * 1024
ATTEMPTS = 3
"""The same scan grows by 140 to 300 MB on a machine that has much to do, as its threads take turns or do not: what it
needs is what it can do with."""
MESSAGE_BYTES = 40_000
TABLES, ROWS = 10, 500
"""In all 200 MB of messages, 100 MB stored: random hex digits, of which zstd takes half."""

SCAN = """
import json, sys
from pathlib import Path
from ess_ray.adapters.object_store import LocalObjectStore
from ess_ray.language import parse
from ess_ray.core.query import Query
from ess_ray.ports import ObjectEntry, ScanTask
from ess_ray.search.scan import run_task

class Remote(LocalObjectStore):
    coalesce_bytes = int(sys.argv[3])

def peak_bytes():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))

store, info = Remote(Path(sys.argv[1])), sys.argv[2]
size = store.head(info).size
entry = ObjectEntry(info, size, "default", "2026-09-21", 0, 0, 0, 0, 0)
before = peak_bytes()
told = []
for text in json.loads(sys.argv[4]):
    result = run_task(store, ScanTask("default", Query(parse(text), limit=int(sys.argv[5])), (entry,)))
    assert not result.failed, result.failed
    told.append([result.partial.rows_matched, result.cost.bytes_read, peak_bytes() - before, result.cost.gets])
print(json.dumps(told))
"""


@pytest.fixture(scope="module")
def stored(
    tmp_path_factory: pytest.TempPathFactory, make_events: Callable[..., pa.Table], t0_us: int
) -> tuple[Path, str, int]:
    """Give a store's folder, the key of one large object in it, and its size."""
    random = np.random.default_rng(7)

    def tables() -> Iterator[pa.Table]:
        for number in range(TABLES):
            text = random.bytes(ROWS * MESSAGE_BYTES // 2).hex()
            messages = [text[at : at + MESSAGE_BYTES] for at in range(0, len(text), MESSAGE_BYTES)]
            messages[7] = f"the needle {number}"
            first_us = t0_us + number * ROWS
            yield make_events(list(range(first_us, first_us + ROWS)), messages)

    encoded = chunk.encode_stream(tables(), TABLES * ROWS, (), requests=())
    key = encoded.key("default")
    root = tmp_path_factory.mktemp("store")
    LocalObjectStore(root).put(key, encoded.data)
    return root, key, len(encoded.data)


@pytest.mark.parametrize("coalesce_bytes", [32 * 1024, 1024 * 1024])
def test_a_scan_task_s_memory_does_not_grow_with_the_object(stored: tuple[Path, str, int], coalesce_bytes: int) -> None:
    root, key, size = stored
    # Nothing that the index could rule out: short texts, texts in any case, a regex that every row is tested for.
    queries = ["/[g-z]{9}/", "zq", "needle", "-/[0-9a-f]{500}/"]
    command = [sys.executable, "-c", SCAN, str(root), key, str(coalesce_bytes), json.dumps(queries), "1000"]
    told: list[list[int]] = []
    for _ in range(ATTEMPTS):
        told = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        if max(grown for _, _, grown, _ in told) < MAX_TASK_BYTES:
            break
    assert [rows for rows, *_ in told] == [0, 0, TABLES, TABLES]
    assert told[0][1] > size / 2, "the scan is of the whole object"
    assert max(grown for _, _, grown, _ in told) < MAX_TASK_BYTES, told
    if coalesce_bytes >= read.MIN_STREAM_GAP_BYTES:
        assert max(gets for *_, gets in told) <= 3, told


class _Watched(LocalObjectStore):
    """A remote store that tells the longest range that was asked of it."""

    coalesce_bytes = 1024 * 1024
    longest = 0

    def get_range(self, key: str, offset: int, length: int) -> bytes:
        self.longest = max(self.longest, length)
        return super().get_range(key, offset, length)


def test_objects_in_work_together_share_what_one_may_read_ahead(
    stored: tuple[Path, str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(read, "MIN_STREAM_GAP_BYTES", 2 * _Watched.coalesce_bytes)  # a stream reads nothing ahead
    root, key, size = stored
    entry = ObjectEntry(key, size, "default", "2026-09-21", 0, 0, 0, 0, 0)
    longest = {}
    for at_once in (1, 2):
        store = _Watched(root)
        task = ScanTask("default", Query(parse("zq")), (entry,) * 2)
        assert not run_task(store, task, objects_at_once=at_once).failed
        longest[at_once] = store.longest
    window = _Watched.coalesce_bytes * WINDOW_GAPS
    assert longest[2] <= window // 2 < longest[1] <= window
