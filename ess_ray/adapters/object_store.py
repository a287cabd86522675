"""The object store of a local directory: durable, atomic files under the keys of the ObjectStore port."""

from __future__ import annotations

import builtins
import os
import re
import stat
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final
from uuid import uuid4

import pyarrow as pa

from ess_ray.adapters.durable import make_folder, sync_folder
from ess_ray.core.errors import BadRequest, EssError, NotFound, Unavailable
from ess_ray.ports import ObjectInfo

MAX_KEY_BYTES: Final = 1024
"""S3's limit for a key: what is stored here can be moved there."""
COALESCE_BYTES: Final = 32 * 1024
"""Of a file: a request opens it and seeks, which takes as long as reading this much more."""
PIECE_BYTES: Final = 1024 * 1024
"""Of a streamed file: reading it in more pieces takes more calls, and fewer are more memory."""
PARTIAL_MAX_AGE_S: Final = 24 * 3_600
"""A partial write so old belongs to a process that died: writers give up on an object after minutes."""
_KEY: Final = re.compile(r"[A-Za-z0-9._=/-]*", re.ASCII)
_PARTIAL: Final = "~"
"""First character of a partial write's name: no key can hold it, so no partial write can be listed or read."""


def check_key(key: str) -> str:
    """Give `key` back, or raise BadRequest: keys become paths, so nothing may point outside the root."""
    parts = key.split("/")
    if _KEY.fullmatch(key) is None or not {"", ".", ".."}.isdisjoint(parts) or len(key) > MAX_KEY_BYTES:
        raise BadRequest(
            f"the object key {key!r} is not one: use at most {MAX_KEY_BYTES} of [A-Za-z0-9._=/-], relative, "
            "without '.' or '..' parts"
        )
    return key


def check_range(key: str, offset: int, length: int) -> None:
    """Raise BadRequest for bytes that cannot be."""
    if offset < 0 or length < 0:
        raise BadRequest(f"bytes {offset} to {offset + length} of {key} cannot be: offset and length start at 0")


class LocalObjectStore:
    """Objects as files under `root`, which is made when the first object is put. Safe for many threads and processes.

    The store's clock is the machine's: `modified_us` is the file's time of change.
    """

    coalesce_bytes = COALESCE_BYTES

    def __init__(self, root: Path) -> None:
        self._root = root
        self._durable_folders: set[Path] = set()

    def put(self, key: str, data: bytes | pa.Buffer) -> None:
        """Write durably and atomically; an existing key is replaced. Raises Unavailable (a full disk, say)."""
        path = self._path(key)
        partial = path.parent / f"{_PARTIAL}{uuid4().hex}"
        with _told("write", key):
            if path.parent not in self._durable_folders or not path.parent.is_dir():
                make_folder(path.parent, self._root)
                self._durable_folders.add(path.parent)
            try:
                _write_durably(partial, memoryview(data))
                partial.replace(path)
            except BaseException:
                partial.unlink(missing_ok=True)
                raise
            sync_folder(path.parent)

    def head(self, key: str) -> ObjectInfo | None:
        """Tell size and time of change; None when there is no such object."""
        path = self._path(key)
        with _told("look at", key):
            try:
                found = path.stat()
            except (FileNotFoundError, NotADirectoryError):
                return None
            return _info(key, found) if path.is_file() else None

    def get_range(self, key: str, offset: int, length: int) -> bytes:
        """Read `length` bytes from `offset` (fewer at the end). Raises NotFound, Unavailable."""
        check_range(key, offset, length)
        with self._open(key) as (descriptor, _):
            return _read(descriptor, offset, length)

    def stream_range(self, key: str, offset: int, length: int) -> Generator[bytes, None, None]:
        """Read the same bytes in pieces; the file is open meanwhile. Raises NotFound, Unavailable."""
        check_range(key, offset, length)
        with self._open(key) as (descriptor, _):
            end = offset + length
            while piece := _read(descriptor, offset, min(PIECE_BYTES, end - offset)):
                yield piece
                offset += len(piece)

    def get_suffix(self, key: str, length: int) -> bytes:
        """Read the last `length` bytes (the whole object if it is smaller). Raises NotFound, Unavailable."""
        if length < 0:
            raise BadRequest(f"the last {length} bytes of {key} cannot be: length starts at 0")
        with self._open(key) as (descriptor, size):
            return _read(descriptor, max(0, size - length), min(length, size))

    def list(self, prefix: str) -> Sequence[ObjectInfo]:
        """Name all objects whose key starts with `prefix`, sorted by key. Partial writes are not objects.

        A partial write that a dead process left over a day ago is removed on the way. Raises Unavailable.
        """
        folder = prefix.rpartition("/")[0]
        if folder:
            check_key(folder)
        with _told("list", prefix):
            infos = [
                _info(key, found) for key, found in self._walk(self._root / folder, folder) if key.startswith(prefix)
            ]
        return sorted(infos, key=lambda info: info.key)

    def delete(self, key: str) -> None:
        """Delete; a missing key is no error. Raises Unavailable."""
        path = self._path(key)
        with _told("delete", key):
            try:
                path.unlink(missing_ok=True)
            except (NotADirectoryError, IsADirectoryError):
                return  # an object in the middle of the path, or a folder at its end: there is no such object

    def now_us(self) -> int:
        """The clock that `modified_us` is measured by."""
        return time.time_ns() // 1000

    def _path(self, key: str) -> Path:
        return self._root / check_key(key)

    @contextmanager
    def _open(self, key: str) -> Iterator[tuple[int, int]]:
        """Open for reading; gives (descriptor, size)."""
        path = f"{self._root}/{check_key(key)}"  # a Path would take longer than the read
        with _told("read", key):
            try:
                descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            except (FileNotFoundError, NotADirectoryError) as error:
                raise _not_found(key) from error
            try:
                found = os.fstat(descriptor)
                if not stat.S_ISREG(found.st_mode):
                    raise _not_found(key)
                yield descriptor, found.st_size
            finally:
                os.close(descriptor)

    def _walk(self, folder: Path, at: str) -> Iterator[tuple[str, os.stat_result]]:
        try:
            found = builtins.list(os.scandir(folder))
        except (FileNotFoundError, NotADirectoryError):
            return
        for entry in found:
            key = f"{at}/{entry.name}" if at else entry.name
            try:
                if entry.is_dir(follow_symlinks=False):
                    yield from self._walk(folder / entry.name, key)
                elif entry.name.startswith(_PARTIAL):
                    if time.time() - entry.stat().st_mtime > PARTIAL_MAX_AGE_S:
                        (folder / entry.name).unlink(missing_ok=True)
                elif _KEY.fullmatch(key) is not None:
                    yield key, entry.stat()
            except FileNotFoundError:
                continue  # deleted or renamed since the folder was read


def _write_durably(path: Path, data: memoryview) -> None:
    with path.open("xb", buffering=0) as file:
        rest = data.cast("B")
        while rest.nbytes:
            rest = rest[file.write(rest) :]
        os.fsync(file.fileno())


def _read(descriptor: int, offset: int, length: int) -> bytes:
    parts: list[bytes] = []
    while length and (part := os.pread(descriptor, length, offset)):
        parts.append(part)
        offset, length = offset + len(part), length - len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _info(key: str, found: os.stat_result) -> ObjectInfo:
    return ObjectInfo(key, found.st_size, found.st_mtime_ns // 1000)


def _not_found(key: str) -> NotFound:
    return NotFound(f"there is no object {key}: it was never stored, or it was deleted since", key=key)


@contextmanager
def _told(doing: str, key: str) -> Iterator[None]:
    """Turn the operating system's refusals into Unavailable, with what it said."""
    try:
        yield
    except EssError:
        raise
    except OSError as error:
        raise Unavailable(
            f"cannot {doing} {key!r} in the local object store: {error.strerror or error}; "
            "look at the disk's free space and rights",
            key=key,
        ) from error
