"""Health: told within its deadline whatever hangs, one question at a time to each part, and by what pushes meet."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable, Sequence

import pytest

from deployments.health import LOOK_TIMEOUT_S, PROCESSES_AGE_S, Health, StoppedProcesses
from ess_ray.core.errors import Unavailable
from ess_ray.runtime.blocking import DaemonThreads, off_loop
from tests.waiting import until

CONTRACT_S = 2.0


async def well() -> None:
    return None


async def hangs() -> None:
    await asyncio.Event().wait()


async def is_away() -> None:
    raise Unavailable("it is away")


async def breaks() -> None:
    raise ZeroDivisionError("by nothing")


async def tells() -> list[str]:
    return ["a virtual node has no owner"]


def test_the_deadline_of_a_part_leaves_room_within_the_contract() -> None:
    assert LOOK_TIMEOUT_S < CONTRACT_S


@pytest.mark.parametrize(
    ("look", "told"),
    [
        (well, []),
        (hangs, ["the part did not answer within 0.01 s"]),
        (is_away, ["the part: it is away"]),
        (breaks, ["the part: ZeroDivisionError: by nothing"]),
        (tells, ["a virtual node has no owner"]),
    ],
)
async def test_what_a_part_does_is_told(look: Callable[[], Awaitable[Sequence[str] | None]], told: list[str]) -> None:
    assert await Health({"the part": look}, look_timeout_s=0.01).problems() == told


async def test_parts_are_asked_at_the_same_time_and_what_is_known_here_is_told_too() -> None:
    both = asyncio.Barrier(2)

    async def meets() -> None:
        await both.wait()

    health = Health({"one": meets, "other": meets}, [lambda: ["known here"]])
    assert await health.problems() == ["known here"]


async def test_a_part_that_hangs_is_asked_once_until_it_answers() -> None:
    asked, answer = [], asyncio.Event()

    async def slow() -> None:
        asked.append(1)
        await answer.wait()

    health = Health({"the part": slow}, look_timeout_s=0.01)
    for _ in range(5):
        assert await health.problems()
    assert len(asked) == 1
    answer.set()
    await until(lambda: asyncio.all_tasks() == {asyncio.current_task()}, "the question does not end")
    assert await health.problems() == []
    assert len(asked) == 2


def test_stopped_processes_of_the_session_are_told_and_looked_for_now_and_then() -> None:
    now_s = 0.0
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, start_new_session=True)
    try:
        told = StoppedProcesses(child.pid, lambda: now_s)
        assert told() == []
        child.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, child.pid, os.WSTOPPED | os.WNOWAIT)
        assert told() == [], "it was looked at this very moment"
        now_s = PROCESSES_AGE_S
        assert f"pid {child.pid}" in told()[0]
        assert StoppedProcesses(None)() == []
    finally:
        child.kill()
        child.communicate()


# ------------------------------------------------------------------------------------------- calls that block for ever
async def test_a_call_that_blocks_for_ever_is_unavailable_and_blocks_nobody() -> None:
    threads, free = DaemonThreads(2), threading.Event()
    blocked = [
        asyncio.create_task(off_loop(free.wait, what="somebody", timeout_s=0.05, threads=threads)) for _ in range(5)
    ]
    for ended in await asyncio.gather(*blocked, return_exceptions=True):
        assert isinstance(ended, Unavailable)
        assert "somebody did not answer within 0.05 s" in ended.message
    alive = [thread for thread in threading.enumerate() if thread.name.startswith("blocking-") and thread.daemon]
    assert len(alive) >= 2
    later = asyncio.create_task(off_loop(lambda: "later", threads=threads))
    await asyncio.sleep(0)
    assert not later.done()
    free.set()
    assert await later == "later", "a thread that goes on takes what waits"


async def test_no_more_threads_are_taken_than_allowed() -> None:
    threads, free, running = DaemonThreads(3), threading.Event(), threading.Semaphore(0)

    def stuck() -> None:
        running.release()
        free.wait()

    waiting = [asyncio.create_task(off_loop(stuck, threads=threads)) for _ in range(10)]
    await asyncio.sleep(0)
    for _ in range(3):
        assert await asyncio.to_thread(running.acquire, timeout=30)
    assert not running.acquire(blocking=False)
    free.set()
    await asyncio.gather(*waiting)


async def test_what_it_raises_comes_as_it_was_raised() -> None:
    with pytest.raises(ZeroDivisionError):
        await off_loop(divmod, 1, 0)
    with pytest.raises(TimeoutError, match="its own"):
        await off_loop(_times_out)


def _times_out() -> None:
    raise TimeoutError("its own")


def test_a_thread_that_is_stuck_does_not_keep_the_process() -> None:
    script = (
        "import asyncio, threading\n"
        "from ess_ray.runtime.blocking import off_loop\n"
        "from ess_ray.core.errors import Unavailable\n"
        "try: asyncio.run(off_loop(threading.Event().wait, timeout_s=0.05))\n"
        "except Unavailable: print('unavailable')\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "unavailable\n"
