"""Records that cannot be decoded, kept in an object store for a person."""

from __future__ import annotations

import json

from ess_ray.adapters.dead_letters import StoredDeadLetters
from ess_ray.ports import StoredRecord
from ess_ray.testing import MemoryObjectStore


async def test_a_record_is_kept_beside_why_however_often() -> None:
    store = MemoryObjectStore(clock_us=lambda: 0)
    letters = StoredDeadLetters(store)
    record = StoredRecord(7, b"{broken", (("from", b"rsys\xfflog"),))
    for _ in range(2):
        assert await letters.keep(3, record, "it is no JSON") == "as dead-letters/3-7.record"
    assert {info.key for info in store.list("")} == {"3-7.record", "3-7.record.json"}
    assert store.get_suffix("3-7.record", 1_000) == b"{broken"
    assert json.loads(store.get_suffix("3-7.record.json", 1_000)) == {
        "reason": "it is no JSON",
        "headers": [["from", "rsys\ufffdlog"]],
    }
