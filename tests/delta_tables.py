"""A Delta table of a test."""

from __future__ import annotations

import os
import time
import uuid
from pathlib import Path

from ess_ray.core.timestamps import partition_of
from ess_ray.ports import ObjectEntry

HOUR_US = 3_600_000_000
DAYS_S = 86_400


def entry(min_us: int, max_us: int, tenant: str = "default", rows: int = 1, size: int = 1) -> ObjectEntry:
    date, hour = partition_of(min_us)
    key = f"tenant={tenant}/date={date}/hour={hour:02d}/{min_us}-{max_us}-{uuid.uuid4().hex}-f8-x0.parquet"
    return ObjectEntry(key, size, tenant, date, hour, rows, min_us, max_us, 1_790_000_000_000_000)


def log_folder(root: Path) -> Path:
    return root / "_delta_log"


def grow_old(root: Path, days: int = 3) -> None:
    """Make every file of the log look `days` old."""
    then = time.time() - days * DAYS_S
    for file in log_folder(root).iterdir():
        os.utime(file, (then, then))
