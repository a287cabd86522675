"""Dead letters in an object store: each record's value, and beside it why it could not be decoded."""

from __future__ import annotations

import asyncio
from typing import Final

import orjson

from ess_ray.ports import ObjectStore, StoredRecord

REASON_SUFFIX: Final = ".json"


class StoredDeadLetters:
    """DeadLetters as `VNODE-OFFSET.record` and `VNODE-OFFSET.record.json` in a store."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    async def keep(self, vnode: int, record: StoredRecord, reason: str) -> str:
        """See `DeadLetters`."""
        name = f"{vnode}-{record.offset}.record"
        headers = [(key, value.decode("utf-8", "replace")) for key, value in record.headers]
        why = orjson.dumps({"reason": reason, "headers": headers})
        await asyncio.to_thread(self._store.put, name + REASON_SUFFIX, why)
        await asyncio.to_thread(self._store.put, name, record.value)
        return f"as dead-letters/{name}"
