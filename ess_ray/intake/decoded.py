"""What is made of a request's events: those to store, and what is said of the others."""

from __future__ import annotations

from dataclasses import dataclass, field

import pyarrow as pa

Named = tuple[int, str]
"""An event's index, and what is said of it."""


@dataclass(frozen=True)
class Decoded:
    """The valid events as rows of RECORD_SCHEMA, in their order; (index, reason) of each invalid one, and of each whose
    time is that of its receipt, though it had another."""

    batch: pa.RecordBatch
    rejected: list[Named] = field(default_factory=list)
    adjusted: list[Named] = field(default_factory=list)
    told: bytes = b""
    """What the answer says of each of these events, where a protocol has it name them all: in that protocol's words."""
