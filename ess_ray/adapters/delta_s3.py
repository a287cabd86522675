"""The log of a Delta table in a bucket: the same files as in a directory, each read by one GET.

Nothing is synced, since a PUT is durable when it is answered. deltalake commits by a conditional PUT (If-None-Match):
of two writers of one version one is refused. Nothing keeps commits out: ages alone guard deletes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from deltalake import DeltaTable

from ess_ray.adapters.delta_log import ASIDE, LOG_FOLDER, TableLog, commit_name
from ess_ray.adapters.s3_location import S3Location
from ess_ray.core.errors import NotFound

MAX_READS: Final = 16
"""GETs of commits at once: a hundred since the last checkpoint then take some 0.3 s, one by one 3 s."""


class S3Log(TableLog):
    """The log of the table at an S3 location. Raises Unavailable; missing files are told by None or left out."""

    def __init__(self, location: S3Location) -> None:
        self.location = location
        self.address = location.url
        self._store = location.open()

    def open(self) -> DeltaTable:
        return DeltaTable(self.location.url, storage_options=self.location.storage_options())

    def create(self, make: Callable[[Path], None]) -> None:
        """As the base says. The first commit is made in a temporary folder and PUT only if there is none.

        deltalake itself does not refuse a creation that loses a race: it commits a second metadata as version 1.
        """
        # In an old table the first commit may have been cleaned up. (deltalake's own test holds the GIL meanwhile.)
        if self._store.head(self._key(commit_name(0))) is not None or any(self._names()):
            return
        with TemporaryDirectory(prefix="ess-table-") as folder:
            make(Path(folder))
            first = (Path(folder) / LOG_FOLDER / commit_name(0)).read_bytes()
        self._store.create(self._key(commit_name(0)), first)

    def read(self, version: int) -> bytes | None:
        return self.read_file(commit_name(version))

    def read_dated(self, versions: Sequence[int]) -> Iterable[tuple[int, bytes, int]]:
        if not versions:
            return
        with ThreadPoolExecutor(min(MAX_READS, len(versions)), "ess-delta-read") as pool:
            answers = pool.map(self._get, map(commit_name, versions))
            for version, answer in zip(versions, answers, strict=True):
                if answer is not None:
                    yield version, *answer

    def sync_commits(self, synced: int, version: int) -> None:
        """Nothing to do: deltalake's PUT was answered."""

    def sync_checkpoint(self, version: int) -> None:
        """Nothing to do: deltalake's PUTs were answered."""

    @contextmanager
    def committing(self) -> Iterator[None]:
        yield

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        yield

    def _names(self) -> Iterable[str]:
        folder = self._key("")
        return [info.key.removeprefix(folder) for info in self._store.list(folder)]

    def read_file(self, name: str) -> bytes | None:
        answer = self._get(name)
        return None if answer is None else answer[0]

    def write_file(self, name: str, data: bytes) -> None:
        self._store.put(self._key(name), data)

    def remove_file(self, name: str) -> None:
        self._store.delete(self._key(name))

    def put_aside(self, name: str) -> str:
        data, at_us = self._store.get(self._key(name))
        to = f"{ASIDE}/{name}.{at_us}"
        self._store.put(to, data)
        self._store.delete(self._key(name))
        return f"{self.address}/{to}"

    def _get(self, name: str) -> tuple[bytes, int] | None:
        try:
            return self._store.get(self._key(name))
        except NotFound:
            return None

    def _key(self, name: str) -> str:
        return f"{LOG_FOLDER}/{name}"
