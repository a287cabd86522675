"""What a search makes of the rows that match: a search is a query and a collector.

- `collector`: the protocol, and the values that pass through it.
- `rows`: the newest or oldest rows. `slices`: the rows of an export. `counts`: rows per time bucket and group, which is
  also how a field's values are counted. `volumes`: and their bytes. `statistics`: besides, statistics of fields'
  values. `names`: rows per field. `patterns`: rows per template of their messages.
- `cells`: what collectors have alike that give cells (a bucket, a group, and values): they are made one within bounds.
- `buckets`: where time buckets begin.
- `registry`: every collector by its name.
"""

from ess_ray.core.collect.buckets import UTC_CLOCK, LocalClock, bucket_starts
from ess_ray.core.collect.cells import (
    MAX_CELLS,
    MAX_HELD_BYTES,
    MAX_HELD_CELLS,
    MAX_SLOT_BYTES,
    MAX_VIEW_CELLS,
    CellCollector,
    CellsFold,
    Top,
    Value,
    Worth,
    group_count,
    top_groups,
)
from ess_ray.core.collect.collector import PLACES, Block, Bound, Collector, Fold, Gather, Partial, integer_of, text_of
from ess_ray.core.collect.counts import Grouping
from ess_ray.core.collect.names import COLUMN, FIELD_COLUMNS, FieldNames
from ess_ray.core.collect.patterns import STEPS, Patterns, example_in
from ess_ray.core.collect.registry import COLLECTORS, decode_collector, encode_collector
from ess_ray.core.collect.rows import ROWS, Rows, RowsFold
from ess_ray.core.collect.slices import SLICE_ROWS, SliceFold, SliceRows
from ess_ray.core.collect.statistics import Statistics
from ess_ray.core.collect.volumes import BYTES, Volumes

__all__ = [
    "BYTES",
    "COLLECTORS",
    "COLUMN",
    "FIELD_COLUMNS",
    "MAX_CELLS",
    "MAX_HELD_BYTES",
    "MAX_HELD_CELLS",
    "MAX_SLOT_BYTES",
    "MAX_VIEW_CELLS",
    "PLACES",
    "ROWS",
    "SLICE_ROWS",
    "STEPS",
    "UTC_CLOCK",
    "Block",
    "Bound",
    "CellCollector",
    "CellsFold",
    "Collector",
    "FieldNames",
    "Fold",
    "Gather",
    "Grouping",
    "LocalClock",
    "Partial",
    "Patterns",
    "Rows",
    "RowsFold",
    "SliceFold",
    "SliceRows",
    "Statistics",
    "Top",
    "Value",
    "Volumes",
    "Worth",
    "bucket_starts",
    "decode_collector",
    "encode_collector",
    "example_in",
    "group_count",
    "integer_of",
    "text_of",
    "top_groups",
]
