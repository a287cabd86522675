"""The catalogue of metrics: complete in METRICS.md, named by one scheme, and all that the dashboard asks for."""

from __future__ import annotations

import re
from pathlib import Path

import ess_ray.metrics as m

ROOT = Path(__file__).parents[2]


def test_the_page_is_the_catalogue() -> None:
    assert m.catalogue_table() in (ROOT / "ess_ray" / "METRICS.md").read_text()


def test_names_and_labels_are_of_one_scheme() -> None:
    names = [metric.name for metric in m.CATALOGUE]
    assert len(names) == len(set(names))
    for metric in m.CATALOGUE:
        assert re.fullmatch(r"ess_(push|listen|ingest|search|disk|maintenance|alerts?)(_[a-z]+)*", metric.name)
        assert not metric.name.endswith("_total"), "Ray adds it"
        assert set(metric.labels) <= {"status", "reason", "vnode", "actor", "outcome", "state", "protocol", "receiver"}
        assert bool(metric.borders) is (metric.kind == "histogram")


def test_the_dashboard_asks_only_for_metrics_that_are_there() -> None:
    asked = set(re.findall(r"ray_ess_\w+", (ROOT / "infra" / "grafana" / "ess_ray.json").read_text()))
    known = {metric.exported for metric in m.CATALOGUE if metric.kind != "histogram"}
    parts = {
        f"{h.exported}_{part}" for h in m.CATALOGUE if h.kind == "histogram" for part in ("bucket", "sum", "count")
    }
    assert len(asked) > 15
    assert asked <= known | parts


def test_reasons_have_few_classes() -> None:
    assert m.reason_class("timestamp is more than 600 s in the future") == "timestamp"
    assert m.reason_class("the event is larger than 524288 bytes") == "size"
    assert m.reason_class("an event must be a JSON object") == "other"


def test_a_tally_counts_and_bounds_what_waits() -> None:
    tally = m.Tally()
    tally.count(m.PUSH_ACCEPTED, 2)
    tally.count(m.PUSH_ACCEPTED, 3)
    tally.total(m.INGEST_ROWS, 7)
    tally.set(m.INGEST_UNREAD, 4, "1")
    for _ in range(m.MAX_OBSERVED + 1):
        tally.observe(m.PUSH_SECONDS, 1.0)
    assert tally.totals == {(m.PUSH_ACCEPTED, ()): 5, (m.INGEST_ROWS, ()): 7}
    assert tally.levels == {(m.INGEST_UNREAD, ("1",)): 4}
    assert len(tally.observed) == m.MAX_OBSERVED
