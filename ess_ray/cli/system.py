"""`ess up` and `ess down`: start the driver of a system, wait until it is ready, and end it with all its processes."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Final

import click
import httpx
import psutil

from ess_ray.adapters.places import KEYS, places_of
from ess_ray.adapters.private import check_owner, claim, others_write
from ess_ray.cli.client import locate
from ess_ray.cli.generate_cmd import push_events
from ess_ray.cli.options import Chosen, json_option, with_settings
from ess_ray.cli.output import print_json, tell
from ess_ray.cli.welcome import Ready, told_to_try, told_where
from ess_ray.core.errors import EssError, Forbidden, Unauthenticated, Unavailable
from ess_ray.generate import SECOND_US, events
from ess_ray.keys import KeyBook
from ess_ray.runtime.environment import RunDirs, remove_run_dirs
from ess_ray.runtime.processes import LOG_FILE, RUN_FILE, RunFile, driver, end_all, read_end, read_run_file
from ess_ray.settings import CONFIG_VARIABLE, Settings, settings_file

DRIVER: Final = "deployments.main"
READY_TIMEOUT_S: Final = 310.0
"""Ready takes about 10 s on two idle cores; a machine that builds or tests beside it takes several times that. More
than the driver gives its system (`keeper.START_TIMEOUT_S`), so that the driver tells why."""
STOP_TIMEOUT_S: Final = 80.0
"""The contract allows 90 s for `ess down`: what has not ended by then is killed, and its events stay in the log."""
POLL_S: Final = 0.1
SHOWN_LOG_LINES: Final = 15
LAST_STEP: Final = "asking push and search whether they are well"
DEMO_SEED: Final = 1
DEMO_SPAN_US: Final = 1800 * SECOND_US
"""Made-up events lie within the hour that a search looks at by default."""


@click.command()
@click.option("--port", type=click.IntRange(1, 65_535), help="Where HTTP listens, on loopback [ESS_HTTP__PORT; 8000].")
@click.option("--detach", is_flag=True, help="Return once the system is ready; `ess down` ends it.")
@click.option("--demo-events", type=click.IntRange(0), default=0, metavar="N", help="Push N made-up events once ready.")
@json_option
@with_settings
def up(chosen: Chosen, /, *, port: int | None, detach: bool, demo_events: int, as_json: bool) -> None:
    """Start a system on this machine: Ray, the persist pool, push and search. Ctrl-C stops it, with all events stored.

    Without --detach it stays in the foreground and ends with this command, however that ends.
    """
    settings = chosen.settings
    data_dir = settings.data_dir.resolve()
    opened = claim(data_dir)
    if opened is not None:
        tell(opened)
    log_file = data_dir / LOG_FILE
    last_end = read_end(data_dir)
    if last_end is not None:
        tell(last_end)
    started_s = time.monotonic()
    tell(f"starting a system in {data_dir}")
    child = start_driver(data_dir, port, log_file, detach)
    try:
        run = _wait_until_ready(child, data_dir, log_file)
        took_s = time.monotonic() - started_s
        pushed = _push_demo(settings, data_dir, demo_events) if demo_events else 0
        _welcome(run, settings, pushed, took_s, as_json)
        if not detach and child.wait() != 0:
            why = read_end(data_dir) or f"the system ended by itself (exit code {child.returncode})"
            raise Unavailable(f"{why}\n{_tail(log_file)}")
    except KeyboardInterrupt:
        tell("stopping: storing what is buffered")
        _stop(child)
        tell("stopped")
    except EssError:
        _stop(child)
        raise


def start_driver(data_dir: Path, port: int | None, log_file: Path, detach: bool) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", DRIVER, "--data-dir", str(data_dir)]
    command += [] if port is None else ["--port", str(port)]
    command += [] if detach else ["--with-parent"]
    with log_file.open("ab") as log:
        log_file.chmod(0o600)
        return subprocess.Popen(
            command,
            **_surroundings(data_dir),
            # The driver stops when this pipe closes, which the kernel does for us even after kill -9.
            stdin=subprocess.DEVNULL if detach else subprocess.PIPE,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


def _surroundings(data_dir: Path) -> dict[str, Any]:
    """Give the folder and the environment of the driver.

    Python looks for modules in the current folder first, and Ray's workers look where the driver is: what lay in /tmp
    would be run. From a folder that others can write to it is the data directory, and then relative paths in the
    settings count from there.
    """
    if not others_write(Path.cwd()):
        return {}
    file = settings_file()
    named = {} if file is None else {CONFIG_VARIABLE: str(file.absolute())}
    return {"cwd": data_dir, "env": {**os.environ, **named}}


def _wait_until_ready(child: subprocess.Popen[bytes], data_dir: Path, log_file: Path) -> RunFile:
    begun_s = time.monotonic()
    deadline, shown = begun_s + READY_TIMEOUT_S, ""
    while time.monotonic() < deadline:
        if child.poll() is not None:
            raise Unavailable(f"the system did not start:\n{_tail(log_file)}")
        run = read_run_file(data_dir)
        if run is not None and run.session_id == child.pid:
            step = LAST_STEP if run.dashboard_url else run.step
            if step and step != shown:
                shown = step
                tell(f"{time.monotonic() - begun_s:4.0f} s  {step}")
            if run.dashboard_url and _healthy(run.url):
                return run
        time.sleep(POLL_S)
    raise Unavailable(
        f"the system was not ready within {READY_TIMEOUT_S:g} s; its log is {log_file}:\n{_tail(log_file)}"
    )


def _get(url: str) -> httpx.Response:
    """Ask this machine, whatever proxy the environment names for the outer world."""
    return httpx.get(url, timeout=5.0, trust_env=False)


def _healthy(url: str) -> bool:
    try:
        return all(_get(f"{url}/{part}/healthz").status_code == 200 for part in ("push", "search"))
    except httpx.TransportError:
        return False


def _tail(log_file: Path) -> str:
    return "\n".join(log_file.read_text(errors="replace").splitlines()[-SHOWN_LOG_LINES:])


def _welcome(run: RunFile, settings: Settings, demo_events: int, took_s: float, as_json: bool) -> None:
    ready = Ready(
        url=run.url,
        dashboard_url=run.dashboard_url,
        token=RunDirs(Path(run.run_dir)).token,
        data_dir=settings.data_dir.resolve(),
        closed=_closed(settings),
        has_key=settings.key is not None,
        has_page=_has_page(run.url),
        demo_events=demo_events,
        took_s=took_s,
    )
    if as_json:
        print_json(
            {
                "url": ready.url,
                "dashboard_url": ready.dashboard_url,
                "dashboard_token_file": str(ready.token),
                "data_dir": str(ready.data_dir),
            }
        )
        return
    click.echo(told_where(ready))
    click.echo(told_to_try(ready))


def _closed(settings: Settings) -> bool:
    try:
        return KeyBook(places_of(settings).store(KEYS)).look().closed
    except EssError:
        return True  # as the system itself takes keys that cannot be read


def _has_page(url: str) -> bool:
    try:
        return "/assets/" in _get(url).text
    except httpx.TransportError:
        return False


def _push_demo(settings: Settings, data_dir: Path, count: int) -> int:
    """Push made-up events; gives how many. Without a key that may push, there are none, and the system goes on."""
    tell(f"pushing {count:,} made-up events")
    made = events(count, DEMO_SEED, time.time_ns() // 1000, DEMO_SPAN_US)
    try:
        return push_events(locate(settings, data_dir, None), made, count).accepted
    except (Unauthenticated, Forbidden) as error:
        tell(click.style(f"there are no made-up events: {error.message}, and set ESS_KEY to it", fg="yellow"))
        return 0


def _stop(child: subprocess.Popen[bytes]) -> None:
    """Ask the driver to stop, and wait; another Ctrl-C does not hurry it, since events are being stored."""
    child.terminate()
    deadline = time.monotonic() + STOP_TIMEOUT_S
    while time.monotonic() < deadline:
        try:
            child.wait(POLL_S)
            return
        except subprocess.TimeoutExpired:
            continue
        except KeyboardInterrupt:
            tell("still storing; a moment")
    child.kill()
    child.wait()


@click.command()
@json_option
@with_settings
def down(chosen: Chosen, /, *, as_json: bool) -> None:
    """End the system of a data directory: everything is stored, no process stays. Nothing running is no error."""
    data_dir = chosen.settings.data_dir.resolve()
    run = read_run_file(data_dir)
    ended = 0
    if run is not None:
        check_owner(data_dir)  # a run file of somebody else's could name any process
        leader = driver(run)
        if leader is not None:
            _terminate(leader)
        left = end_all(run)
        if left:
            raise EssError(f"these processes would not end: {', '.join(str(process.pid) for process in left)}")
        remove_run_dirs(RunDirs(Path(run.run_dir)))
        (data_dir / RUN_FILE).unlink(missing_ok=True)
        ended = 1
    if as_json:
        print_json({"ended": ended})
    else:
        click.echo("stopped" if ended else f"nothing runs on {data_dir}")


def _terminate(leader: psutil.Process) -> None:
    try:
        leader.terminate()
        leader.wait(STOP_TIMEOUT_S)
    except psutil.NoSuchProcess:
        return
    except psutil.TimeoutExpired:
        tell(f"it did not stop within {STOP_TIMEOUT_S:g} s and is killed; what was not stored is still in the log")
