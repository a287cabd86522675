"""What every log adapter refuses before it stores anything, in one place, so that all of them refuse alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from ess_ray.core.errors import BadRequest
from ess_ray.ports import MAX_RECORD_BYTES, Record

MAX_VNODES: Final = 1 << 12
"""Virtual nodes of one log: far above the 64 of a cluster; the SQLite log packs vnode and offset into one integer."""


def check_vnode_count(vnode_count: int) -> int:
    """Give the count back. Raises BadRequest."""
    if not 1 <= vnode_count <= MAX_VNODES:
        raise BadRequest(f"a log has between 1 and {MAX_VNODES} virtual nodes, not {vnode_count}")
    return vnode_count


def check_vnode(vnode: int, vnode_count: int) -> None:
    """Raise BadRequest for a virtual node that the log does not have."""
    if not 0 <= vnode < vnode_count:
        raise BadRequest(f"there is no virtual node {vnode}: this log has 0 to {vnode_count - 1}", vnode=vnode)


def check_records(records: Sequence[Record], vnode_count: int) -> None:
    """Raise BadRequest for a record that may not be stored: then none of the call's records is."""
    for record in records:
        check_vnode(record.vnode, vnode_count)
        if len(record.value) > MAX_RECORD_BYTES:
            raise BadRequest(
                f"a record of {len(record.value)} bytes is over the {MAX_RECORD_BYTES} bytes of one record: split it",
                max_record_bytes=MAX_RECORD_BYTES,
            )


def check_committed(next_offsets: Mapping[int, int], ends: Mapping[int, int]) -> None:
    """Raise BadRequest when offsets are called stored that this log never gave: trimming would lose records."""
    for vnode, next_offset in next_offsets.items():
        check_vnode(vnode, len(ends))
        if next_offset > ends[vnode]:
            raise BadRequest(
                f"virtual node {vnode}: offset {next_offset} is called stored, but the log ends at {ends[vnode]}: "
                "the catalog belongs to another log; use the log that it was filled from",
                vnode=vnode,
            )
