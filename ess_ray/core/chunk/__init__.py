"""The stored object: one standard Parquet file. Writing it, reading its tail, pruning and scanning it.

Layout of format 2. A file is

    PAR1 | pages | skip index | table of pages | page index | footer | footer's length | PAR1

- Rows are sorted by time; a row group closes at ROWS_PER_GROUP rows or MESSAGE_BYTES_PER_GROUP. `message` is required,
  without dictionary, DELTA_LENGTH_BYTE_ARRAY: a decompressed page is the block's text. How large pages are is no matter
  of format. Each has Parquet's own checksum.
- The skip index (`core/index`) may be empty. The table of pages (`sums`): the lengths of all pages with their headers,
  in the order of the file, the first at byte 4, none with a gap before it; then the CRC-32 of each: 32 bits each,
  little-endian. The page index and the footer are Parquet's.
- The footer's key-value metadata: `ess.format`, `ess.ranges` (offsets of each log and virtual node), `ess.content_hash`
  (of the values of the format's columns), `ess.requests` (request keys), `ess.ids`, `ess.index` (bytes of the skip
  index), `ess.index_checksum` (its CRC-32), `ess.pages` (entries of the table), `ess.ascii`, and where a deletion took
  events with ids out `ess.deleted`.
- The name ends with `-f<bytes>-x<bytes>-c<CRC-32>.parquet`: x is the skip index, f all behind it, so that one suffix
  read of f + x bytes brings footer and index; c is the sum of both. A sum can be continued, so that of f bytes alone,
  begun with `ess.index_checksum`, is c too: the footer is verified without the index, which is then verified by itself.

So every byte but the first four is covered: pages when they are decoded, the tail when it is opened. Format 1 had no
table, no checksums, no page index and no `-c`, f was the footer alone, and the columns `attribute_types` and
`event_hash` were not there: they read as null. It is read for ever. An object of a newer format raises NewerFormat.

- `layout`: names and facts: the key, what the footer tells.
- `write`: rows to bytes.
- `sums`: the table of pages, written and verified by.
- `footer`: the tail, parsed, verified and kept.
- `ranges`: the bytes of an object that are in memory, and how few requests bring others.
- `reading`: what goes wrong while an object is read is told of that object.
- `read`: bytes to rows: the ranges fetched, a row group's columns.
- `rows`: columns whose repeated texts stay dictionaries while they are tested, and until rows are taken.
- `page`: a column chunk's pages, decoded by ourselves so that their text is searched where it lies.
- `hash`: the hash of rows that the footer tells.
- `merge`: the rows of many objects in one order, for compaction.
- `windows`: which row groups a scan reads next, and how many at once.
- `match`: which rows of a row group match a query.
- `walk`: what a search's collector makes of one object.
- `identity`: who an object's rows are, to compare objects by.
- `check`: whether an object is what is told of it.
"""

from ess_ray.core.chunk.check import Fault, Told, check_rows, check_tail
from ess_ray.core.chunk.footer import FOOTERS, FooterCache
from ess_ray.core.chunk.hash import ContentHash, content_hash
from ess_ray.core.chunk.identity import IDENTITY, doubled, parts_for, read_identities
from ess_ray.core.chunk.layout import (
    FIRST_WITH_CHECKSUMS,
    DeletedId,
    Encoded,
    Facts,
    OffsetRange,
    StoredRequest,
    digest_of_id,
    key_parts,
    object_key,
    tail_bytes,
)
from ess_ray.core.chunk.match import sought_first
from ess_ray.core.chunk.merge import merged, open_bytes
from ess_ray.core.chunk.read import GAP_BYTES, Blobs, ObjectReader, expected_gets, open_object
from ess_ray.core.chunk.reading import reading
from ess_ray.core.chunk.sums import PARQUET_MAGIC
from ess_ray.core.chunk.walk import collect_object
from ess_ray.core.chunk.windows import index_first, index_tells, left_by_index
from ess_ray.core.chunk.write import MessageCodec, ObjectLimits, encode_object, encode_stream

__all__ = [
    "FIRST_WITH_CHECKSUMS",
    "FOOTERS",
    "GAP_BYTES",
    "IDENTITY",
    "PARQUET_MAGIC",
    "Blobs",
    "ContentHash",
    "DeletedId",
    "Encoded",
    "Facts",
    "Fault",
    "FooterCache",
    "MessageCodec",
    "ObjectLimits",
    "ObjectReader",
    "OffsetRange",
    "StoredRequest",
    "Told",
    "check_rows",
    "check_tail",
    "collect_object",
    "content_hash",
    "digest_of_id",
    "doubled",
    "encode_object",
    "encode_stream",
    "expected_gets",
    "index_first",
    "index_tells",
    "key_parts",
    "left_by_index",
    "merged",
    "object_key",
    "open_bytes",
    "open_object",
    "parts_for",
    "read_identities",
    "reading",
    "sought_first",
    "tail_bytes",
]
