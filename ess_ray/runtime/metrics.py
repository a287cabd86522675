"""A process's figures handed to Ray's metrics, so that they stand beside Ray's in Prometheus (with the prefix
`ray_`).
"""

from __future__ import annotations

import logging
import threading
import time
from typing import Any, Final

from ray.util.metrics import Counter, Gauge, Histogram

from ess_ray import metrics as m
from ess_ray.ports import ScanResult

_log = logging.getLogger(__name__)

PUBLISH_INTERVAL_S: Final = 1.0
"""A call to Ray's metrics takes 1 to 2 microseconds, counting in a dict a tenth: so Ray is told once a second.
(Ray itself exports every 10 s, its `metrics_report_interval_ms`.)"""


class Publisher:
    """Hands a tally's figures to Ray; one for each process. Ray's objects are made when something is first told."""

    def __init__(self, tally: m.Tally) -> None:
        self._tally = tally
        self._told: dict[m.Series, float] = {}
        self._ray: dict[m.Metric, Any] = {}

    def start(self) -> None:
        """Publish every PUBLISH_INTERVAL_S from a daemon thread, as long as the process lives."""
        threading.Thread(target=self._run, name="metrics", daemon=True).start()

    def _run(self) -> None:
        while True:
            time.sleep(PUBLISH_INTERVAL_S)
            try:
                self.publish()
            except Exception:  # noqa: BLE001
                # Figures must never end a process, and its thread must not end in silence.
                _log.exception("metrics could not be handed to Ray")

    def publish(self) -> None:
        """Tell Ray what is new since the last call."""
        for series, total in self._tally.totals.copy().items():
            if (more := total - self._told.get(series, 0)) > 0:
                self._of(series[0]).inc(more, tags=_tags(*series))
                self._told[series] = total
        for series, level in self._tally.levels.copy().items():
            self._of(series[0]).set(level, tags=_tags(*series))
        while self._tally.observed:
            metric, labels, value = self._tally.observed.popleft()
            self._of(metric).observe(value, tags=_tags(metric, labels))

    def _of(self, metric: m.Metric) -> Any:
        if metric not in self._ray:
            if metric.kind == "histogram":
                made = Histogram(metric.name, metric.help, boundaries=list(metric.borders), tag_keys=metric.labels)
            else:
                made = (Counter if metric.kind == "counter" else Gauge)(
                    metric.name, metric.help, tag_keys=metric.labels
                )
            self._ray[metric] = made
        return self._ray[metric]


def _tags(metric: m.Metric, labels: tuple[str, ...]) -> dict[str, str]:
    return dict(zip(metric.labels, labels, strict=True))


def published_tally() -> m.Tally:
    """Give a process's tally, published from now on. Once a process, after Ray was joined."""
    tally = m.Tally()
    Publisher(tally).start()
    return tally


class RaySearchMeter:
    """A SearchMeter over a tally: `ess_search_...`."""

    def __init__(self, tally: m.Tally | None = None) -> None:
        self._tally = published_tally() if tally is None else tally

    def running(self, searches: int) -> None:
        """See the protocol."""
        self._tally.set(m.SEARCH_RUNNING, searches)

    def tailing(self, tails: int) -> None:
        """See the protocol."""
        self._tally.set(m.SEARCH_TAILS, tails)

    def planned(self, objects_pruned: int) -> None:
        """See the protocol."""
        self._tally.count(m.SEARCH_PRUNED, objects_pruned)

    def scanned(self, objects: int, result: ScanResult) -> None:
        """See the protocol."""
        self._tally.count(m.SEARCH_TASKS)
        self._tally.count(m.SEARCH_SCANNED, objects - len(result.failed))
        self._tally.count(m.SEARCH_FAILED, len(result.failed))
        self._tally.count(m.SEARCH_BYTES, result.cost.bytes_read)
        self._tally.count(m.SEARCH_GETS, result.cost.gets)
        self._tally.count(m.SEARCH_ROWS, result.partial.rows_matched)
        self._tally.count(m.SEARCH_FOOTER_HITS, result.cost.footer_hits)
        self._tally.count(m.SEARCH_FOOTER_MISSES, result.cost.footer_misses)

    def ended(self, state: str, seconds: float) -> None:
        """See the protocol."""
        self._tally.observe(m.SEARCH_SECONDS, seconds, state)
