"""Who the rows of an object are: their identity columns, a part at a time, so that comparing many stays bounded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ess_ray.core.chunk.read import ObjectReader
from ess_ray.core.event import IDENTITY_FIELDS

IDENTITY: Final = tuple(field.name for field in IDENTITY_FIELDS)
IDENTITY_SCHEMA: Final = pa.schema(IDENTITY_FIELDS)
MAX_ROWS_HELD: Final = 2_000_000
"""Identities held at once: about 100 MB as Arrow columns (a log's id is 36 bytes), and as much again to group them."""


def parts_for(rows: int) -> int:
    """Tell into how many parts so many rows must be cut so that one part can be held."""
    return -(-rows // MAX_ROWS_HELD) or 1


def read_identities(reader: ObjectReader, part: int = 0, parts: int = 1) -> pa.Table:
    """Read the identities of an object's rows; of `parts`, those that fall into `part` by their offset.

    Equal identities fall into the same part, whichever object they stand in. Raises NotFound, CorruptData.
    """
    found = [IDENTITY_SCHEMA.empty_table()]
    for group in range(reader.groups):
        rows = reader.read_group(group, IDENTITY)
        reader.forget()
        if parts > 1:
            rows = rows.filter(pa.array(rows.column("offset").to_numpy() % parts == part))
        found.append(rows)
    return pa.concat_tables(found)


def doubled(by_object: Mapping[int, pa.Table]) -> dict[tuple[int, int], tuple[int, tuple[str, int, int, int]]]:
    """Find identities that stand more than once in tables of identities, by number of object.

    Gives, for each pair of objects (the lowest and the highest number that hold one), how many, and one of them.
    """
    numbered = [
        rows.append_column("object", pa.array(np.full(len(rows), number, np.int64)))
        for number, rows in by_object.items()
    ]
    grouped = pa.concat_tables(numbered).group_by(list(IDENTITY))
    counted = grouped.aggregate([("object", "count"), ("object", "min"), ("object", "max")])
    twice = counted.filter(pc.greater(counted.column("object_count"), 1))
    found: dict[tuple[int, int], tuple[int, tuple[str, int, int, int]]] = {}
    for pair in twice.group_by(["object_min", "object_max"]).aggregate([([], "count_all")]).to_pylist():
        low, high = pair["object_min"], pair["object_max"]
        both = pc.and_(pc.equal(twice.column("object_min"), low), pc.equal(twice.column("object_max"), high))
        one = twice.filter(both).slice(0, 1).to_pylist()[0]
        found[low, high] = pair["count_all"], (one["log_id"], one["vnode"], one["offset"], one["row"])
    return found
