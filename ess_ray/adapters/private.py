"""Folders of this machine that are this user's alone, and where others could get at one.

What lies in a folder with mode 0700 is out of every other user's reach, whatever its own mode.
"""

from __future__ import annotations

import os
import pwd
import shutil
import stat
import tempfile
from pathlib import Path
from typing import Final

from ess_ray.core.errors import Forbidden, Unavailable

PRIVATE: Final = 0o700
OTHERS: Final = 0o077
"""The bits of a mode that let somebody else in."""
WRITE: Final = 0o022
"""Those that let somebody else change it."""


def make_private(folder: Path) -> None:
    """Make a folder and its missing parents with mode 0700, whatever the umask. Idempotent. Raises OSError."""
    for missing in [each for each in (folder, *folder.parents) if not each.exists()][::-1]:
        missing.mkdir(PRIVATE, exist_ok=True)


def claim(folder: Path) -> str | None:
    """Make a folder this user's alone, or tighten one that is this user's; says what was open when it was. Idempotent.

    `folder` is resolved: a link is not followed. Raises Forbidden for a folder of somebody else's, Unavailable.
    """
    try:
        make_private(folder)
        check_owner(folder)
        mode = _close(folder)
    except OSError as error:
        raise Unavailable(f"{folder} cannot be used ({error.strerror}): correct its rights, or name another") from error
    if not mode & OTHERS:
        return None
    written = "; others could write to it: look at what is in it" if mode & WRITE else ""
    return f"{folder} was open to other users (mode {mode:04o}) and is private now (mode {PRIVATE:04o}){written}"


def check_owner(folder: Path) -> None:
    """Raise Forbidden for what somebody else owns, OSError for what is not there."""
    owner, me = folder.lstat().st_uid, os.geteuid()
    if owner != me:
        raise Forbidden(
            f"{folder} belongs to {user_name(owner)}, and this runs as {user_name(me)}: run it as "
            f"{user_name(owner)}, name another folder (a new one below it, say), or `chown -R {user_name(me)} {folder}`"
        )


def _close(folder: Path) -> int:
    """Take a folder's mode from others; gives what it was."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        mode = stat.S_IMODE(os.fstat(descriptor).st_mode)
        if mode & OTHERS:
            os.fchmod(descriptor, PRIVATE)
    finally:
        os.close(descriptor)
    return mode


def new_folder(parent: Path, prefix: str) -> Path:
    """Make a folder with a new name in `parent`, for this user alone: never one that is there already, nor a link.

    Raises Forbidden where others could put another folder in its place, Unavailable.
    """
    danger = taken_over(parent / prefix)
    if danger is not None:
        raise Forbidden(f"no private folder can be made in {parent}: {danger}")
    try:
        return Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
    except OSError as error:
        raise Unavailable(
            f"no folder can be made in {parent} ({error.strerror}): make room there, or rights"
        ) from error


def is_private(folder: Path) -> bool:
    """Tell whether that is a folder (no link to one) of this user, closed to all others."""
    try:
        found = folder.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid() and not found.st_mode & OTHERS


def taken_over(path: Path) -> str | None:
    """Say where on the way to a path another user could put something else in its place, and what to do; None: nowhere.

    Root may do anything, and so may whoever owns `/` (in a container that knows no root).
    """
    trusted = _trusted()
    for folder in path.resolve().parents:
        try:
            found = folder.stat()
        except FileNotFoundError:
            continue  # what is not there yet is made private
        if found.st_uid not in trusted:
            return f"{folder} belongs to {user_name(found.st_uid)}, who can put anything in the place of what is in it"
        if found.st_mode & WRITE and not found.st_mode & stat.S_ISVTX:
            return f"others can rename what is in {folder}: `chmod go-w {folder}`, or `chmod +t` where it is for all"
    return None


def _trusted() -> set[int]:
    return {0, os.geteuid(), os.stat("/").st_uid}


def others_write(folder: Path) -> bool:
    """Tell whether another user could put a file into a folder, as anybody can in /tmp."""
    found = folder.stat()
    foreign = found.st_uid not in _trusted()
    return foreign or bool(found.st_mode & WRITE) or taken_over(folder) is not None


def remove_private(folder: Path, parent: Path, prefix: str) -> None:
    """Remove what `new_folder(parent, prefix)` made, and nothing else. Idempotent; what cannot be removed stays."""
    if folder.parent == parent and folder.name.startswith(prefix) and is_private(folder):
        shutil.rmtree(folder, ignore_errors=True)


def user_name(uid: int) -> str:
    """Name a user for people; by number where the machine knows no name."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"


def private_opener(name: str, flags: int) -> int:
    """Open a file that only this user may read or write; for `open`."""
    return os.open(name, flags, 0o600)
