"""An object store that ails: one that is away, or that does not give some of its objects though it names them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ess_ray.core.errors import Unavailable
from ess_ray.ports import ObjectInfo
from ess_ray.testing import MemoryObjectStore


class AilingStore(MemoryObjectStore):
    """In memory. `unreadable`: keys whose bytes it refuses, as a disk with bad sectors does; `away`: it answers
    nothing."""

    def __init__(self, clock_us: Callable[[], int]) -> None:
        super().__init__(clock_us)
        self.unreadable: set[str] = set()
        self.away = False

    def head(self, key: str) -> ObjectInfo | None:
        self._check(None)
        return super().head(key)

    def list(self, prefix: str) -> Sequence[ObjectInfo]:
        self._check(None)
        return super().list(prefix)

    def get_range(self, key: str, offset: int, length: int) -> bytes:
        self._check(key)
        return super().get_range(key, offset, length)

    def get_suffix(self, key: str, length: int) -> bytes:
        self._check(key)
        return super().get_suffix(key, length)

    def _check(self, key: str | None) -> None:
        if self.away:
            raise Unavailable("the store is away")
        if key in self.unreadable:
            raise Unavailable(f"cannot read {key!r}: Input/output error")
