"""The checks of `ess doctor`: each looks at one thing and says what it found and what to do."""

from __future__ import annotations

import os
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Final

from packaging.requirements import Requirement

from ess_ray.cli.client import Client
from ess_ray.cli.folder_checks import folder_checks, record_checks
from ess_ray.cli.listener_checks import listener_checks
from ess_ray.cli.options import Chosen
from ess_ray.cli.port_checks import free_port_checks, open_port_checks, port_checks
from ess_ray.cli.server_checks import Check, State, server_checks
from ess_ray.core.errors import CorruptData, EssError
from ess_ray.runtime.processes import RunFile, read_run_file
from ess_ray.settings import PortAt, Settings, ports_of
from ess_ray.table.disk import judge, space_of

MIN_SHARED_BYTES: Final = 1024**3
"""Ray's object store lives in /dev/shm; in less it falls back to the disk, slowly."""
MIN_OPEN_FILES: Final = 4096
"""Ray opens hundreds of files and sockets for each worker."""
SLOW_FSYNC_S: Final = 0.02
"""An acknowledgement waits for one fsync: more than this shows as latency."""
FSYNCS: Final = 8
"""Probes, of which the median counts."""


def checks(chosen: Chosen) -> Iterator[Check]:
    """Run all checks, in the order in which a newcomer meets the troubles."""
    yield _python()
    yield from _packages()
    yield from _folder(chosen.settings)
    run = _run(chosen.settings.data_dir)
    yield from folder_checks(chosen.settings, run)
    yield from record_checks(chosen.settings)
    yield _open_files()
    yield _shared_memory()
    yield from server_checks(chosen.settings)
    yield from _system(chosen, run)
    yield from port_checks(None if run is None else run.session_id)


def _python() -> Check:
    version = sys.version.split()[0]
    if (3, 11) <= sys.version_info[:2] <= (3, 14):
        return Check("python", "ok", version)
    return Check("python", "failed", version, "use Python 3.11 to 3.14")


def _packages() -> Iterator[Check]:
    try:
        wanted = [Requirement(text) for text in metadata.requires("ess_ray") or ()]
    except metadata.PackageNotFoundError:
        yield Check("packages", "warning", "ess_ray is not installed", "run `make setup`")
        return
    wrong = []
    for requirement in wanted:
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        try:
            version = metadata.version(requirement.name)
        except metadata.PackageNotFoundError:
            wrong.append(f"{requirement.name} is missing")
            continue
        if not requirement.specifier.contains(version, prereleases=True):
            wrong.append(f"{requirement.name} {version} is not {requirement.specifier}")
    if wrong:
        yield Check("packages", "failed", "; ".join(wrong), "run `make setup`")
    else:
        ray, deltalake = metadata.version("ray"), metadata.version("deltalake")
        yield Check("packages", "ok", f"{len(wanted)} as required (ray {ray}, deltalake {deltalake})")


def _existing(folder: Path) -> Path:
    return next(parent for parent in (folder.absolute(), *folder.absolute().parents) if parent.exists())


def _disk_space(settings: Settings, folder: Path) -> Check:
    limits = settings.disk.limits
    room = judge(folder, space_of(folder), limits)
    size = settings.maintenance.max_bytes
    found = (
        f"{room.free_bytes / 1024**3:.1f} GiB free at {folder}: below {limits.warn_bytes / 1024**3:.1f} it is told; "
        f"pushes are refused when {limits.reserve_bytes / 1024**3:.1f} and what the log holds are left for storing; "
        + (f"events go by size above {size / 1024**3:.1f} GiB stored" if size else "no events go by size")
    )
    if room.told is None:
        return Check("disk space", "ok", found)
    # Kafka takes events whatever this disk has.
    state: State = "failed" if room.state == "refusing" and not settings.log.brokers else "warning"
    return Check("disk space", state, found, f"{room.told}, or choose another --data-dir")


def _folder(settings: Settings) -> Iterator[Check]:
    data_dir = settings.data_dir
    folder = _existing(data_dir)
    yield _disk_space(settings, folder)
    try:
        took_s = _fsync_s(folder)
    except OSError as error:
        found = f"{folder}: {error.strerror}"
        yield Check("data directory", "failed", found, "make it writable, or choose another --data-dir")
        return
    yield Check("data directory", "ok", f"{data_dir.absolute()} can be written")
    advice = "each push waits for one: a faster disk makes pushing faster" if took_s > SLOW_FSYNC_S else ""
    yield Check("fsync", "warning" if advice else "ok", f"{took_s * 1000:.2f} ms", advice)


def _fsync_s(folder: Path) -> float:
    with tempfile.NamedTemporaryFile(dir=folder, prefix=".ess-doctor-") as probe:
        times = []
        for _ in range(FSYNCS):
            probe.write(b"\0" * 4096)
            probe.flush()
            started = time.perf_counter()
            os.fsync(probe.fileno())
            times.append(time.perf_counter() - started)
    return sorted(times)[FSYNCS // 2]


def _open_files() -> Check:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= MIN_OPEN_FILES:
        return Check("open files", "ok", f"limit {soft}")
    return Check("open files", "warning", f"limit {soft}", f"`ulimit -n {min(hard, 65_536)}` before `ess up`")


def _shared_memory() -> Check:
    shared = Path("/dev/shm")
    if not shared.is_dir():
        return Check("shared memory", "ok", "this system has no /dev/shm")
    free = shutil.disk_usage(shared).free
    found = f"{free / 1024**3:.1f} GiB free in /dev/shm"
    if free >= MIN_SHARED_BYTES:
        return Check("shared memory", "ok", found)
    return Check("shared memory", "warning", found, "enlarge it (in Docker: --shm-size=2g)")


def _run(data_dir: Path) -> RunFile | None:
    """Give what runs there; what is wrong with the file that tells it, `_system` says."""
    try:
        return read_run_file(data_dir)
    except CorruptData:
        return None


def _system(chosen: Chosen, run: RunFile | None) -> Iterator[Check]:
    settings = chosen.settings
    try:
        target = chosen.target()
    except EssError as error:
        yield Check("system", "warning", error.message)
        yield from free_port_checks(ports_of(settings))
        return
    answers = []
    with Client(target) as client:
        for part in ("push", "search"):
            try:
                client.call("GET", f"/{part}/healthz")
                answers.append(Check(part, "ok", f"{target.url}/{part}/healthz says ok"))
            except EssError as error:
                answers.append(Check(part, "failed" if run else "warning", error.message))
        if any(answer.state == "ok" for answer in answers):
            answers += _ports_and_listeners(client, run is not None)
    yield from answers
    if not any(answer.state == "ok" for answer in answers) and run is None:
        yield from free_port_checks(ports_of(settings))


def _ports_and_listeners(client: Client, is_here: bool) -> list[Check]:
    """Look at the ports that the system itself says it opens; `is_here`: on this machine."""
    try:
        told = client.call("GET", "/search/v1/status")
    except EssError as error:
        return [Check("listener", "warning", error.message, "`ess status` tells more")]
    ports = [PortAt(**at) for at in told.get("ports") or ()] if is_here else []
    return [*open_port_checks(ports), *listener_checks(told.get("listeners") or ())]
