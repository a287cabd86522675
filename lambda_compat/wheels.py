"""The wheels of the function: which, at what versions, and their files, for x86-64 Linux.

Run as a program it prints what the container installs, cut out of the lock: `python wheels.py requirements.lock`. Needs
nothing but the standard library.
"""

from __future__ import annotations

import base64
import hashlib
import subprocess
import sys
from collections.abc import Iterator, Sequence
from importlib.metadata import Distribution, PackageNotFoundError, distribution, version
from pathlib import Path
from typing import Final

WHEELS: Final = ("isal", "numpy", "obstore", "pyarrow", "stringzilla", "typing-extensions", "zstandard")
"""What the function imports, at the versions that run here."""
RUNTIME: Final = ("awslambdaric", "simplejson", "snapshot-restore-py")
"""AWS's runtime client with what it needs: Lambda brings it along, a container does not."""
PLATFORMS: Final = ("manylinux_2_28_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64")
"""What Lambda's Amazon Linux 2023 runs."""
Files = Iterator[tuple[str, Path]]
"""Names as a wheel has them, with where their content lies."""


class PackageError(Exception):
    """The package cannot be made; the message says what to do."""


def wheel_files(names: Sequence[str], folder: Path) -> Files:
    """Give the files of wheels: as they are installed here, where that is unaltered and for x86-64 Linux; else fetched.

    Both give the same content, since an installed file counts only with the hash that its wheel tells. `folder` takes
    what is fetched. Raises PackageError.
    """
    absent = []
    for name in names:
        files = installed_files(name)
        if files is None:
            absent.append(name)
        else:
            yield from files
    if absent:
        yield from fetched_files(absent, folder)


def installed_files(name: str) -> list[tuple[str, Path]] | None:
    """Give a wheel's files where it is installed; None unless it suits Lambda and every file has its wheel's hash."""
    try:
        found = distribution(name)
    except PackageNotFoundError:
        return None
    if not _suits(found.read_text("WHEEL") or ""):
        return None
    files = list(_recorded(found))
    return None if any(path is None for _, path in files) else [(n, path) for n, path in files if path is not None]


def _suits(wheel: str) -> bool:
    tags = [line.partition(":")[2].strip() for line in wheel.splitlines() if line.startswith("Tag:")]
    return any(tag.rpartition("-")[2] in ("any", *PLATFORMS) for tag in tags)


def _recorded(found: Distribution) -> Iterator[tuple[str, Path | None]]:
    """Name the files that came with the wheel; None for one that is not as it came."""
    for file in found.files or ():
        if file.hash is None or ".." in file.parts or _noted(file.as_posix()):
            continue
        path = Path(str(file.locate()))
        data = path.read_bytes() if path.is_file() else b""
        told = base64.urlsafe_b64encode(hashlib.new(file.hash.mode, data).digest()).decode().rstrip("=")
        yield file.as_posix(), path if told == file.hash.value else None


def _noted(name: str) -> bool:
    """Whether it is what an installer notes, which differs from one installation to the next; the licences stay."""
    return ".dist-info/" in name and "/licenses/" not in name and not name.endswith("/METADATA")


def fetched_files(names: Sequence[str], folder: Path) -> Files:
    """Fetch wheels by name, at the versions that run here, into `folder`. Raises PackageError."""
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
    command += ["--no-compile", "--only-binary=:all:", "--implementation=cp", f"--python-version={python_version()}"]
    command += [f"--platform={name}" for name in PLATFORMS]
    command += [f"--target={folder}", *(f"{name}=={version(name)}" for name in names)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        told = done.stderr.strip()
        raise PackageError(f"wheels cannot be fetched: is the package index reachable? It said: {told}")
    for path in folder.rglob("*"):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and not _noted(name) and not name.startswith("bin/"):
            yield name, path


def python_version() -> str:
    return f"{sys.version_info.major}.{sys.version_info.minor}"


def requirements(lock: str) -> str:
    """Cut out of a lock what the container installs, with hashes. Raises PackageError for what is not in it."""
    wanted: dict[str, list[str]] = {name: [] for name in (*WHEELS, *RUNTIME)}
    kept: list[str] | None = None
    for line in lock.splitlines():
        if line[:1].isalnum():
            kept = wanted.get(line.partition("==")[0].lower().replace("_", "-"))
        if kept is not None and line.strip() and not line.lstrip().startswith("#"):
            kept.append(line)
    if absent := [name for name, lines in wanted.items() if not lines]:
        raise PackageError(f"the lock does not pin {', '.join(absent)}: make lock")
    return "".join(f"{line}\n" for lines in wanted.values() for line in lines)


if __name__ == "__main__":
    sys.stdout.write(requirements(Path(sys.argv[1]).read_text(encoding="utf-8")))
