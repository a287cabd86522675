"""ripgrep's side: the events as compressed NDJSON files, searched from end to end.

Patterns are sought in the lines, as a person would: our corpus has them nowhere but in messages.
"""

from __future__ import annotations

import gzip
import shutil
import subprocess
import sysconfig
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import orjson
import zstandard

from ess_ray.core.timestamps import parse_timestamp_us
from tests.benchmarks.corpus import Corpus
from tests.benchmarks.rivals.shapes import Shape
from tests.benchmarks.rivals.side import Found, Side

ZSTD_LEVEL: Final = 3
GZIP_LEVEL: Final = 6
OPTIONS: Final = ("--no-config", "-z", "--threads=1", "-I", "-N", "--color=never", "--no-unicode")
NO_MATCH: Final = 1
"""ripgrep's exit code when nothing matched."""


class Ripgrep(Side):
    """zstd where its command is installed, else gzip: ripgrep decompresses by running them."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        found = shutil.which("rg", path=sysconfig.get_path("scripts")) or shutil.which("rg")
        if found is None:
            raise FileNotFoundError("there is no rg: install requirements.bench.lock (`make bench` does)")
        self._rg = found
        self._suffix = ".zst" if shutil.which("zstd") else ".gz"

    def version(self) -> str:
        first = subprocess.run([self._rg, "--version"], capture_output=True, text=True, check=True).stdout.split("\n")
        return f"{first[0]} -z over {self._suffix[1:]} files"

    def load(self, corpus: Corpus) -> tuple[int, str]:
        size = 0
        for path in corpus.ndjson:
            data = path.read_bytes()
            if self._suffix == ".zst":
                packed = zstandard.ZstdCompressor(ZSTD_LEVEL).compress(data)
            else:
                packed = gzip.compress(data, GZIP_LEVEL, mtime=0)
            (self.folder / f"{path.name}{self._suffix}").write_bytes(packed)
            size += len(packed)
        return size, f"NDJSON as {self._suffix[1:]}, no index"

    def query(self, shape: Shape) -> Found:
        """Search the newest file alone, then all others if the limit is not reached."""
        *older, newest = sorted(self.folder.iterdir())
        times = self._search(shape, [newest])
        if len(times) < shape.limit and older:
            times += self._search(shape, older)
        return Found(sorted(times, reverse=True)[: shape.limit])

    def _search(self, shape: Shape, files: Sequence[Path]) -> list[int]:
        if shape.literal is not None:
            how = ["--fixed-strings", *(["--ignore-case"] if shape.ignore_case else []), "--regexp", shape.literal]
        else:
            how = ["--regexp", shape.regex or _lines_with(shape)]
        command = [
            self._rg,
            "--no-config",
            "-z",
            "--threads=1",
            "-I",
            "-N",
            "--color=never",
            "--no-unicode",
            *how,
            "--",
        ]
        done = subprocess.run([*command, *map(str, files)], capture_output=True, check=False)
        if done.returncode not in (0, NO_MATCH) or done.stderr:
            raise RuntimeError(f"rg ended with {done.returncode}: {done.stderr.decode()}")
        times = [parse_timestamp_us(orjson.loads(line)["timestamp"]) for line in done.stdout.splitlines()]
        low, high = shape.start_us, shape.end_us
        return [us for us in times if (low is None or us >= low) and (high is None or us < high)]


def _lines_with(shape: Shape) -> str:
    """Write field tests as a pattern over a line, whose keys stand in the generator's order."""
    order = ("level", "service", "host", "trace_id")
    pairs = sorted(shape.equals, key=lambda pair: order.index(pair[0]))
    return ".*".join(f'"{name}":"{value}"' for name, value in pairs)
