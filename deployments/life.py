"""One life of a system, `python -m deployments.life`: Ray, Serve and the pool, until they are to stop or have lost what
they stand on.

A child of the driver (`main`), which prepared the environment and starts another life when this one is lost.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any, Final

import click
import orjson

from ess_ray import telemetry
from ess_ray.core.errors import EssError, Unavailable
from ess_ray.runtime.lean import do_without_pandas
from ess_ray.settings import Settings, load

_log = logging.getLogger("deployments.life")  # not its __name__, which is __main__

WATCH_INTERVAL_S: Final = 0.5
"""How often the processes are looked at that nobody brings back: what was lost is noticed sooner than a client asks
again."""
LOST: Final = 3
"""The exit code of a life that cannot go on: neither 0, as asked, nor Python's own 1 and 2."""


class RayNotReady(Unavailable):
    """Ray's processes were not there in the 30 s that Ray gives them: on a busy machine by chance."""


def _live(settings: Settings, temp_dir: Path, stop: threading.Event, tell: int) -> str | None:
    """Run until `stop`, having stored what is buffered then; or until something is lost, whose name is given."""
    told = partial(_tell_step, tell)
    told("starting Ray")
    do_without_pandas()
    # Only now: ray reads the environment when it is imported, and it takes a second.
    from deployments import app
    from ess_ray.runtime import node

    system = replace(app.system_of(settings), session_id=os.getsid(0))
    try:
        dashboard_url = node.start_ray(temp_dir, system.namespace)
    except Exception as error:  # Ray's own is of no class of its own
        raise RayNotReady(f"Ray did not start: {' '.join(str(error).split())}") from error
    on_signals(stop)  # again: Ray has set its own handlers
    told("starting Serve and its HTTP proxy")
    node.start_serve(settings.http.host, settings.http.port)
    running = app.start(system, told)
    _tell(tell, ready=dashboard_url)
    processes = node.Processes()
    while not stop.wait(WATCH_INTERVAL_S):
        lost = processes.lost()
        if lost is not None:
            return lost
    _log.info("stopping: storing what is buffered")
    running.drain()
    running.flush()
    node.stop_node()
    return None


def _tell_step(descriptor: int, step: str) -> None:
    """Say what is being done next."""
    _tell(descriptor, step=step)


def _tell(descriptor: int, **said: Any) -> None:
    """Say something to the driver; a driver that is gone does not hear it."""
    try:
        os.write(descriptor, orjson.dumps(said) + b"\n")
    except BrokenPipeError:
        _log.warning("the driver is gone, and is not told: %s", said)


def on_signals(stop: threading.Event) -> None:
    """Have SIGTERM and SIGINT set `stop`."""

    def asked(number: int, frame: FrameType | None) -> None:
        stop.set()

    signal.signal(signal.SIGTERM, asked)
    signal.signal(signal.SIGINT, asked)


def stop_at_end_of_input(stop: threading.Event) -> None:
    """Stop when the other end of standard input is gone: who started this process has ended, however it did."""

    def wait() -> None:
        while os.read(0, 1):
            continue
        stop.set()

    threading.Thread(target=wait, name="parent watch", daemon=True).start()


@click.command()
@click.option("--data-dir", type=click.Path(path_type=Path), required=True)
@click.option("--port", type=int, required=True)
@click.option("--temp-dir", type=click.Path(path_type=Path), required=True)
@click.option("--tell", type=int, required=True, help="The descriptor of the pipe to the driver.")
def main(data_dir: Path, port: int, temp_dir: Path, tell: int) -> None:
    """Run one life; started by the driver alone."""
    stop = threading.Event()
    on_signals(stop)
    stop_at_end_of_input(stop)
    lost: str | None
    by_chance = False
    try:
        settings = load(data_dir=data_dir, http={"port": port})
        telemetry.setup(
            settings.log_level, as_json=None if settings.log_format == "auto" else settings.log_format == "json"
        )
        lost = _live(settings, temp_dir, stop, tell)
    except EssError as error:
        lost, by_chance = error.message, isinstance(error, RayNotReady)
    except Exception as error:  # noqa: BLE001 (whatever Ray raises: the driver decides what comes of it)
        _log.exception("the system cannot run")
        lost = f"{type(error).__name__}: {' '.join(str(error).split())}"
    if lost is not None:
        _tell(tell, lost=lost, by_chance=by_chance)
        sys.stdout.flush()
        sys.stderr.flush()
        # No good order: Ray's would wait for processes that are gone.
        os._exit(LOST)


if __name__ == "__main__":
    main()
