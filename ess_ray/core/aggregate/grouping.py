"""What rows are counted by, as frozen values. They pickle, and a Lambda receives them.

May live here: the values, and the shape of the counts that they lead to. May not: counting.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import pyarrow as pa

from ess_ray.core.aggregate.buckets import UTC_CLOCK, Ints, LocalClock, bucket_starts
from ess_ray.core.event import EVENT_SCHEMA, HIDDEN_COLUMNS, RECORD_SCHEMA
from ess_ray.core.query import Field

COLUMN, ATTRIBUTE = "column", "attribute"
"""The kinds of field: the second key of a count of field names."""
FIELD_COLUMNS: Final = tuple(name for name in RECORD_SCHEMA.names if name not in {"attributes", *HIDDEN_COLUMNS})
"""The columns that count as fields: what was pushed. (log_id, vnode, offset, row) every row has."""


@dataclass(frozen=True, slots=True)
class Grouping:
    """Count rows per bucket of `interval_us` (by `clock`, see `buckets`; None: no buckets) and per values of `by`.

    A value is the field's text, one for equal numbers; a row without the field is in a group of its own. An attribute's
    array is one value, and what is called `name#2` is another field: each row counts once.
    """

    interval_us: int | None = None
    by: tuple[Field, ...] = ()
    clock: LocalClock = UTC_CLOCK

    def starts(self, times_us: Ints) -> Ints:
        """Give the start of the bucket that each time lies in; there must be buckets."""
        assert self.interval_us is not None
        return bucket_starts(times_us, self.interval_us, self.clock)

    @property
    def keys(self) -> int:
        """How many key columns its counts have."""
        return len(self.by)

    def columns(self) -> frozenset[str]:
        """Name the stored columns that hold the keys; what tells the bucket comes besides."""
        names = frozenset("attributes" if field.attribute else field.name for field in self.by)
        return names | {"attribute_types"} if "attributes" in names else names


@dataclass(frozen=True, slots=True)
class FieldNames:
    """Count, for each field, the rows that have it: by name, and by COLUMN or ATTRIBUTE.

    A column counts where it is not null, an attribute where its key is there.
    """

    keys = 2
    interval_us = None

    def columns(self) -> frozenset[str]:
        """Name the stored columns that may be null: whether they are must be read."""
        return frozenset(field.name for field in RECORD_SCHEMA if field.nullable) - HIDDEN_COLUMNS


Counting = Grouping | FieldNames


def key_names(counting: Counting) -> list[str]:
    """Name the key columns of its counts."""
    return [f"by_{at}" for at in range(counting.keys)]


def counts_schema(counting: Counting, where: Sequence[str] = ()) -> pa.Schema:
    """Give the columns of its counts; `where`: columns of EVENT_SCHEMA that cells are kept apart by besides."""
    return pa.schema(
        [
            *(pa.field(name, EVENT_SCHEMA.field(name).type) for name in where),
            pa.field("start_us", pa.int64()),
            *(pa.field(name, pa.string()) for name in key_names(counting)),
            pa.field("other", pa.bool_()),
            pa.field("count", pa.int64()),
        ]
    )
