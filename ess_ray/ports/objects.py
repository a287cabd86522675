"""The store seam: blobs under keys."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Protocol

import pyarrow as pa


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    key: str
    size: int
    modified_us: int


class ObjectStore(Protocol):
    """Blobs under keys below one root. Keys are relative, of `[A-Za-z0-9._=/-]`, never with `..`.

    `coalesce_bytes`: what one request costs, in bytes that could be read meanwhile: readers join ranges that lie no
    further apart. A store that does not have it is taken to be a remote one.
    """

    @property
    def coalesce_bytes(self) -> int: ...

    def put(self, key: str, data: bytes | pa.Buffer) -> None:
        """Write durably and atomically; an existing key is replaced."""
        ...

    def head(self, key: str) -> ObjectInfo | None: ...

    def get_range(self, key: str, offset: int, length: int) -> bytes:
        """Read `length` bytes from `offset` (fewer at the end). Raises NotFound."""
        ...

    def stream_range(self, key: str, offset: int, length: int) -> Generator[bytes, None, None]:
        """Read the same bytes in pieces as they arrive, by one request; closing it early ends the request.

        What breaks is taken up where it broke. Raises NotFound, when the first piece is asked for.
        """
        ...

    def get_suffix(self, key: str, length: int) -> bytes:
        """Read the last `length` bytes (the whole object if it is smaller). Raises NotFound."""
        ...

    def list(self, prefix: str) -> Sequence[ObjectInfo]:
        """Name all objects whose key starts with `prefix`, sorted by key."""
        ...

    def delete(self, key: str) -> None:
        """Delete; a missing key is no error."""
        ...

    def now_us(self) -> int:
        """The store's own clock, for ages: what `modified_us` is measured by."""
        ...
