"""The corpus that all sides of a comparison get: seeded events in a folder, as Parquet (EVENT_SCHEMA) and as NDJSON.

Made once a run, by the generator and the front door's own decoder.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from ess_ray.core.event import EVENT_SCHEMA
from ess_ray.core.timestamps import parse_timestamp_us
from ess_ray.generate import events
from ess_ray.intake.formats.format import Body
from ess_ray.intake.formats.json_events import decode_events
from ess_ray.intake.limits import IntakeLimits

SEED: Final = 11
HOUR_US: Final = 3_600 * 1_000_000
SPAN_US: Final = 2 * HOUR_US
"""So short that an hour of 5 M events compacts to an object of about 100 MiB, which is what a busy system has."""
END_US: Final = 497_222 * HOUR_US
FILE_EVENTS: Final = 100_000
BATCH_EVENTS: Final = 500
"""Events of one log record: what stands together under one (virtual node, offset)."""
VNODES: Final = 8
LOG_ID: Final = "6f1c9d52-benchmark"
_LINES_PER_DECODE: Final = 5_000


@dataclass(frozen=True)
class Corpus:
    """Events in ascending time, FILE_EVENTS a file: `parquet` and `ndjson` name the same events in the same order."""

    folder: Path
    count: int

    @property
    def parquet(self) -> list[Path]:
        return sorted(self.folder.glob("*.parquet"))

    @property
    def ndjson(self) -> list[Path]:
        return sorted(self.folder.glob("*.ndjson"))

    def tables(self, columns: Iterable[str] | None = None) -> Iterator[pa.Table]:
        """Give the rows of one file after the other, in EVENT_SCHEMA or some columns of it."""
        for path in self.parquet:
            yield pq.read_table(path, schema=EVENT_SCHEMA, columns=columns if columns is None else list(columns))

    def json_bytes(self) -> int:
        return sum(path.stat().st_size for path in self.ndjson)

    def message_bytes(self) -> int:
        """Add up the UTF-8 bytes of all messages."""
        return sum(int(table.column("message").nbytes) - 4 * (len(table) + 1) for table in self.tables(["message"]))


def make(folder: Path, count: int) -> Corpus:
    """Write `count` events into `folder`, which must be empty; the same events whatever the machine."""
    folder.mkdir(parents=True)
    stream = events(count, SEED, END_US, SPAN_US)
    made = 0
    for number in range(-(-count // FILE_EVENTS)):
        lines = [orjson.dumps(event) for _, event in zip(range(min(FILE_EVENTS, count - made)), stream, strict=False)]
        (folder / f"{number:04d}.ndjson").write_bytes(b"\n".join(lines) + b"\n")
        table = pa.Table.from_batches(list(_batches(lines, made)))
        pq.write_table(table, folder / f"{number:04d}.parquet", compression="zstd", compression_level=1)
        made += len(lines)
    return Corpus(folder, count)


def _batches(lines: list[bytes], first: int) -> Iterator[pa.RecordBatch]:
    """Decode lines as the front door does, and give them the identity of log records of BATCH_EVENTS."""
    for start in range(0, len(lines), _LINES_PER_DECODE):
        part = lines[start : start + _LINES_PER_DECODE]
        received_us = parse_timestamp_us(orjson.loads(part[-1])["timestamp"])
        decoded = decode_events(Body(b"\n".join(part), "application/x-ndjson"), received_us, IntakeLimits())
        if decoded.rejected:
            raise ValueError(f"the generator made events that the front door rejects: {decoded.rejected[:3]}")
        numbers = range(first + start, first + start + len(part))
        records = [number // BATCH_EVENTS for number in numbers]
        identity = (
            [LOG_ID] * len(part),
            [record % VNODES for record in records],
            [record // VNODES for record in records],
            [number % BATCH_EVENTS for number in numbers],
        )
        names = EVENT_SCHEMA.names[-len(identity) :]
        arrays = [pa.array(column, EVENT_SCHEMA.field(name).type) for name, column in zip(names, identity, strict=True)]
        yield pa.RecordBatch.from_arrays([*decoded.batch.columns, *arrays], schema=EVENT_SCHEMA)
