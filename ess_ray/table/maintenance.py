"""Removing what nobody can need any more: objects that were never committed, and objects that were taken out long
ago.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from ess_ray.core.errors import Unavailable
from ess_ray.limits import CompactionPolicy
from ess_ray.ports import Catalog, ObjectInfo, ObjectStore

_log = logging.getLogger(__name__)

GARBAGE_AGE_US: Final = 24 * 3_600 * 1_000_000
"""Age of an orphan since its PUT, and of a removed object since its removal: writers put again after 10 min, and
searches and exports end within 12 h, so nobody can still come to need it."""
PRESSED_AGE_US: Final = 600 * 1_000_000
"""Age of a removed object since its removal while room is scarce: nearly every search that could want it has ended, and
one that has not names what it misses. Orphans stay for a day all the same: a writer may be about to commit them."""
PREFIX: Final = "tenant="
"""Where objects lie; whatever else is in the bucket is not ours to delete."""


MAX_FAILED: Final = 20
"""Deletes of a run that may fail, each by itself (rights, a bad disk); more of them are a store that is away."""


@dataclass(frozen=True, slots=True)
class Collected:
    """What a collection deleted, and why it could not delete others, which the next run tries again."""

    objects: int
    bytes: int
    failed: tuple[str, ...] = ()


def collect_garbage(catalog: Catalog, store: ObjectStore, pressed: bool = False) -> Collected:
    """Delete orphans and removed objects. Idempotent, and safe beside writers, searches and other collectors.

    `pressed`: room is scarce, so that removed objects go after ten minutes instead of a day. Ages are told by the
    store's clock. Each delete is preceded by a look for this one object in a fresh snapshot, with commits kept out for
    that moment where the catalog can do that. An object that cannot be deleted keeps no other from it. Raises
    Unavailable.
    """
    return collect(catalog, store, PRESSED_AGE_US if pressed else GARBAGE_AGE_US)


def collect(
    catalog: Catalog, store: ObjectStore, removed_age_us: int, concerns: Callable[[str], bool] = lambda key: True
) -> Collected:
    """Do the same to the objects whose keys `concerns` accepts; removed ones go at `removed_age_us`, orphans as ever.

    Idempotent. Raises Unavailable.
    """
    count = size = 0
    failed: list[str] = []
    for info in [one for one in _candidates(catalog, store, removed_age_us) if concerns(one.key)]:
        with catalog.exclusive():
            if catalog.snapshot().holds(info.key):
                continue
            try:
                store.delete(info.key)
            except Unavailable as error:
                failed.append(error.message)
                _log.warning("garbage stays: %s", error.message)
                if len(failed) >= MAX_FAILED:
                    break
                continue
        _log.info("deleted %s (%d bytes): in no version of the table that anybody can still read", info.key, info.size)
        count, size = count + 1, size + info.size
    return Collected(count, size, tuple(failed))


def is_over(store: ObjectStore, policy: CompactionPolicy) -> bool:
    """Tell whether what lies in the store, removed objects among it, is more than the policy's sizes. Lists the store.

    Sizes are kept by live bytes; what waits for its deletion beside them goes early then.
    """
    limits = [(PREFIX, policy.max_bytes)] if policy.max_bytes is not None else []
    limits += [(f"{PREFIX}{tenant}/", most) for tenant, most in policy.tenant_max_bytes.items()]
    return any(sum(info.size for info in store.list(prefix)) > most for prefix, most in limits)


def _candidates(catalog: Catalog, store: ObjectStore, removed_age_us: int) -> Iterator[ObjectInfo]:
    # The listing comes before the snapshot: an object put and committed in between is then in the snapshot.
    listed = store.list(PREFIX)
    now_us = store.now_us()
    snapshot = catalog.snapshot()
    removed = {gone.key: gone.removed_us for gone in catalog.writer().removed()}
    for info in listed:
        since_us = max(info.modified_us, removed.get(info.key, 0))
        age_us = removed_age_us if info.key in removed else GARBAGE_AGE_US
        if now_us - since_us > age_us and not snapshot.holds(info.key):
            yield info
