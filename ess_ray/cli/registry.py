"""How far which file was pushed: one small file for each, kept for this user, written whole or not at all.

An entry is that of a file (device and inode) of this host for a system and a tenant. It is held by one process at a
time; what was sent, and not known to be stored when its process ended, stands in it as `pending`.
"""

from __future__ import annotations

import dataclasses
import fcntl
import json
import os
import platform
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from ess_ray.adapters.private import make_private
from ess_ray.cli.position import Mark
from ess_ray.core.errors import EssError

FOLDER: Final = Path("ess_ray", "pushed")
"""Below XDG_STATE_HOME, which is ~/.local/state by default."""
KEPT_S: Final = 400 * 86_400
"""Entries that nobody pushed for a year and a month are let go: a registry does not grow for ever."""
_VERSION: Final = 1
_LOCK_FILE: Final = "lock"
_LOCK_BITS: Final = 62
"""An entry's lock is a byte of the lock file, far beyond its end: nothing is left behind, and nothing grows."""


@dataclass(frozen=True, slots=True)
class Options:
    """What decides which events a text becomes."""

    form: str
    line_end: str
    encoding: str | None
    service: str | None
    host: str | None
    level: str | None
    zone: str | None
    path: str | None = None
    pattern: str | None = None
    multiline: str | None = None


@dataclass(frozen=True, slots=True)
class Pending:
    """A request whose answer is not known: it led from `start` to `end`, with these options and this clock."""

    start: Mark
    end: Mark
    key: str
    options: Options
    now_us: int
    sent_us: int


@dataclass(frozen=True, slots=True)
class Entry:
    """What is known of a file. `nonce` is part of the request keys: another for what is pushed again on purpose."""

    path: str
    nonce: str
    options: Options
    done: Mark
    events: int = 0
    pushed_us: int = 0
    pending: Pending | None = None


class Broken(EssError):
    """An entry that cannot be read."""


class Registry:
    """The entries of this user. Raises OSError where the folder cannot be used."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @classmethod
    def of_user(cls, environ: Mapping[str, str] = os.environ) -> Registry:
        """Give that of this user; nothing is looked at or made yet."""
        given = environ.get("XDG_STATE_HOME", "")
        state = Path(given) if os.path.isabs(given) else Path(os.path.expanduser("~")) / ".local" / "state"
        return cls(state / FOLDER)

    @property
    def folder(self) -> Path:
        return self._folder

    @contextmanager
    def held(self, name: str, on_wait: Callable[[], object]) -> Iterator[None]:
        """Hold an entry against all other processes; `on_wait` is called when another one holds it."""
        make_private(self._folder)
        at = int(name[:16], 16) >> (64 - _LOCK_BITS)
        descriptor = os.open(self._folder / _LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, at)
            except BlockingIOError:
                on_wait()
                fcntl.lockf(descriptor, fcntl.LOCK_EX, 1, at)
            self._let_go_of_old()
            yield
        finally:
            os.close(descriptor)  # and with it the lock

    def read(self, name: str) -> Entry | None:
        """Give an entry, None where there is none. Raises Broken, OSError."""
        path = self._path(name)
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            return None
        try:
            return _entry(json.loads(content))
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise Broken(
                f"{path}, which tells how far this file was pushed, cannot be read ({error}): with --again all of the "
                "file is pushed, also what is stored already"
            ) from error

    def write(self, name: str, entry: Entry) -> None:
        """Write an entry, whole or not at all, and durably; its lock is held. Raises OSError."""
        path = self._path(name)
        new = path.with_suffix(".new")
        content = json.dumps({"version": _VERSION, **dataclasses.asdict(entry)}).encode()
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            os.write(descriptor, content)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.replace(new, path)

    def _path(self, name: str) -> Path:
        return self._folder / f"{name}.json"

    def _let_go_of_old(self) -> None:
        limit_s = time.time() - KEPT_S
        for found in os.scandir(self._folder):
            if found.name.endswith((".json", ".new")) and found.stat().st_mtime < limit_s:
                Path(found.path).unlink(missing_ok=True)


def name_of(system: str, tenant: str, device: int, inode: int) -> str:
    """Name the entry of a file of this host."""
    parts = (system, tenant, platform.node(), str(device), str(inode))
    return sha256("\0".join(parts).encode("utf-8", "surrogateescape")).hexdigest()[:40]


def _entry(found: dict[str, Any]) -> Entry:
    if found.pop("version") != _VERSION:
        raise ValueError("another version of ess wrote it")
    pending = found["pending"]
    if pending is not None:
        marks = {name: Mark(**pending[name]) for name in ("start", "end")}
        pending = Pending(**{**pending, **marks, "options": Options(**pending["options"])})
    return Entry(**{**found, "done": Mark(**found["done"]), "options": Options(**found["options"]), "pending": pending})
