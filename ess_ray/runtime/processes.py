"""The processes of one running system: found and ended by their session, and the run file that tells of them.

The driver is started in a session of its own (`setsid`), which all of Ray's processes inherit: groups, parents and
environment markers each miss some.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Final

import psutil

from ess_ray.core.errors import CorruptData

_log = logging.getLogger(__name__)

RUN_FILE: Final = "run.json"
LOG_FILE: Final = "system.log"
"""What the driver and Ray print, beside the run file in the data directory."""
END_FILE: Final = "ended.txt"
"""Why the last run ended by itself, until the next one starts."""
END_TIMEOUT_S: Final = 10.0
"""How long killed processes may take to disappear: the kernel may be writing for them."""
_POLL_S: Final = 0.05
_CLOCK_SLACK_S: Final = 2.0
"""psutil computes start times from the boot time, whose rounding differs between calls."""


_JSON: Final[dict[Any, Any]] = {"int": int, "float": (int, float), "str": str}
"""What a field of the run file may be."""


@dataclass(frozen=True, slots=True)
class RunFile:
    """What `DATA_DIR/run.json` tells: `session_id` is the driver's pid as well; `started_s` its epoch start time.

    `run_dir` is the folder of the run's sockets and secrets; "" where an older version wrote the file.
    """

    session_id: int
    started_s: float
    url: str
    port: int
    dashboard_url: str
    log_file: str
    boot_id: str
    run_dir: str = ""
    restarting: str = ""
    """Why the system was lost, while it is being started again."""
    step: str = ""
    """What is being done while it starts, for people."""

    def write(self, data_dir: Path) -> None:
        """Replace the run file at once, so that no reader sees half of it."""
        temporary = data_dir / f".{RUN_FILE}.{os.getpid()}"
        temporary.write_text(json.dumps(asdict(self), indent=1) + "\n")
        temporary.replace(data_dir / RUN_FILE)


def read_run_file(data_dir: Path) -> RunFile | None:
    """Give what runs (or ran, if it was killed) on a data directory; None when nothing was left running.

    What it does not know, a newer version wrote. A file that a power cut left cut or empty is of before this boot, and
    so is what it told of. Raises CorruptData, also for a file that somebody else put there.
    """
    file = data_dir / RUN_FILE
    advice = f"end what `ps -eo pid,sid,args | grep deployments.main` shows of it, if anything, then `rm {file}`"
    try:
        with file.open(encoding="utf-8") as opened:
            planted = os.fstat(opened.fileno()).st_uid != data_dir.stat().st_uid
            told = json.load(opened)
        run = RunFile(**{field.name: told[field.name] for field in fields(RunFile) if field.name in told})
        wrong = [field.name for field in fields(RunFile) if not isinstance(getattr(run, field.name), _JSON[field.type])]
        if wrong:
            raise ValueError(f"{', '.join(wrong)}")
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError) as error:
        if file.is_file() and file.stat().st_mtime < psutil.boot_time() - _CLOCK_SLACK_S:
            _log.warning(
                "%s cannot be read (%s); it is of before this boot, so nothing of it runs any more", file, error
            )
            return None
        raise CorruptData(f"{file} does not tell what runs there ({error}); {advice}") from error
    if planted:
        raise CorruptData(f"{file} is not of the owner of its folder, and so not believed; {advice}")
    return run


def write_end(data_dir: Path, reason: str) -> None:
    """Leave word of why a run ended by itself."""
    at = time.strftime("%Y-%m-%d %H:%M:%S %z")
    (data_dir / END_FILE).write_text(f"the last system ended by itself at {at}: {reason}\n", encoding="utf-8")


def read_end(data_dir: Path) -> str | None:
    """Give what the last run left word of; None when it ended as it was told, or nothing is known."""
    try:
        return (data_dir / END_FILE).read_text(encoding="utf-8", errors="replace").strip() or None
    except FileNotFoundError:
        return None


def forget_end(data_dir: Path) -> None:
    """A new run has begun."""
    (data_dir / END_FILE).unlink(missing_ok=True)


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


def how_it_ended(code: int) -> str:
    """Say it of an exit code as `subprocess` gives it."""
    if code >= 0:
        return f"with exit code {code}"
    try:
        return f"by {signal.Signals(-code).name}"
    except ValueError:
        return f"by signal {-code}"


def stopped(session_id: int) -> list[str]:
    """Name the processes of a session that somebody has stopped (SIGSTOP), by title and pid.

    Reads /proc alone, in a few milliseconds: no answer of any process is waited for.
    """
    return [
        f"{_title(pid)} (pid {pid}) is stopped: `kill -CONT {pid}` lets it go on"
        for pid, state, session in _states()
        if session == session_id and state == "T"
    ]


def _states() -> Iterator[tuple[int, str, int]]:
    """Give (pid, state letter, session) of every process; those that end meanwhile are left out."""
    for entry in os.scandir("/proc"):
        if not entry.name.isdigit():
            continue
        try:
            stat = Path(entry.path, "stat").read_text(errors="replace")
        except (FileNotFoundError, ProcessLookupError):
            continue
        # The name before stands in brackets, and may hold any character.
        state, _parent, _group, session = stat.rpartition(") ")[2].split()[:4]
        yield int(entry.name), state, int(session)


def _title(pid: int) -> str:
    """Give what a process calls itself, short: a module or a script where Python runs it."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").replace("\0", " ").split()
    except (FileNotFoundError, ProcessLookupError):
        return "a process"
    if not words:
        return "a process"
    runs_python = "python" in Path(words[0]).name and "-c" not in words
    named = [word for word in words[1:] if not word.startswith("-")] if runs_python else words
    return Path((named or words)[0]).name


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
