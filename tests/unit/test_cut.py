"""The cut of a search: which owners are asked, and that nothing is missing or doubled however the table moves."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager

import pytest

from ess_ray.core.errors import Unavailable
from ess_ray.core.query import All, Query
from ess_ray.ingest.buffer import collect_frozen
from ess_ray.ingest.writer import VnodeWriter
from ess_ray.limits import SearchLimits
from ess_ray.ports import Catalog, CatalogWriter, Snapshot, View
from ess_ray.record import encode_records
from ess_ray.search.meter import Unmetered
from ess_ray.search.pipeline import Pipeline
from tests.worlds import VNODES, World, batch_of

EVERYTHING = Query(All(), limit=10_000)


class Owner:
    """InFlight over one writer of this process. With `stores` it stores what it holds before it is asked, and reads on
    to the log's end then."""

    def __init__(self, writer: VnodeWriter) -> None:
        self.writer = writer
        self.asked: list[set[int]] = []
        self.stores = False

    async def views(
        self, tenant: str, query: Query, min_ends: Mapping[int, int], timeout_s: float, **more: object
    ) -> list[View]:
        self.asked.append(set(min_ends))
        if self.stores:
            await self.writer.flush()
        return [collect_frozen(self.writer.freeze(tenant), query, more["collector"])]  # type: ignore[arg-type]


class Counted:
    """The catalog, counting the snapshots that searches take."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog, self.taken = catalog, 0

    def snapshot(self) -> Snapshot:
        self.taken += 1
        return self._catalog.snapshot()

    def writer(self) -> CatalogWriter:
        return self._catalog.writer()

    def exclusive(self) -> AbstractContextManager[None]:
        return self._catalog.exclusive()


class Rig:
    def __init__(self) -> None:
        self.world = World()
        self.catalog = Counted(self.world.catalog)
        self.owner = Owner(self.world.writer())
        self.pipeline = Pipeline(
            self.world.log, self.catalog, self.world.store, self.owner, limits=SearchLimits(), meter=Unmetered()
        )

    async def push(self, vnode: int, name: str) -> None:
        await self.world.log.append(encode_records(batch_of([name], [None], 0, self.world.now_us), vnode, "default"))

    async def read(self) -> None:
        while await self.owner.writer.poll():
            pass

    async def found(self) -> tuple[list[str], list[str]]:
        """The names in the buffers and those in the table, as a cut tells them apart."""
        self.catalog.taken = 0
        cut = await self.pipeline.cut("default", EVERYTHING)
        assert cut.missing == []
        flying = [name for table in cut.tables for name in table.column("message").to_pylist()]
        return sorted(flying), sorted(str(entry.rows) for entry in cut.snapshot.objects("default", None, None))


@pytest.fixture
async def rig() -> Rig:
    made = Rig()
    await made.owner.writer.assign(range(VNODES))
    for vnode in range(VNODES):
        await made.push(vnode, f"stored {vnode}")
    await made.read()
    await made.owner.writer.flush()
    return made


async def test_where_all_is_stored_no_owner_is_asked(rig: Rig) -> None:
    flying, objects = await rig.found()
    assert (flying, len(objects)) == ([], 1)
    assert rig.owner.asked == []
    assert rig.catalog.taken == 1


async def test_the_owners_of_what_is_not_stored_are_asked_and_no_others(rig: Rig) -> None:
    await rig.push(1, "new")
    await rig.read()
    flying, _ = await rig.found()
    assert flying == ["new"]
    assert rig.owner.asked == [{1}]
    assert rig.catalog.taken == 1


async def test_what_was_stored_meanwhile_is_found_in_a_newer_snapshot(rig: Rig) -> None:
    await rig.push(0, "new")
    await rig.read()
    rig.owner.stores = True
    flying, objects = await rig.found()
    assert (flying, len(objects)) == ([], 2)
    assert rig.catalog.taken == 2


async def test_an_owner_that_stores_and_goes_on_reading_leaves_no_gap(rig: Rig) -> None:
    await rig.push(0, "stored meanwhile")
    await rig.read()
    await rig.push(0, "not read yet")
    cut = await rig.pipeline.cut("default", EVERYTHING)
    assert "virtual node 0" in cut.missing[0], "an owner that does not get there is named"
    await rig.read()
    assert (await rig.found())[0] == ["not read yet", "stored meanwhile"]


async def test_of_a_log_that_nobody_has_stored_from_the_start_is_read_before_the_table() -> None:
    rig = Rig()
    await rig.push(0, "first")
    cut = await rig.pipeline.cut("default", EVERYTHING)
    assert "virtual node 0" in cut.missing[0]
    assert rig.catalog.taken == 2
    await rig.owner.writer.assign(range(VNODES))
    await rig.read()
    assert (await rig.found())[0] == ["first"]


async def test_what_is_stored_is_found_without_the_log(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    async def away() -> dict[int, int]:
        raise Unavailable("nobody there")

    monkeypatch.setattr(rig.world.log, "end_offsets", away)
    cut = await rig.pipeline.cut("default", EVERYTHING)
    assert len(cut.snapshot.objects("default", None, None)) == 1
    assert "its log is away: nobody there" in cut.missing[0]
    assert rig.owner.asked == []
