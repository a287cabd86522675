"""Retention: objects leave the table by age, or by size, the oldest newest event first."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from ess_ray.ingest.repeats import CLOCK_SLACK_US, WINDOW_US
from ess_ray.limits import CompactionPolicy
from ess_ray.ports import Catalog, CatalogWriter, ObjectEntry, ObjectStore, Snapshot
from ess_ray.table.replacing import Replacement, bucket_of, partition, replace_objects

_DAY_US: Final = 86_400 * 1_000_000

Choice = Callable[[Snapshot], Sequence[ObjectEntry]]
"""Of what is in the table just now, the objects that are to go."""


@dataclass(frozen=True, slots=True)
class Expired:
    """What retention took out of the table."""

    objects: int = 0
    rows: int = 0
    bytes: int = 0


def expire(catalog: Catalog, store: ObjectStore, policy: CompactionPolicy) -> Expired:
    """Take objects out by age (by the store's clock) and by size, as the policy says. Idempotent.

    Whole objects only, by their newest event: an event stays up to an hour longer than its age, and what is kept may
    be less than a size by one object. Raises UnknownOutcome when commits were refused again and again, Unavailable.
    """
    now_us = store.now_us()
    choices = [_by_age(tenant, now_us - round(days * _DAY_US)) for tenant, days in policy.retention_days.items()]
    choices += [_by_size(tenant, most) for tenant, most in policy.tenant_max_bytes.items()]
    choices.append(_without_rows(now_us - WINDOW_US - CLOCK_SLACK_US))
    if policy.max_bytes is not None:
        choices.append(_by_size(None, policy.max_bytes))  # last: the others may have made room enough
    writer = catalog.writer()
    gone = [entry for choice in choices for entry in _take_out(catalog, writer, choice)]
    return Expired(len(gone), sum(entry.rows for entry in gone), sum(entry.size for entry in gone))


def _by_age(tenant: str, cutoff_us: int) -> Choice:
    return lambda view: [entry for entry in view.objects(tenant, None, cutoff_us) if entry.max_us < cutoff_us]


def _without_rows(cutoff_us: int) -> Choice:
    """Of objects whose rows were all deleted: those whose request keys nobody can ask for any more."""
    return lambda view: [e for e in view.objects(None, None, None) if not e.rows and e.modified_us < cutoff_us]


def _by_size(tenant: str | None, most: int) -> Choice:
    def choose(view: Snapshot) -> Sequence[ObjectEntry]:
        entries = sorted(view.objects(tenant, None, None), key=lambda entry: (entry.max_us, entry.key))
        excess, count = sum(entry.size for entry in entries) - most, 0
        while excess > 0:
            excess -= entries[count].size
            count += 1
        return entries[:count]

    return choose


def _take_out(catalog: Catalog, writer: CatalogWriter, choice: Choice) -> list[ObjectEntry]:
    buckets = {bucket_of(partition(entry)) for entry in choice(catalog.snapshot())}
    return [entry for bucket in sorted(buckets) for entry in _take_out_of(writer, choice, bucket)]


def _take_out_of(writer: CatalogWriter, choice: Choice, bucket: int) -> list[ObjectEntry]:
    taken: dict[str, ObjectEntry] = {}

    def choose(view: Snapshot) -> Replacement | None:
        # Of the very view that the commit builds on: what others took meanwhile counts.
        old = [entry for entry in choice(view) if bucket_of(partition(entry)) == bucket]
        # Counted even if the answer is lost: whoever took them, they are gone once the next view lacks them.
        taken.update((entry.key, entry) for entry in old)
        return Replacement([], old) if old else None

    replace_objects(writer, bucket, choose, "retention")
    return list(taken.values())
