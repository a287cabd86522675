"""The limits of the front door: how large, how many, how old, how much at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from ess_ray.intake.fields import FIELD_TABLE, FieldTable
from ess_ray.limits import RequestLimits

MAX_KEY_BYTES: Final = 100
"""An Idempotency-Key: long enough for a UUID or a hash with a prefix, short enough to remember by the million."""
MAX_ROUTE_BYTES: Final = 100
"""A route's name, as long as a key: it is hashed, not remembered."""


@dataclass(frozen=True)
class IntakeLimits(RequestLimits):
    """What one request may hold, and what its fields are called."""

    tables: Mapping[str, FieldTable] = field(default_factory=dict)
    """By tenant, where its names of fields are not the usual ones."""

    parse: Mapping[str, str] = field(default_factory=dict)
    """By tenant, the format of its lines of text (`lines.catalog`, or auto); where it has none, lines are messages."""

    @classmethod
    def of(cls, limits: RequestLimits, tables: Mapping[str, FieldTable], parse: Mapping[str, str]) -> IntakeLimits:
        """Put the limits of requests, the names of fields and the formats of lines together."""
        return cls(limits.max_batch_bytes, limits.max_event_age_us, limits.max_clock_skew_us, tables, parse)

    def table_of(self, tenant: str) -> FieldTable:
        """Give the names of fields in a tenant's events."""
        return self.tables.get(tenant, FIELD_TABLE)


@dataclass(frozen=True)
class GatherLimits:
    """How batches are gathered into appends."""

    worth_an_append_bytes: int = 450 * 1024
    """Batches that wait while an append is under way before another is started: half a record. Measured: at a tenth of
    it, the smaller records cost everybody behind more than the wait saves (81k events/s became 62k)."""
    max_appends: int = 4
    """Appends in flight: one more only when a full record waits, so that a slow fsync does not idle the encoder."""
    max_append_bytes: int = 4 * 1024 * 1024
    """Buffers that go with one append: bounds what one failure makes everybody send again."""
