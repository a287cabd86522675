"""A reader that polls all the time, while events come in, are flushed, and owners die: never a gap, never a double."""

from __future__ import annotations

import threading
from collections import Counter
from typing import Any

import httpx
import pytest

from tests.systems import System, persist_actors, wait_until

ROUNDS = 12
BATCH = 25


class Reader:
    """Searches over and over. `acknowledged` grows elsewhere: what it held before a search must be in the answer."""

    def __init__(self, system: System) -> None:
        self.system = system
        self.acknowledged: list[str] = []
        self.complete = self.incomplete = 0
        self.wrong: list[Any] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Reader:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.is_set():
            due = set(self.acknowledged)
            try:
                events, page = self.system.try_search("service:polled")
            except (httpx.HTTPError, AssertionError, KeyError) as error:
                self.wrong.append(error)
                return
            found = Counter(event["message"] for event in events)
            self.wrong += [("doubled", name) for name, times in found.items() if times > 1]
            if page["complete"]:
                self.complete += 1
                self.wrong += [("gap", sorted(due - found.keys())[:5])] if due - found.keys() else []
            else:
                self.incomplete += 1
                assert page["incomplete"]


@pytest.mark.parametrize("kill", [False, True], ids=["flushes", "flushes and take-overs"])
def test_a_polling_reader_sees_no_gap_and_no_double(system: System, kill: bool) -> None:
    with Reader(system) as reader:
        for turn in range(ROUNDS):
            names = [f"{kill} {turn} {number}" for number in range(BATCH)]
            system.push([{"message": name, "service": "polled"} for name in names])
            reader.acknowledged += names
            if turn % 3 == 1:
                system.http.post("/search/v1/flush").raise_for_status()
            if kill and turn == ROUNDS // 2:
                victim = persist_actors(system)[0]
                victim.kill()
                wait_until(lambda: len(persist_actors(system)) == 2, "the actor was not replaced")
        seen = reader.complete
        wait_until(lambda: reader.complete > seen + 2 or reader.wrong, "no complete answer any more")
    assert reader.wrong == []
    assert reader.complete > 2
    assert {e["message"] for e in system.search("service:polled")} >= set(reader.acknowledged)
