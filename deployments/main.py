"""The driver of one embedded system, `python -m deployments.main`: started by `ess up` in a session of its own.

May live here: the order of starting and stopping. May not: `import ray` before the environment stands, or what is
deployed (`app`).
"""

from __future__ import annotations

import fcntl
import ipaddress
import logging
import os
import shutil
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import Final

import click
import psutil

from ess_ray import telemetry
from ess_ray.adapters.places import KEYS, LOG, places_of
from ess_ray.core.errors import BadRequest, Conflict, EssError, Unavailable
from ess_ray.keys import KeyBook
from ess_ray.mend import heal
from ess_ray.runtime import environment
from ess_ray.runtime.processes import LOG_FILE, RUN_FILE, RunFile, boot_id, end_all, read_run_file
from ess_ray.settings import Settings, load

_log = logging.getLogger(__name__)

LOCK_FILE: Final = "run.lock"


@contextmanager
def alone(data_dir: Path) -> Iterator[None]:
    """Hold the data directory for this process. Raises Conflict while another system runs on it."""
    data_dir.mkdir(parents=True, exist_ok=True)
    with (data_dir / LOCK_FILE).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Conflict(f"a system already runs on {data_dir}: `ess down` ends it, `ess status` shows it") from None
        yield


def check_port(host: str, port: int) -> None:
    """Raise Unavailable when somebody else listens where HTTP is to be."""
    problem = environment.port_problem(host, port)
    if problem is not None:
        raise Unavailable(f"port {port} of {host} cannot be used ({problem}): choose another with --port")


def check_listener(host: str, keys: KeyBook) -> None:
    """Raise BadRequest for an address that others can reach while everybody would be let in."""
    try:
        on_loopback = ipaddress.ip_address(host).is_loopback
    except ValueError:
        on_loopback = host == "localhost"
    if not on_loopback and not keys.look().closed:
        raise BadRequest(
            f"{host} is not loopback, and without a key everybody would be let in: make one first, with "
            "`ess keys create --scope push --scope search --scope admin`"
        )


def run(settings: Settings, stop: threading.Event) -> None:
    """Bring the system up, wait until `stop`, store what is buffered, and end every process of it."""
    data_dir = settings.data_dir.resolve()
    with alone(data_dir):
        left = read_run_file(data_dir)
        if left is not None and end_all(left, spare=os.getpid()):
            raise Unavailable(
                f"processes of an earlier run on {data_dir} cannot be ended; see `ps -s {left.session_id}`"
            )
        places = places_of(settings)
        for told in heal(places, None if settings.log.brokers else places.data_dir / LOG):
            _log.warning("%s", told)
        check_port(settings.http.host, settings.http.port)
        check_listener(settings.http.host, KeyBook(places.store(KEYS)))
        dirs = environment.run_dirs(data_dir)
        os.environ.update(environment.prepare(dirs))
        os.environ.update(telemetry.worker_variables(settings.log_level, settings.log_format, data_dir / LOG_FILE))
        me = RunFile(
            session_id=os.getsid(0),
            started_s=psutil.Process().create_time(),
            url=f"http://{settings.http.host}:{settings.http.port}",
            port=settings.http.port,
            dashboard_url="",
            log_file=str(data_dir / LOG_FILE),
            boot_id=boot_id(),
        )
        me.write(data_dir)
        try:
            _serve(settings, dirs, me, stop)
        finally:
            left_over = end_all(me, spare=os.getpid())
            (data_dir / RUN_FILE).unlink(missing_ok=True)
            shutil.rmtree(dirs.temp, ignore_errors=True)
            if left_over:
                _log.error("these processes would not end: %s", left_over)


def _serve(settings: Settings, dirs: environment.RunDirs, me: RunFile, stop: threading.Event) -> None:
    # Only now: ray reads the environment when it is imported.
    from deployments import app
    from ess_ray.runtime import node

    system = app.system_of(settings)
    dashboard_url = node.start_node(dirs.temp, system.namespace, settings.http.host, settings.http.port)
    _on_signals(stop)  # again: Ray has set its own handlers
    try:
        running = app.start(system)
        replace(me, dashboard_url=dashboard_url).write(settings.data_dir.resolve())
        _log.info("ready at %s, dashboard at %s (token in %s)", me.url, dashboard_url, dirs.token)
        stop.wait()
        _log.info("stopping: storing what is buffered")
        running.flush()
    finally:
        node.stop_node()


def _on_signals(stop: threading.Event) -> None:
    def asked(number: int, frame: FrameType | None) -> None:
        stop.set()

    signal.signal(signal.SIGTERM, asked)
    signal.signal(signal.SIGINT, asked)


def _stop_with_parent(stop: threading.Event) -> None:
    """Stop when the other end of standard input is gone: `ess up` in the foreground was ended, however."""

    def wait() -> None:
        while os.read(0, 1):
            continue
        stop.set()

    threading.Thread(target=wait, name="parent watch", daemon=True).start()


@click.command()
@click.option("--data-dir", type=click.Path(path_type=Path))
@click.option("--port", type=int)
@click.option("--with-parent", is_flag=True, help="Stop when standard input closes.")
def main(data_dir: Path | None, port: int | None, with_parent: bool) -> None:
    """Run one system until SIGTERM."""
    stop = threading.Event()
    _on_signals(stop)
    if with_parent:
        _stop_with_parent(stop)
    try:
        settings = load(data_dir=data_dir, http=None if port is None else {"port": port})
        telemetry.setup(
            settings.log_level, as_json=None if settings.log_format == "auto" else settings.log_format == "json"
        )
        run(settings, stop)
    except EssError as error:
        click.echo(f"ess: {error.message}", err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
