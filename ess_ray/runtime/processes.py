"""The processes of one running system: found and ended by their session, and the run file that tells of them.

The driver is started in a session of its own (`setsid`), which all of Ray's processes inherit: groups, parents and
environment markers each miss some. May live here: the run file, finding and ending processes. May not: Ray, or anything
that touches events.
"""

from __future__ import annotations

import json
import logging
import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import psutil

from ess_ray.core.errors import CorruptData

_log = logging.getLogger(__name__)

RUN_FILE: Final = "run.json"
LOG_FILE: Final = "system.log"
"""What the driver and Ray print, beside the run file in the data directory."""
END_TIMEOUT_S: Final = 10.0
"""How long killed processes may take to disappear: the kernel may be writing for them."""
_POLL_S: Final = 0.05
_CLOCK_SLACK_S: Final = 2.0
"""psutil computes start times from the boot time, whose rounding differs between calls."""


@dataclass(frozen=True, slots=True)
class RunFile:
    """What `DATA_DIR/run.json` tells: `session_id` is the driver's pid as well; `started_s` its epoch start time."""

    session_id: int
    started_s: float
    url: str
    port: int
    dashboard_url: str
    log_file: str
    boot_id: str

    def write(self, data_dir: Path) -> None:
        """Replace the run file at once, so that no reader sees half of it."""
        temporary = data_dir / f".{RUN_FILE}.{os.getpid()}"
        temporary.write_text(json.dumps(asdict(self), indent=1) + "\n")
        temporary.replace(data_dir / RUN_FILE)


def read_run_file(data_dir: Path) -> RunFile | None:
    """Give what runs (or ran, if it was killed) on a data directory; None when nothing was left running.

    A file that a power cut left cut or empty is of before this boot, and so is what it told of. Raises CorruptData.
    """
    file = data_dir / RUN_FILE
    try:
        return RunFile(**json.loads(file.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError) as error:
        if file.is_file() and file.stat().st_mtime < psutil.boot_time() - _CLOCK_SLACK_S:
            _log.warning(
                "%s cannot be read (%s); it is of before this boot, so nothing of it runs any more", file, error
            )
            return None
        advice = f"end what `ps -eo pid,sid,args | grep deployments.main` shows of it, if anything, then `rm {file}`"
        raise CorruptData(f"{file} does not tell what runs there ({error}); {advice}") from error


def boot_id() -> str:
    """Name this boot of the machine: process ids of another boot mean nothing."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def driver(run: RunFile) -> psutil.Process | None:
    """Give the driver of a run if it still lives."""
    if run.boot_id != boot_id():
        return None
    try:
        process = psutil.Process(run.session_id)
        same = abs(process.create_time() - run.started_s) < _CLOCK_SLACK_S
        return process if same and process.status() != psutil.STATUS_ZOMBIE else None
    except psutil.NoSuchProcess:
        return None


def members(run: RunFile, spare: int | None = None) -> list[psutil.Process]:
    """Find every living process of a run's session, except `spare`.

    A session's id is not given out again while a member lives, so only a session whose leader is another process than
    ours, or whose members are older than our driver, is somebody else's.
    """
    if run.boot_id != boot_id():
        return []
    leader_is_another = psutil.pid_exists(run.session_id) and driver(run) is None and not _zombie(run.session_id)
    if leader_is_another:
        return []
    found = []
    for process in psutil.process_iter():
        try:
            if os.getsid(process.pid) != run.session_id or process.pid == spare:
                continue
            if process.status() == psutil.STATUS_ZOMBIE or process.create_time() < run.started_s - _CLOCK_SLACK_S:
                continue
        except (ProcessLookupError, psutil.NoSuchProcess):
            continue
        found.append(process)
    return found


def _zombie(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def end_all(run: RunFile, spare: int | None = None) -> list[psutil.Process]:
    """Kill what is left of a run; gives what would not die within END_TIMEOUT_S. Idempotent."""
    deadline = time.monotonic() + END_TIMEOUT_S
    while left := members(run, spare):
        for process in left:
            try:
                process.kill()
            except psutil.NoSuchProcess:
                continue
        if time.monotonic() > deadline:
            return left
        psutil.wait_procs(left, timeout=_POLL_S)
    return []
