"""The stored object: one standard Parquet file. Writing it, reading its tail, pruning and scanning it.

Layout (the design's section 3): rows sorted by time; row groups of ROWS_PER_GROUP rows or MESSAGE_BYTES_PER_GROUP; one
page per column chunk; `message` as DELTA_LENGTH_BYTE_ARRAY, so that a decompressed page is the block's text; facts
about the rows in the footer's key-value metadata. The object's key tells the tail's length, so one suffix read brings
the footer and the skip index before it.

- `layout`: names and facts: the key, what the footer tells.
- `write`: rows to bytes.
- `footer`: the tail, parsed and kept.
- `ranges`: the bytes of an object that are in memory, and how few requests bring others.
- `read`: bytes to rows: the ranges fetched, a row group's columns.
- `page`: a column chunk's pages, decoded by ourselves so that their text is searched where it lies.
- `hash`: the hash of rows that the footer tells.
- `merge`: the rows of many objects in one order, for compaction.
- `windows`: which row groups a scan reads next, and how many at once.
- `scan`: a query's rows in one object.
- `count`: the same rows, counted.
- `identity`: who an object's rows are, to compare objects by.
- `check`: whether an object is what is told of it.

May live here: bytes <-> rows. May not: where bytes lie.
"""

from ess_ray.core.chunk.check import Fault, Told, check_rows, check_tail
from ess_ray.core.chunk.count import ObjectCounts, count_object
from ess_ray.core.chunk.footer import FOOTERS, FooterCache
from ess_ray.core.chunk.hash import ContentHash, content_hash
from ess_ray.core.chunk.identity import IDENTITY, doubled, parts_for, read_identities
from ess_ray.core.chunk.layout import (
    Encoded,
    Facts,
    OffsetRange,
    StoredRequest,
    object_key,
    tail_bytes,
)
from ess_ray.core.chunk.merge import merged, open_bytes
from ess_ray.core.chunk.read import GAP_BYTES, Blobs, ObjectReader, expected_gets, open_object
from ess_ray.core.chunk.scan import ObjectMatches, scan_object, sought_first
from ess_ray.core.chunk.windows import index_first
from ess_ray.core.chunk.write import MessageCodec, encode_object, encode_stream

__all__ = [
    "FOOTERS",
    "GAP_BYTES",
    "IDENTITY",
    "Blobs",
    "ContentHash",
    "Encoded",
    "Facts",
    "Fault",
    "FooterCache",
    "MessageCodec",
    "ObjectCounts",
    "ObjectMatches",
    "ObjectReader",
    "OffsetRange",
    "StoredRequest",
    "Told",
    "check_rows",
    "check_tail",
    "content_hash",
    "count_object",
    "doubled",
    "encode_object",
    "encode_stream",
    "expected_gets",
    "index_first",
    "merged",
    "object_key",
    "open_bytes",
    "open_object",
    "parts_for",
    "read_identities",
    "scan_object",
    "sought_first",
    "tail_bytes",
]
