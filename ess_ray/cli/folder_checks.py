"""The checks of `ess doctor` on who else can read, or put something in the place of, what a system keeps and runs."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from ess_ray.adapters.places import ALERTS, KEYS, places_of
from ess_ray.adapters.private import OTHERS, PRIVATE, WRITE, taken_over, user_name
from ess_ray.alerts.book import AlertBook
from ess_ray.cli.server_checks import Check
from ess_ray.core.errors import EssError
from ess_ray.runtime.environment import RunDirs, node_file, node_home, remembered
from ess_ray.runtime.processes import RunFile
from ess_ray.settings import Settings, secrets_in, settings_file
from ess_ray.table.mend import look_beside

_FILE: Final = 0o600


def folder_checks(settings: Settings, run: RunFile | None) -> Iterator[Check]:
    """Check the data directory, the folder of what runs there, this machine as a cluster's node, files with secrets."""
    yield from _data(settings.data_dir.resolve())
    if run is not None:
        yield from _run(run)
    yield from _node()
    yield from _settings(settings)


def record_checks(settings: Settings) -> Iterator[Check]:
    """Check the small records beside the table: keys, deletions, rules and silences of alerts, the size of the pool."""
    places = places_of(settings)
    try:
        found = [(f"{one.file}: {one.found}", one.advice) for one in look_beside(places)]
        alerts = AlertBook(places.store(ALERTS)).every_flaw()
        found += [(f"{places.address}/{ALERTS}: a record cannot be read", flaw) for flaw in alerts]
    except (EssError, OSError) as error:
        advice = "until then keys and rules count as a running system has read them; see the disk, or `store`"
        yield Check("records", "failed", str(error), advice)
        return
    yield from (Check("records", "failed", what, advice) for what, advice in found)
    if not found:
        yield Check("records", "ok", "keys, deletions, alerts and the size of the pool can be read")


def _data(data_dir: Path) -> Iterator[Check]:
    if not data_dir.exists():
        danger = taken_over(data_dir)
        if danger is not None:
            yield Check("data access", "failed", danger, "or choose another --data-dir")
        return
    whole = _alone("data access", data_dir, PRIVATE)
    yield whole
    try:
        inside = [*data_dir.iterdir()]
    except OSError as error:
        yield Check("data access", "failed", f"{data_dir}: {error.strerror}", "run this as the user of the system")
        return
    owner = data_dir.stat().st_uid
    for one in inside:
        if one.lstat().st_uid not in (owner, 0):
            advice = "look at what it is, then remove it or give it to the folder's owner"
            yield Check("data access", "failed", f"{one} is of {user_name(one.lstat().st_uid)}", advice)
    if (data_dir / KEYS).is_dir():
        # Nobody comes to it through a closed folder.
        yield whole if whole.state == "ok" else _alone("keys", data_dir / KEYS, PRIVATE)


def _run(run: RunFile) -> Iterator[Check]:
    again = "`ess down`, then `ess up`"
    if not run.run_dir:
        found = "the system was started by an older version, whose folder in /tmp is open to others"
        yield Check("run folder", "failed", found, again)
        return
    dirs = RunDirs(Path(run.run_dir))
    if not dirs.haproxy.is_dir():
        found = f"{dirs.private} is gone, or not to be looked into: HAProxy cannot be started again"
        yield Check("run folder", "failed", found, again)
        return
    yield from _executed("run folder", dirs)
    yield _alone("token", dirs.token, _FILE)


def _executed(name: str, dirs: RunDirs) -> Iterator[Check]:
    for folder in (dirs.private, dirs.haproxy):
        yield _alone(name, folder, PRIVATE)
    yield _alone("haproxy wrapper", dirs.haproxy / "haproxy", PRIVATE)


def _node() -> Iterator[Check]:
    try:
        home = node_home()
    except RuntimeError:
        return  # a user without a home is no cluster's node
    if node_file(home).exists():
        yield _alone("node folder", home, PRIVATE)
        dirs = remembered(node_file(home))
        if dirs is None:
            found = f"the folder that {node_file(home)} names is gone, or others can get at it"
            yield Check("node folder", "failed", found, "stop Ray on this node and start it anew, as its YAML says")
        else:
            yield from _executed("node folder", dirs)
    token = Path(os.environ.get("RAY_AUTH_TOKEN_PATH") or home.parent / ".ray" / "auth_token")
    if token.exists():
        yield _alone("token", token, _FILE)


def _settings(settings: Settings) -> Iterator[Check]:
    file = settings_file()
    if file is not None:
        secrets = secrets_in(file)
        check = _alone("settings file", file, _FILE, by_root=True)
        if check.state == "warning" and not secrets:
            check = Check("settings file", "ok", f"{file} holds no secrets")
        elif check.state == "warning":
            check = Check(check.name, check.state, f"{check.found}, with {', '.join(secrets)}", check.advice)
        yield check
    if settings.log.key_file is not None and Path(settings.log.key_file).exists():
        yield _alone("log.key_file", Path(settings.log.key_file), _FILE, by_root=True)


def _alone(name: str, path: Path, mode: int, *, by_root: bool = False) -> Check:
    """Check that a file or folder is this user's alone, all the way to it; `by_root`: it may be root's as well."""
    try:
        found = path.stat()
    except OSError as error:
        return Check(name, "failed", f"{path}: {error.strerror}", "run this as the user of the system")
    if found.st_uid != os.geteuid() and not (by_root and found.st_uid == 0):
        advice = f"run this as that user, or `chown {user_name(os.geteuid())} {path}` when you know what is in it"
        return Check(name, "failed", f"{path} belongs to {user_name(found.st_uid)}", advice)
    danger = taken_over(path)
    if danger is not None:
        return Check(name, "failed", danger, f"nobody else may change the way to {path}")
    open_to = stat.S_IMODE(found.st_mode)
    advice = f"`chmod {mode:04o} {path}`"
    if open_to & WRITE:
        return Check(name, "failed", f"others can write to {path} (mode {open_to:04o})", f"{advice}, and look at it")
    if open_to & OTHERS:
        return Check(name, "warning", f"others can read {path} (mode {open_to:04o})", advice)
    return Check(name, "ok", f"{path} is this user's alone")
