"""Single bits of stored objects flip while searches run: an answer names the object, or it is right.

The damaged objects are of a tenant of its own, whose events are all known, beside the load of the others.
"""

from __future__ import annotations

import os
import time
import uuid
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from random import Random
from typing import Any, Final

import httpx
from deltalake import DeltaTable

from tests.chaos.clients import NDJSON
from tests.chaos.corpus import POOL_EVENTS, pool
from tests.chaos.export import count_export
from tests.chaos.ledger import Batch, Ledger, Tally, differences
from tests.chaos.run import SEED, Run, flush
from tests.chaos.world import World, new_key
from tests.systems import wait_until

FLIPS: Final = 30
REQUESTS: Final = 10
EVENTS: Final = 4_000
"""Of each request: some objects of some row groups, quickly read as a whole."""


class _Questions:
    """One tenant with events that do not change, and what is asked about them."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.tenant = f"flips{uuid.uuid4().hex[:8]}"
        self._key = new_key(world.system, self.tenant)
        headers = {"Authorization": f"Bearer {self._key}"}
        self._http = httpx.Client(base_url=world.system.url, timeout=60, headers=headers)
        self._ledger = Ledger("ids", self.tenant, "flipped", self.tenant, time.time_ns() // 1_000)
        self._batches = [self._push() for _ in range(REQUESTS)]
        flush(world)

    def close(self) -> None:
        self._http.close()

    def _push(self) -> Batch:
        batch = self._ledger.begin(EVENTS)
        body = self._ledger.bodies.make(batch.number, batch.first, batch.count)
        wait_until(
            lambda: self._http.post("/push/v1/events", content=body, headers=NDJSON).status_code == 202,
            "not acknowledged",
        )
        self._ledger.acknowledge(batch)
        return batch

    def objects(self) -> list[Path]:
        """Give the live objects."""
        table = DeltaTable(str(self._world.system.data_dir / "events"))
        return sorted(Path(uri) for uri in table.file_uris(file_pruning_predicate=[("tenant", "=", self.tenant)]))

    def judge(self, damaged: Path, random: Random) -> Iterator[str]:
        """Ask in every way, and tell what was neither right nor named."""
        for told in (self._export(), self._count(damaged), self._fetch(damaged, random.choice(self._batches))):
            yield from told

    def whole(self) -> list[str]:
        """Tell what is wrong with a whole answer, with nothing damaged."""
        tally = self._tally()
        return _verdict(tally)

    def _tally(self) -> Tally:
        tally = Tally([self._ledger])
        count_export(self._world.system.url, self.tenant, self._key, tally)
        tally.close()
        return tally

    def _export(self) -> list[str]:
        try:
            return [f"export: {told}" for told in _verdict(self._tally())]
        except httpx.HTTPError:  # refused or broken off: nobody takes that for an answer
            return []

    def _count(self, damaged: Path) -> list[str]:
        page = self._ended("aggregations", {"query": "*", "start": 0, "by": ["level"]})
        if (told := _named(page, damaged)) is not None:
            return told
        counts = {bucket["by"]["level"]: bucket["count"] for bucket in page["buckets"]}
        return [] if counts == self._levels() else [f"counts: {counts} instead of {self._levels()}"]

    def _levels(self) -> dict[str, int]:
        return dict(Counter(pool()[number % POOL_EVENTS]["level"] for number in range(self._ledger.sent_events)))

    def _fetch(self, damaged: Path, batch: Batch) -> list[str]:
        page = self._ended("queries", {"query": f"batch:{batch.number}", "start": 0, "limit": 2 * EVENTS})
        if (told := _named(page, damaged)) is not None:
            return told
        sent = self._ledger.bodies.make(batch.number, batch.first, batch.count)
        return [f"search: {told}" for told in differences(sent, page["events"], timed=True)]

    def _ended(self, kind: str, asked: dict[str, Any]) -> dict[str, Any]:
        path = f"/search/v1/{kind}"
        path += f"/{self._http.post(path, json=asked).raise_for_status().json()['id']}"
        wait_until(lambda: self._http.get(path).raise_for_status().json()["state"] != "running", "it runs for ever")
        limit = {"limit": 2 * EVENTS} if kind == "queries" else {}
        found: dict[str, Any] = self._http.get(path, params=limit).raise_for_status().json()
        return found


def _verdict(tally: Tally) -> list[str]:
    wrong = {name: getattr(tally, name) for name in ("lost", "doubled", "altered", "invented")}
    return [f"{wrong} {tally.examples}"] if any(wrong.values()) else []


def _named(page: dict[str, Any], damaged: Path) -> list[str] | None:
    """Judge an answer that is not complete; None for a complete one, which must be right."""
    if page["complete"]:
        return None
    told = "; ".join(page["incomplete"])
    return [] if damaged.name in told else [f"incomplete without the name {damaged.name}: {told}"]


@contextmanager
def flipped(path: Path, bit: int) -> Iterator[None]:
    """Flip one bit of a file, and flip it back at the end, also where others have removed the file meanwhile."""
    with path.open("r+b", buffering=0) as file:
        sound = os.pread(file.fileno(), 1, bit // 8)
        os.pwrite(file.fileno(), bytes([sound[0] ^ 1 << bit % 8]), bit // 8)
        try:
            yield
        finally:
            os.pwrite(file.fileno(), sound, bit // 8)


def flip_bits(run: Run) -> list[str]:
    """Flip one bit after the other, each for as long as questions are asked; gives what was wrong."""
    random, wrong = Random(SEED), list[str]()
    with closing(_Questions(run.world)) as questions:
        for _ in range(FLIPS):
            path = random.choice(questions.objects())
            size = path.stat().st_size
            bit = random.randrange(8 * size)
            where = f"bit {bit % 8} of byte {bit // 8} of {size}"
            with flipped(path, bit):
                wrong += [f"{where}: {told}" for told in questions.judge(path, random)]
        return wrong + [f"with nothing damaged: {told}" for told in questions.whole()]


def told_the_truth(run: Run) -> None:
    wrong: Sequence[str] = run.token
    assert not wrong, f"{len(wrong)} of {3 * FLIPS} answers: {wrong[:5]}"
