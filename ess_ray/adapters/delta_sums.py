"""What checkpoints of a table's log were when they were written, so that a flipped bit in one is told.

Parquet as deltalake writes it has no sums, and a checkpoint is believed: a path, a size or an offset with another digit
would be an object that nobody finds, or events that are skipped. Beside each checkpoint of ours lies
`_ess_VERSION.sum`, which other readers of the table pass over. Checkpoints of before, or of others, have none and are
read as they are.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Final

import pyarrow as pa

from ess_ray.adapters.delta_log import POINTER, TableLog, checkpoint_name, sums_name
from ess_ray.core.checksum import crc32
from ess_ray.core.summed import read_summed, with_sum

ALTERED: Final = "its bytes are not those that were written (its sum is another one)"
POINTS_ELSEWHERE: Final = "it does not read as a pointer to a checkpoint"


@dataclass(frozen=True, slots=True)
class Sums:
    """CRC-32 of a checkpoint, and of the pointer to it."""

    checkpoint: int
    pointer: int


def write_sums(log: TableLog, version: int) -> None:
    """Keep the sums of a checkpoint that was just written, durably.

    Whoever dies before leaves a checkpoint without sums, as an older version does.
    """
    checkpoint, pointer = log.read_file(checkpoint_name(version)), log.read_file(POINTER)
    if checkpoint is None or pointer is None or pointed_at(pointer) != version:
        return  # somebody else wrote a newer one meanwhile
    made = Sums(crc32(checkpoint), crc32(pointer))
    log.write_file(sums_name(version), with_sum(json.dumps(asdict(made)).encode()))


def tidy_sums(log: TableLog) -> None:
    """Let go of sums whose checkpoints are no more."""
    for version in set(log.sums()) - set(log.checkpoints()):
        log.remove_file(sums_name(version))


def pointed_at(pointer: bytes | pa.Buffer) -> int:
    """Read which checkpoint a pointer names. Raises ValueError."""
    try:
        return int(json.loads(bytes(pointer))["version"])
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(POINTS_ELSEWHERE) from error


def sums_flaw(log: TableLog, version: int) -> str | None:
    """Tell what is wrong with the sums of a checkpoint themselves; None where they are well, or there are none."""
    try:
        _read(log, version)
    except (ValueError, TypeError) as error:
        return f"it does not read as the sums of a checkpoint: {error}"
    return None


def checkpoint_flaw(log: TableLog, version: int, data: bytes | pa.Buffer) -> str | None:
    """Tell whether a checkpoint is another one than was written; None where it is not, or nobody knows."""
    known = _known(log, version)
    return None if known is None or crc32(data) == known.checkpoint else ALTERED


def pointer_flaw(log: TableLog, data: bytes | pa.Buffer) -> str | None:
    """Tell whether a pointer is another one than was written; None where it is not, or nobody knows."""
    try:
        known = _known(log, pointed_at(data))
    except ValueError as error:
        return str(error)
    return None if known is None or crc32(data) == known.pointer else ALTERED


def _known(log: TableLog, version: int) -> Sums | None:
    try:
        return _read(log, version)
    except (ValueError, TypeError):
        return None  # `sums_flaw` tells


def _read(log: TableLog, version: int) -> Sums | None:
    """Raises ValueError, TypeError for sums that are damaged."""
    data = log.read_file(sums_name(version))
    return None if data is None else Sums(**read_summed(bytes(data)))
