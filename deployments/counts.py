"""What the push application counts, whatever the way in."""

from __future__ import annotations

from collections.abc import Iterable

from ess_ray.core.errors import EssError
from ess_ray.intake.decoded import Named
from ess_ray.intake.formats.format import Stored
from ess_ray.metrics import (
    PUSH_ACCEPTED,
    PUSH_ADJUSTED,
    PUSH_BYTES,
    PUSH_OTHER_TENANT,
    PUSH_REJECTED,
    PUSH_REQUESTS,
    PUSH_SECONDS,
    Tally,
    reason_class,
)


class Counts:
    """Counts requests and their events in a tally."""

    def __init__(self, tally: Tally) -> None:
        self._tally = tally

    def other_tenant(self) -> None:
        """Count a request that names another tenant than its key's."""
        self._tally.count(PUSH_OTHER_TENANT)

    def body(self, size: int) -> None:
        """Count a body, or a part of one, of so many bytes."""
        self._tally.count(PUSH_BYTES, size)

    def stored(self, stored: Stored) -> None:
        """Count events that are durable."""
        self._tally.count(PUSH_ACCEPTED, stored.accepted)
        self._tally.count(PUSH_ADJUSTED, stored.adjusted_total)

    def rejected(self, rejected: Iterable[Named]) -> None:
        """Count events that never can be stored."""
        for _, reason in rejected:
            self._tally.count(PUSH_REJECTED, 1, reason_class(reason))

    def answered(self, status: int, seconds: float, error: EssError | None = None) -> None:
        """Count a request that was answered, and the events that its refusal names."""
        self._tally.count(PUSH_REQUESTS, 1, str(status))
        self._tally.observe(PUSH_SECONDS, seconds)
        if error is not None:
            self.rejected((each["index"], each["reason"]) for each in error.details.get("rejected", ()))
