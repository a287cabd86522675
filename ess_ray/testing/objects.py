"""The object store in the memory of one process."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Generator, Sequence
from typing import Final

import pyarrow as pa

from ess_ray.core.errors import BadRequest, NotFound
from ess_ray.ports import ObjectInfo

_KEY = re.compile(r"[A-Za-z0-9._=-]+(?:/[A-Za-z0-9._=-]+)*", re.ASCII)
_PREFIX = re.compile(r"(?:[A-Za-z0-9._=-]+(?:/[A-Za-z0-9._=-]+)*/?)?", re.ASCII)
PIECE_BYTES: Final = 64 * 1024
"""Of what is streamed: small, so that readers meet the borders of pieces."""


class MemoryObjectStore:
    """ObjectStore in memory, its clock given. Safe from many threads."""

    coalesce_bytes = 0

    def __init__(self, clock_us: Callable[[], int]) -> None:
        self._clock_us = clock_us
        self._objects: dict[str, tuple[bytes, int]] = {}
        self._lock = threading.Lock()

    def put(self, key: str, data: bytes | pa.Buffer) -> None:
        _check_key(key, _KEY)
        owned = bytes(data) if isinstance(data, bytes | bytearray | memoryview) else data.to_pybytes()
        with self._lock:
            self._objects[key] = (owned, self._clock_us())

    def head(self, key: str) -> ObjectInfo | None:
        _check_key(key, _KEY)
        found = self._objects.get(key)
        return ObjectInfo(key, len(found[0]), found[1]) if found is not None else None

    def get_range(self, key: str, offset: int, length: int) -> bytes:
        """As the port says. Raises BadRequest for a negative offset or length."""
        if offset < 0 or length < 0:
            raise BadRequest(f"offset {offset} and length {length} must not be negative")
        return self._get(key)[offset : offset + length]

    def stream_range(self, key: str, offset: int, length: int) -> Generator[bytes, None, None]:
        """As the port says. Raises BadRequest for a negative offset or length."""
        data = self.get_range(key, offset, length)
        for at in range(0, len(data), PIECE_BYTES):
            yield data[at : at + PIECE_BYTES]

    def get_suffix(self, key: str, length: int) -> bytes:
        """As the port says. Raises BadRequest for a negative length."""
        if length < 0:
            raise BadRequest(f"length {length} must not be negative")
        data = self._get(key)
        return data[max(len(data) - length, 0) :]

    def list(self, prefix: str) -> Sequence[ObjectInfo]:
        _check_key(prefix, _PREFIX)
        with self._lock:
            found = [(key, *value) for key, value in self._objects.items() if key.startswith(prefix)]
        return [ObjectInfo(key, len(data), modified_us) for key, data, modified_us in sorted(found)]

    def delete(self, key: str) -> None:
        _check_key(key, _KEY)
        with self._lock:
            self._objects.pop(key, None)

    def now_us(self) -> int:
        return self._clock_us()

    def _get(self, key: str) -> bytes:
        _check_key(key, _KEY)
        found = self._objects.get(key)
        if found is None:
            raise NotFound(f"there is no object {key}")
        return found[0]


def _check_key(key: str, pattern: re.Pattern[str]) -> None:
    """Refuse what a folder could take for another key: no `..`, no empty or `.` step, no leading `/`."""
    if pattern.fullmatch(key) is None or ".." in key or "." in key.split("/"):
        raise BadRequest(f"{key!r} is no key: use [A-Za-z0-9._=/-] without `..`, relative to the store's root")
