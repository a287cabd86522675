"""Calls to actors: what becomes of their answers."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ray import exceptions as ray_errors

from ess_ray.adapters.places import Places
from ess_ray.core.errors import Unavailable
from ess_ray.runtime.wiring import RemoteActor, System, call


async def test_a_cancellation_that_comes_with_the_answer_is_not_lost() -> None:
    """Else a search that is stopped in that moment runs on, and who stopped it waits for its end."""
    answer: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    calling = asyncio.create_task(call(answer, "somebody"))
    for _ in range(3):  # until it waits
        await asyncio.sleep(0)
    answer.set_result(1)
    calling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await calling


async def test_who_does_not_answer_in_time_is_unavailable() -> None:
    never: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    with pytest.raises(Unavailable, match=r"somebody did not answer within 0\.01 s"):
        await call(never, "somebody", 0.01)


@dataclass(frozen=True)
class Actors(System):
    """A system whose one actor answers as the test says; finding it may block."""

    answer: Callable[[], Any] = lambda: None
    found: list[str] = field(default_factory=list)
    open: threading.Event = field(default_factory=threading.Event)

    def actor(self, name: str) -> Any:
        self.found.append(name)
        self.open.wait()
        return SimpleNamespace(ask=SimpleNamespace(remote=self._remote))

    def _remote(self) -> asyncio.Future[Any]:
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        given = self.answer()
        if isinstance(given, Exception):
            future.set_exception(given)
        elif given is not None:
            future.set_result(given)
        return future


async def test_an_actor_is_found_once_for_all_who_wait_and_nobody_else_waits_for_it(tmp_path: Path) -> None:
    system = Actors(Places(tmp_path), "test", answer=lambda: "an answer")
    actor = RemoteActor(system, "log", "the event log")
    calls = [asyncio.create_task(actor.call("ask")) for _ in range(20)]
    turns = 0
    while not system.found:
        await asyncio.sleep(0)
        turns += 1
    assert not any(each.done() for each in calls), "the loop went on meanwhile"
    calls.pop().cancel()
    system.open.set()
    assert await asyncio.gather(*calls) == ["an answer"] * 19
    assert system.found == ["log"]


async def test_a_handle_is_kept_when_there_is_no_answer_and_let_go_of_when_the_actor_is_gone(tmp_path: Path) -> None:
    answers = iter([None, "late", ray_errors.ActorDiedError(), "of the next one"])
    system = Actors(Places(tmp_path), "test", answer=lambda: next(answers))
    system.open.set()
    actor = RemoteActor(system, "log", "the event log")
    with pytest.raises(Unavailable, match="did not answer within"):
        await actor.call("ask", timeout_s=0.01)
    assert await actor.call("ask") == "late"
    assert system.found == ["log"]
    with pytest.raises(Unavailable, match="is not there"):
        await actor.call("ask")
    assert await actor.call("ask") == "of the next one"
    assert system.found == ["log", "log"]
