"""Virtual node -> owning actor: a consistent-hash ring with bounded loads.

Mirrokni, Thorup, Zadimoghaddam: "Consistent Hashing with Bounded Loads" (SODA 2018). Every virtual node hashes to a
point and takes the first owner clockwise that is not full; full means its even share, rounded up, so that loads differ
by one at the most, and about 1/N of the virtual nodes move when an owner joins or leaves. Pure: same input, same answer
in every process (no `hash()`, which is salted).
"""

from __future__ import annotations

import bisect
from collections.abc import Iterable, Sequence
from hashlib import blake2b
from typing import Final

POINTS_PER_OWNER: Final = 128
"""Points an owner has on the ring: enough that the clockwise overflow of a full owner spreads over all others."""


def _point(text: str) -> int:
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big")


def place(vnodes: Iterable[int], owners: Sequence[str]) -> dict[int, str]:
    """Give each virtual node its owner; empty without owners. Loads differ by at most one from the even share."""
    if not owners:
        return {}
    ring = sorted((_point(f"{owner}/{i}"), owner) for owner in owners for i in range(POINTS_PER_OWNER))
    points = [point for point, _ in ring]
    nodes = sorted(set(vnodes))
    capacity = -(-len(nodes) // len(owners))
    load = dict.fromkeys(owners, 0)
    placed: dict[int, str] = {}
    for vnode in nodes:
        at = bisect.bisect_left(points, _point(f"vnode/{vnode}"))
        while load[ring[at % len(ring)][1]] >= capacity:
            at += 1
        owner = ring[at % len(ring)][1]
        load[owner] += 1
        placed[vnode] = owner
    return placed
