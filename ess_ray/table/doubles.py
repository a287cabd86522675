"""Rows that stand in two objects of a table, wherever these lie, found in bounded memory.

Each row's identity becomes a 64-bit hash in one of some temporary files, chosen by the hash, with the object's number:
what is equal meets in one file, which is sorted by itself. Equal hashes are only a suspicion: whoever asks compares the
two objects' identities.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack
from hashlib import blake2b
from tempfile import TemporaryFile
from typing import IO, Any, Final

import numpy as np
import pyarrow as pa

ROWS_PER_FILE: Final = 2_000_000
"""Sorted at once: 32 MB, and about as much again while it is sorted."""
MAX_FILES: Final = 512
"""Open at once, of the 1,024 that a process usually may have; beyond a billion rows files grow instead."""

_ENTRY: Final = np.dtype([("hash", np.uint64), ("object", np.uint32)])
_Hashes = np.ndarray[Any, np.dtype[np.uint64]]


class Doubles:
    """Takes the rows of objects, then tells which objects may share one. `add` is for many threads.

    Uses 12 bytes a row in the folder for temporary files, until the context ends.
    """

    def __init__(self, rows: int, *, rows_per_file: int = ROWS_PER_FILE, max_files: int = MAX_FILES) -> None:
        """Make files for about so many rows."""
        count = min(max(1, -(-rows // rows_per_file)), max_files)
        self._stack = ExitStack()
        self._files: list[IO[bytes]] = [self._stack.enter_context(TemporaryFile()) for _ in range(count)]  # noqa: SIM115
        self._lock = threading.Lock()

    def __enter__(self) -> Doubles:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def add(self, number: int, rows: pa.Table) -> None:
        """Take rows (IDENTITY's columns) of the object of that number."""
        entries = np.empty(len(rows), _ENTRY)
        entries["hash"], entries["object"] = _hashes(rows), number
        files = entries["hash"] % np.uint64(len(self._files))
        order = np.argsort(files, kind="stable")
        ends = np.searchsorted(files[order], np.arange(len(self._files)), side="right")
        entries, start = entries[order], 0
        with self._lock:
            for file, end in zip(self._files, ends.tolist(), strict=True):
                if end > start:
                    file.write(entries[start:end].tobytes())
                start = end

    def pairs(self) -> Iterator[tuple[int, int]]:
        """Give the pairs of different objects, lower number first, in which equal hashes stand side by side; once each.

        Of a row in n objects n-1 pairs are given, which together name all n.
        """
        given: set[tuple[int, int]] = set()
        for file in self._files:
            file.seek(0)
            entries = np.frombuffer(file.read(), _ENTRY)
            entries = entries[np.lexsort((entries["object"], entries["hash"]))]
            low, high = entries[:-1], entries[1:]
            met = (low["hash"] == high["hash"]) & (low["object"] != high["object"])
            for pair in np.unique(np.stack([low["object"][met], high["object"][met]], axis=1), axis=0).tolist():
                if tuple(pair) not in given:
                    given.add((pair[0], pair[1]))
                    yield pair[0], pair[1]


def _hashes(rows: pa.Table) -> _Hashes:
    logs = rows.column("log_id").combine_chunks().dictionary_encode()
    if isinstance(logs, pa.ChunkedArray):
        logs = logs.combine_chunks()
    names = [blake2b(name.encode(), digest_size=8).digest() for name in logs.dictionary.to_pylist()]
    found: _Hashes = np.frombuffer(b"".join(names), np.uint64)[logs.indices.to_numpy()]
    for column in ("vnode", "offset", "row"):
        found = _mixed(found ^ rows.column(column).cast(pa.int64()).to_numpy().view(np.uint64))
    return found


def _mixed(values: _Hashes) -> _Hashes:
    """Spread every bit over all: the finalizer of SplitMix64, which is a bijection."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))
