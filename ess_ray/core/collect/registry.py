"""Every collector by its name, as a task carries it. A new one is a file of its own, and a line here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from ess_ray.core.collect.collector import Collector
from ess_ray.core.collect.counts import Grouping
from ess_ray.core.collect.names import FieldNames
from ess_ray.core.collect.patterns import Patterns
from ess_ray.core.collect.rows import Rows
from ess_ray.core.collect.slices import SliceRows
from ess_ray.core.collect.statistics import Statistics
from ess_ray.core.collect.volumes import Volumes

COLLECTORS: Final[dict[str, type[Collector]]] = {
    kind.name: kind for kind in (Rows, SliceRows, Grouping, Statistics, FieldNames, Patterns, Volumes)
}


def encode_collector(collector: Collector) -> list[Any]:
    """Give a collector as JSON values."""
    return [collector.name, *collector.to_json()]


def decode_collector(value: Sequence[Any]) -> Collector:
    """Read what `encode_collector` gave. Raises KeyError, TypeError, ValueError or IndexError for anything else."""
    if not isinstance(value, list | tuple):
        raise TypeError(f"no collector: {str(value)[:80]}")
    name, *asked = value
    return COLLECTORS[name].from_json(asked)
