"""Figures of searches as Ray's own metrics, so that they stand beside Ray's in Prometheus (with the prefix `ray_`).

May live here: names, units and tags of metrics. May not: what is worth counting, or when (`search.meter`).
"""

from __future__ import annotations

from typing import Final

from ray.util.metrics import Counter, Histogram

from ess_ray.ports import ScanResult

SECONDS: Final = [0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0]
"""Borders of the histogram of searches: from an answer out of memory to a scan of everything."""
_COUNTERS: Final = {
    "objects_scanned": "Objects that searches looked into",
    "objects_pruned": "Objects that searches did not have to look into, by tenant and time",
    "objects_failed": "Objects that searches could not read, after their retries",
    "bytes_read": "Bytes that searches read from the object store",
    "gets": "Requests that searches sent to the object store",
    "rows_matched": "Rows that searches found",
}


class RaySearchMeter:
    """A SearchMeter over Ray's metrics: `ess_search_...`. Make one for each process, after Ray was joined."""

    def __init__(self) -> None:
        self._counters = {name: Counter(f"ess_search_{name}", text) for name, text in _COUNTERS.items()}
        self._seconds = Histogram("ess_search_seconds", "Duration of searches", boundaries=SECONDS, tag_keys=("state",))

    def planned(self, objects_pruned: int) -> None:
        """See the protocol."""
        self._add("objects_pruned", objects_pruned)

    def scanned(self, objects: int, result: ScanResult) -> None:
        """See the protocol."""
        self._add("objects_scanned", objects - len(result.failed))
        self._add("objects_failed", len(result.failed))
        self._add("bytes_read", result.bytes_read)
        self._add("gets", result.gets)
        self._add("rows_matched", result.rows_matched)

    def ended(self, state: str, seconds: float) -> None:
        """See the protocol."""
        self._seconds.observe(seconds, tags={"state": state})

    def _add(self, name: str, value: int) -> None:
        if value:  # Ray refuses to count by nothing
            self._counters[name].inc(value)
