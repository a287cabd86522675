"""Rule objects out where their search was planned: their skip indexes tell that nothing in them matches.

Handing a task to an executor and back takes several milliseconds, a look into an index that is in memory a tenth of
one.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from ess_ray.core.chunk import FOOTERS, GAP_BYTES, index_first, key_parts, left_by_index, open_object, reading
from ess_ray.core.errors import EssError
from ess_ray.ports import Cost, Ints, ObjectEntry, ObjectStore
from ess_ray.search.plan import Plan

MAX_SIFTED: Final = 64
"""Objects of one search that are looked at: some ten milliseconds, as long as a task takes to begin."""
AT_ONCE: Final = 8
"""Tails that are read at a time where a request takes long; from a disk they come one after the other."""


@dataclass
class Sifted:
    """What looking told. `left`: by place in scan order, the bytes left to read of each object; 0: it is ruled out."""

    left: Ints
    cost: Cost = field(default_factory=Cost)


def sift(store: ObjectStore, plan: Plan, max_bytes: int, cancelled: Callable[[], bool]) -> Sifted:
    """Look into the indexes of a plan's first objects, as far as that is cheap; at most `max_bytes` of them are read.

    A query whose words may be everywhere (`index_first`) gets only as many looks as there are objects ruled out before
    the first one that is not, and none for which something must be read. What cannot be read is left in the plan.
    """
    selective = index_first(plan.query)
    left = np.diff(plan.ends, prepend=0)
    sifted = Sifted(left)
    places = _worth_it(plan, max_bytes, unread=selective)
    look = _Look(store, plan, cancelled)
    if selective and look.gap_bytes >= GAP_BYTES:
        with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="sift") as pool:
            told = list(pool.map(look, places))
    else:
        told = []
        for entry in places:
            told.append(look(entry))
            if not selective and told[-1] != 0:
                break
    for place, bytes_left in enumerate(told):
        if bytes_left is not None:
            left[place] = min(left[place], bytes_left)
    sifted.cost = look.cost
    return sifted


def _worth_it(plan: Plan, max_bytes: int, *, unread: bool) -> list[ObjectEntry]:
    """Give the first objects of a plan whose indexes are known, or, where it may be `unread`, small enough to read."""
    chosen = []
    for entry in plan.entries(0, min(len(plan), MAX_SIFTED)):
        footer = FOOTERS.get(entry.key, entry.size)
        if footer is None or footer.index is None:
            name = key_parts(entry.key)
            max_bytes -= name.footer_bytes + name.index_bytes
            if not unread or max_bytes < 0:
                break
        chosen.append(entry)
    return chosen


class _Look:
    """Looks into one object after the other, and adds up what that costs. For many threads."""

    def __init__(self, store: ObjectStore, plan: Plan, cancelled: Callable[[], bool]) -> None:
        self._store, self._query, self._cancelled = store, plan.query, cancelled
        self._lock = threading.Lock()
        self.gap_bytes: int = getattr(store, "coalesce_bytes", GAP_BYTES)
        self.cost = Cost()

    def __call__(self, entry: ObjectEntry) -> int | None:
        """Give how many bytes of an object may hold what is sought; None where that cannot be told."""
        if self._cancelled():
            return None
        try:
            with reading(entry.key):
                reader = open_object(
                    self._store, entry.key, entry.size, footers=FOOTERS, gap_bytes=self.gap_bytes, with_index=True
                )
                from_memory = reader.gets == 0
                left = left_by_index(reader, self._query)
        except (EssError, OSError):
            return None  # its task tries again, and names it
        with self._lock:
            self.cost += Cost(reader.bytes_read, reader.gets, int(from_memory), int(not from_memory))
        return left
