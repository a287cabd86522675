"""The driver of one embedded system, `python -m deployments.main`: started by `ess up` in a session of its own.

It holds the data directory, prepares, and starts the system as a child process (`life`): again when that was lost, and
it ends all processes.
"""

from __future__ import annotations

import fcntl
import ipaddress
import logging
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final

import click
import psutil

from deployments.keeper import LifeProcess, Restarts, keep_alive
from deployments.life import on_signals, stop_at_end_of_input
from ess_ray import telemetry
from ess_ray.adapters.places import KEYS, LOG, places_of
from ess_ray.adapters.private import OTHERS, claim
from ess_ray.core.errors import BadRequest, Conflict, EssError, Unavailable
from ess_ray.intake.listening.listening import port_problem
from ess_ray.keys import KeyBook
from ess_ray.runtime import environment
from ess_ray.runtime.processes import (
    LOG_FILE,
    RUN_FILE,
    RunFile,
    boot_id,
    end_all,
    forget_end,
    read_run_file,
    write_end,
)
from ess_ray.settings import Settings, load
from ess_ray.table.mend import heal

_log = logging.getLogger("deployments.main")  # not its __name__, which is __main__

LIFE: Final = "deployments.life"
LOCK_FILE: Final = "run.lock"


@contextmanager
def alone(data_dir: Path) -> Iterator[None]:
    """Hold the data directory for this process, closed to other users.

    Raises Conflict while another system runs on it, Forbidden when it is somebody else's, Unavailable.
    """
    opened = claim(data_dir)
    if opened is not None:
        _log.warning(opened)
    with (data_dir / LOCK_FILE).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Conflict(f"a system already runs on {data_dir}: `ess down` ends it, `ess status` shows it") from None
        yield


def check_port(host: str, port: int, how: str = "with --port") -> None:
    """Raise Unavailable when somebody else listens where HTTP is to be; `how` another one is chosen."""
    problem = environment.port_problem(host, port)
    if problem is not None:
        raise Unavailable(f"port {port} of {host} cannot be used ({problem}): choose another {how}")


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


def check_listened_ports(settings: Settings) -> None:
    """Raise Unavailable when somebody else has a port that was chosen for a listener; the usual ones are left off."""
    for at in settings.listeners.wanted:
        problem = port_problem(at) if at.is_explicit else None
        if problem is not None:
            raise Unavailable(
                f"port {at.port} of {at.host} cannot be used for {at.protocol} ({problem}): choose another as "
                f"listeners.{at.protocol}.port"
            )


def run(settings: Settings, stop: threading.Event) -> None:
    """Keep the system up until `stop`, then store what is buffered; in the end every process of it is ended.

    Raises Unavailable when it cannot be started, or ended too often; why is left in the data directory then.
    """
    data_dir = settings.data_dir.resolve()
    with alone(data_dir):
        left = read_run_file(data_dir)
        if left is not None:
            if end_all(left, spare=os.getpid()):
                raise Unavailable(
                    f"processes of an earlier run on {data_dir} cannot be ended; see `ps -s {left.session_id}`"
                )
            environment.remove_run_dirs(environment.RunDirs(Path(left.run_dir)))
        telemetry.RotatedLog(data_dir / LOG_FILE).start()
        places = places_of(settings)
        for told in heal(places, None if settings.log.brokers else places.data_dir / LOG):
            _log.warning("%s", told)
        check_port(settings.http.host, settings.http.port)
        if settings.http.elasticsearch_port is not None:
            check_port(settings.http.host, settings.http.elasticsearch_port, "as http.elasticsearch_port")
        check_listener(settings.http.host, KeyBook(places.store(KEYS)))
        check_listened_ports(settings)
        os.environ.update(telemetry.worker_variables(settings.log_level, settings.log_format, data_dir / LOG_FILE))
        dirs = environment.new_run_dirs()
        me = RunFile(
            session_id=os.getsid(0),
            started_s=psutil.Process().create_time(),
            url=f"http://{settings.http.host}:{settings.http.port}",
            port=settings.http.port,
            dashboard_url="",
            log_file=str(data_dir / LOG_FILE),
            boot_id=boot_id(),
            run_dir=str(dirs.private),
        )
        me.write(data_dir)
        forget_end(data_dir)
        try:
            os.environ.update(environment.prepare(dirs, settings.http.elasticsearch_port))
            reason = _keep(me, data_dir, dirs, stop)
        finally:
            environment.remove_run_dirs(dirs)
            (data_dir / RUN_FILE).unlink(missing_ok=True)
        if reason is not None:
            with _although_the_disk_may_be_full():
                write_end(data_dir, reason)
            raise Unavailable(reason)


@contextmanager
def _although_the_disk_may_be_full() -> Iterator[None]:
    """Do something that is for people only: a system that runs goes on without it."""
    try:
        yield
    except OSError as error:
        _log.warning("it cannot be written down where the system stands: %s", error)


def _keep(me: RunFile, data_dir: Path, dirs: environment.RunDirs, stop: threading.Event) -> str | None:
    """Run life after life, telling in the run file where they stand; gives why there is no other one."""
    lost_for = ""

    def tell(told: RunFile) -> None:
        with _although_the_disk_may_be_full():
            told.write(data_dir)

    def start() -> LifeProcess:
        arguments = ["--data-dir", str(data_dir), "--port", str(me.port), "--temp-dir", str(dirs.ray)]
        return LifeProcess([sys.executable, "-m", LIFE, *arguments], step)

    def clean_up() -> None:
        left_over = end_all(me, spare=os.getpid())
        if left_over:
            _log.error("these processes would not end: %s", left_over)

    def step(what: str) -> None:
        _log.info(what)
        tell(replace(me, step=what, restarting=lost_for))

    def ready(dashboard_url: str) -> None:
        tell(replace(me, dashboard_url=dashboard_url))
        _log.info("ready at %s, dashboard at %s (token in %s)", me.url, dashboard_url, dirs.token)

    def lost(reason: str) -> None:
        nonlocal lost_for
        lost_for = reason
        tell(replace(me, restarting=reason))

    return keep_alive(start=start, clean_up=clean_up, stop=stop, restarts=Restarts(), on_ready=ready, on_lost=lost)


@click.command()
@click.option("--data-dir", type=click.Path(path_type=Path))
@click.option("--port", type=int)
@click.option("--with-parent", is_flag=True, help="Stop when standard input closes.")
def main(data_dir: Path | None, port: int | None, with_parent: bool) -> None:
    """Run one system until SIGTERM."""
    os.umask(OTHERS)  # of everything that this and Ray's processes write
    stop = threading.Event()
    on_signals(stop)
    if with_parent:
        stop_at_end_of_input(stop)
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
