"""What grows with an answer's rows or buckets is done in threads: a replica's event loop is for all its requests.

Where there are none, there is nothing to do.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

import deployments.search
from ess_ray import exact_json
from ess_ray.core.collect import CellsFold, RowsFold
from ess_ray.limits import SearchLimits
from tests.unit.test_search_app import Rig
from tests.worlds import World


class Watch:
    """Notes what runs on the event loop's thread, and what does at all."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self._patch, self._loop = patch, threading.current_thread()
        self.seen: set[str] = set()
        self.on_the_loop: set[str] = set()

    def over(self, owner: Any, name: str, grown: Any = lambda *_: True) -> None:
        """Watch a function of `owner`, as far as what it is given is `grown`."""
        original = getattr(owner, name)

        def watched(*given: Any, **named: Any) -> Any:
            if grown(*given):
                self.seen.add(name)
                if threading.current_thread() is self._loop:
                    self.on_the_loop.add(name)
            return original(*given, **named)

        self._patch.setattr(owner, name, watched)


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    world = World()
    writer = world.writer()
    await writer.assign(range(3))
    made = Rig(world, writer, SearchLimits())  # tasks run in place: in threads
    for name in ("stored", "flying"):
        await made.push(name)
        if name == "stored":
            await writer.flush()
    yield made
    await made.http.aclose()


def watched(patch: pytest.MonkeyPatch) -> Watch:
    watch = Watch(patch)
    watch.over(RowsFold, "_add", lambda _, table: len(table))
    watch.over(RowsFold, "release", lambda fold, *_: fold.rows_matched)
    watch.over(CellsFold, "_add", lambda _, table: len(table))
    watch.over(CellsFold, "_table")
    watch.over(exact_json, "dumps", lambda told, *_: "timestamp" in told or told.get("events") or told.get("buckets"))
    return watch


async def test_rows_are_merged_and_written_in_threads(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    watch = watched(monkeypatch)
    watch.over(deployments.search, "to_json_rows", len)
    query_id = await rig.start()
    assert len((await rig.finished(query_id))["events"]) == 2
    streamed = await rig.http.get(f"/v1/queries/{query_id}/stream")
    assert streamed.text.count("event: event") == 2
    assert watch.seen == {"_add", "release", "to_json_rows", "dumps"}
    assert not watch.on_the_loop


async def test_counts_are_added_up_and_written_in_threads(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    watch = watched(monkeypatch)
    query_id = await rig.start("", "/v1/aggregations", by=["message"])
    assert len((await rig.finished(query_id))["buckets"]) == 2
    assert "done" in (await rig.http.get(f"/v1/aggregations/{query_id}/stream")).text
    assert (await rig.http.delete(f"/v1/aggregations/{query_id}")).status_code == 200
    assert watch.seen == {"_add", "_table", "dumps"}
    assert not watch.on_the_loop


async def test_what_was_found_is_readable_while_asyncios_threads_all_wait(rig: Rig) -> None:
    query_id = await rig.start()
    await rig.finished(query_id)
    loop, store_is_back = asyncio.get_running_loop(), threading.Event()
    loop.set_default_executor(ThreadPoolExecutor(1))
    waiting = loop.run_in_executor(None, store_is_back.wait)
    try:
        async with asyncio.timeout(10):
            assert len((await rig.page(query_id))["events"]) == 2
    finally:
        store_is_back.set()
        await waiting
