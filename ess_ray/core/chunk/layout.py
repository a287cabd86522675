"""What an object is called and what its footer tells: the key, the facts, and their place in Parquet's metadata."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, astuple, dataclass
from hashlib import blake2b
from typing import Final
from uuid import uuid4

import pyarrow as pa

from ess_ray.core.errors import CorruptData, NewerFormat
from ess_ray.core.event import FORMAT_VERSION
from ess_ray.core.tenant import check_tenant
from ess_ray.core.timestamps import partition_of

FIRST_WITH_CHECKSUMS: Final = 2
"""The format from which on every byte of an object is covered by a checksum."""
_DIGEST_BYTES: Final = 16
_KEY = re.compile(
    r"tenant=(?P<tenant>[^/]+)/date=(?P<date>\d{4}-\d\d-\d\d)/hour=(?P<hour>\d\d)/"
    r"(?P<min>-?\d+)-(?P<max>-?\d+)-(?P<uuid>[0-9a-f]{32})-f(?P<footer>\d+)-x(?P<index>\d+)"
    r"(?:-c(?P<checksum>[0-9a-f]{8}))?\.parquet"
)


@dataclass(frozen=True, slots=True)
class OffsetRange:
    """Rows of one virtual node of one log: all stored rows have first <= offset < end."""

    log_id: str
    vnode: int
    first: int
    end: int


@dataclass(frozen=True, slots=True)
class StoredRequest:
    """A keyed request's part that this object holds, so that a repeat is known after a restart."""

    log_id: str
    vnode: int
    offset: int
    key: str
    body_hash: str
    part: int
    parts: int
    observed_us: int


@dataclass(frozen=True, slots=True)
class DeletedId:
    """An event with an `id` that a deletion took out: what its virtual node must go on to know, and no more.

    `id_digest` is `digest_of_id`, `event_hash` that of the row; both in hexadecimal, `event_hash` None where there was
    none.
    """

    log_id: str
    vnode: int
    id_digest: str
    event_hash: str | None
    observed_us: int


@dataclass(frozen=True, slots=True)
class Facts:
    """What the footer tells of the rows. `ids`: how many rows have an `event_id`.

    `deleted`: events that a deletion took out within the hour, so that a repeat of one is still known.

    `index_checksum` is the CRC-32 of the skip index, `pages` the number of entries in the table of pages: both from
    format 2 on. `ascii_groups`: for each row group, whether its messages are ASCII throughout; empty when that was not
    noted.
    """

    ranges: tuple[OffsetRange, ...]
    content_hash: str
    requests: tuple[StoredRequest, ...] = ()
    ids: int = 0
    index_bytes: int = 0
    index_checksum: int = 0
    pages: int = 0
    ascii_groups: tuple[bool, ...] = ()
    format_version: int = FORMAT_VERSION
    deleted: tuple[DeletedId, ...] = ()


@dataclass(frozen=True, slots=True)
class KeyParts:
    """What an object's key tells: its partition, the times of its first and last event, the parts of its tail.

    `checksum` is the CRC-32 of the tail, None in a name of format 1.
    """

    tenant: str
    date: str
    hour: int
    min_us: int
    max_us: int
    footer_bytes: int
    index_bytes: int
    checksum: int | None


@dataclass(frozen=True)
class Encoded:
    """A finished object: its bytes, what the catalog needs, and its tail: `footer_bytes`, `index_bytes`, `checksum`.

    `first_arrival_us` to `last_arrival_us`: when its rows were received; None without rows.
    """

    data: pa.Buffer
    rows: int
    min_us: int
    max_us: int
    footer_bytes: int
    index_bytes: int
    checksum: int
    first_arrival_us: int | None = None
    last_arrival_us: int | None = None

    def key(self, tenant: str) -> str:
        """Name it, by a UUID of its own for every attempt to write it."""
        return object_key(
            tenant,
            self.min_us,
            self.max_us,
            uuid_hex=uuid4().hex,
            footer_bytes=self.footer_bytes,
            index_bytes=self.index_bytes,
            checksum=self.checksum,
        )


def object_key(
    tenant: str,
    min_us: int,
    max_us: int,
    *,
    uuid_hex: str,
    footer_bytes: int,
    index_bytes: int,
    checksum: int | None = None,
) -> str:
    """Name an object; `uuid_hex` is fresh for every attempt to write. Without a checksum it is a name of format 1."""
    date, hour = partition_of(min_us)
    told = "" if checksum is None else f"-c{checksum:08x}"
    name = f"{min_us}-{max_us}-{uuid_hex}-f{footer_bytes}-x{index_bytes}{told}.parquet"
    return f"tenant={check_tenant(tenant)}/date={date}/hour={hour:02d}/{name}"


def tail_bytes(key: str) -> int:
    """Tell from an object's key how many bytes at its end hold index and footer. Raises CorruptData."""
    parts = key_parts(key)
    return parts.footer_bytes + parts.index_bytes


def key_parts(key: str) -> KeyParts:
    """Read what an object's key tells. Raises CorruptData for what is no ess_ray object's."""
    match = _KEY.fullmatch(key)
    if match is None:
        raise CorruptData(f"{key} is not the name of an ess_ray object")
    hour, min_us, max_us, footer, index = (int(match[name]) for name in ("hour", "min", "max", "footer", "index"))
    checksum = None if match["checksum"] is None else int(match["checksum"], 16)
    return KeyParts(match["tenant"], match["date"], hour, min_us, max_us, footer, index, checksum)


def digest_of_id(event_id: str) -> bytes:
    """Give what stands for an event's id where the id itself must not be kept."""
    return blake2b(event_id.encode("utf-8", "surrogatepass"), digest_size=_DIGEST_BYTES).digest()


def facts_to_metadata(facts: Facts) -> dict[str, str]:
    """Write facts as the footer's key-value metadata. `ess.deleted` is there only where something was deleted."""
    deleted = json.dumps([astuple(one) for one in facts.deleted], separators=(",", ":"))
    return {
        "ess.format": str(facts.format_version),
        "ess.ranges": json.dumps([asdict(part) for part in facts.ranges]),
        "ess.content_hash": facts.content_hash,
        "ess.requests": json.dumps([astuple(request) for request in facts.requests], separators=(",", ":")),
        "ess.ids": str(facts.ids),
        "ess.index": str(facts.index_bytes),
        "ess.index_checksum": f"{facts.index_checksum:08x}",
        "ess.pages": str(facts.pages),
        "ess.ascii": "".join("01"[known] for known in facts.ascii_groups),
        **({"ess.deleted": deleted} if facts.deleted else {}),
    }


def facts_from_metadata(metadata: dict[bytes, bytes]) -> Facts:
    """Read facts back. Raises KeyError, ValueError or TypeError for what is no ess_ray footer, NewerFormat."""
    version = int(metadata[b"ess.format"])
    if version > FORMAT_VERSION:
        raise NewerFormat(f"format {version} is newer than this ess_ray: upgrade it", format_version=version)
    has_sums = version >= FIRST_WITH_CHECKSUMS
    return Facts(
        tuple(OffsetRange(**part) for part in json.loads(metadata[b"ess.ranges"])),
        metadata[b"ess.content_hash"].decode(),
        tuple(StoredRequest(*request) for request in json.loads(metadata[b"ess.requests"])),
        int(metadata[b"ess.ids"]),
        int(metadata[b"ess.index"]),
        int(metadata[b"ess.index_checksum"], 16) if has_sums else 0,
        int(metadata[b"ess.pages"]) if has_sums else 0,
        tuple(flag == "1" for flag in metadata.get(b"ess.ascii", b"").decode()),
        version,
        tuple(DeletedId(*one) for one in json.loads(metadata.get(b"ess.deleted", b"[]"))),
    )
