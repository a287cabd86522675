"""Keeping a system alive: one life after the other, as long as lives do not end too fast."""

from __future__ import annotations

import logging
import os
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, Protocol

import orjson

from ess_ray.runtime.processes import how_it_ended

_log = logging.getLogger(__name__)

MAX_RESTARTS: Final = 3
RESTARTS_WITHIN_S: Final = 600.0
"""What ends oftener than that does not end by accident: a person, or whoever starts the driver, has to see it."""
STOP_TIMEOUT_S: Final = 76.0
"""Listeners may take 8 s to end, storing what is buffered 60 s, and Ray's end a few; `ess down` waits 80 s for all that
ends then."""
START_TIMEOUT_S: Final = 300.0
"""Ready takes ten seconds, on a busy machine a minute or two; `ess up` waits a little longer."""
POLL_S: Final = 0.1
"""How often a life is looked at: once it has ended nothing answers, so at once."""


class Life(Protocol):
    """A system that was started. All of its methods return at once, but `stop`."""

    @property
    def ready(self) -> str | None:
        """The dashboard's address once the system has been ready; None before."""
        ...

    @property
    def by_chance(self) -> bool:
        """Whether what it was lost for may be otherwise the next time: Ray gives up on a machine that is too busy."""
        ...

    def lost(self) -> str | None:
        """Tell why it ended; None while it runs."""
        ...

    def stop(self) -> None:
        """Have it store what is buffered and end; returns when it has, or should have. Idempotent."""
        ...

    def close(self) -> None:
        """Let go of one whose processes have been ended."""
        ...


class Restarts:
    """Counts starts: at most `most` within `within_s` seconds of `clock_s`, which never steps back."""

    def __init__(
        self,
        most: int = MAX_RESTARTS,
        within_s: float = RESTARTS_WITHIN_S,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._most, self._within_s, self._clock_s = most, within_s, clock_s
        self._at_s: deque[float] = deque()

    @property
    def told(self) -> str:
        """How many there were, for people."""
        return f"{len(self._at_s)} of at most {self._most} within {self._within_s / 60:g} minutes"

    def another(self) -> bool:
        """Count one more start if there may be one just now."""
        now_s = self._clock_s()
        while self._at_s and now_s - self._at_s[0] >= self._within_s:
            self._at_s.popleft()
        if len(self._at_s) >= self._most:
            return False
        self._at_s.append(now_s)
        return True


def keep_alive(
    *,
    start: Callable[[], Life],
    clean_up: Callable[[], None],
    stop: threading.Event,
    restarts: Restarts,
    on_ready: Callable[[str], None],
    on_lost: Callable[[str], None],
) -> str | None:
    """Run lives until `stop`, which gives None, or until one is lost that must not be followed, whose reason is given.

    `clean_up` ends every process of a life, and is called after each. `on_ready` is told the dashboard's address when
    a life is ready, `on_lost` why there will be another one. The first life is not followed unless it was ready, or was
    lost by chance.
    """
    followed = False
    while True:
        life = start()
        try:
            lost = _watch(life, stop, on_ready)
            if lost is None and life.ready is not None:
                life.stop()
        finally:
            clean_up()
            life.close()
        if lost is None:
            return None
        if life.ready is None and not followed and not life.by_chance:
            return lost
        if not restarts.another():
            return f"{lost}. It was started again {restarts.told}, and is not once more"
        followed = True
        _log.error("%s: the system is started again (%s)", lost, restarts.told)
        on_lost(lost)


def _watch(life: Life, stop: threading.Event, on_ready: Callable[[str], None]) -> str | None:
    """Look at a life until it is lost, and give why; None when it is to stop."""
    told = False
    while not stop.wait(POLL_S):
        ready = life.ready
        if ready is not None and not told:
            on_ready(ready)
            told = True
        lost = life.lost()
        if lost is not None:
            return lost
    return None


class LifeProcess:
    """A life as a child process of this one, in the same session. It ends with this one."""

    def __init__(
        self, command: Sequence[str], on_step: Callable[[str], None], stop_timeout_s: float = STOP_TIMEOUT_S
    ) -> None:
        """`command` is given `--tell` and a descriptor, to which it writes JSON lines: `step`, `ready`, or `lost` and
        `by_chance`.

        `on_step` is told what is being done, from another thread, and never after `ready` has been seen.
        """
        self._on_step, self._stop_timeout_s = on_step, stop_timeout_s
        heard, tell = os.pipe()
        try:
            self._child = subprocess.Popen(
                [*command, "--tell", str(tell)],
                stdin=subprocess.PIPE,  # which closes when this process ends, however it does
                pass_fds=(tell,),
            )
        except BaseException:
            os.close(heard)
            raise
        finally:
            os.close(tell)
        self.ready: str | None = None
        self.by_chance = False
        self._reason: str | None = None
        self._born_s = time.monotonic()
        self._listener = threading.Thread(target=self._listen, args=(heard,), name="life", daemon=True)
        self._listener.start()

    def _listen(self, heard: int) -> None:
        with open(heard, "rb") as lines:
            for line in lines:
                said = orjson.loads(line)
                if "step" in said:
                    self._on_step(said["step"])
                self.ready = said.get("ready", self.ready)
                self._reason = said.get("lost", self._reason)
                self.by_chance = said.get("by_chance", self.by_chance)

    def lost(self) -> str | None:
        """See `Life`."""
        code = self._child.poll()
        if code is None:
            late = self.ready is None and time.monotonic() - self._born_s >= START_TIMEOUT_S
            return f"the system was not ready within {START_TIMEOUT_S:g} s" if late else None
        self._listener.join(POLL_S)  # its last words; none if another process still holds the pipe
        return self._reason or f"the process that Ray hangs on ended {how_it_ended(code)}"

    def stop(self) -> None:
        """See `Life`. One that does not end in time is left to whoever cleans up."""
        self._child.terminate()
        try:
            self._child.wait(self._stop_timeout_s)
        except subprocess.TimeoutExpired:
            _log.error(
                "the system has not stopped within %g s: what was not stored is in the log", self._stop_timeout_s
            )

    def close(self) -> None:
        """See `Life`."""
        if self._child.stdin is not None:
            self._child.stdin.close()
        self._child.poll()
        self._listener.join(POLL_S)
