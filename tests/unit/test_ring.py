"""The ring: even loads, few moves, same answer everywhere."""

from __future__ import annotations

import pytest

from ess_ray.core.ring import place


def owners(count: int) -> list[str]:
    return [f"persist-{i}" for i in range(count)]


@pytest.mark.parametrize(("vnodes", "actors"), [(8, 2), (64, 4), (64, 5), (64, 7), (1, 3), (5, 8)])
def test_every_virtual_node_has_one_owner_and_loads_differ_by_one_at_most(vnodes: int, actors: int) -> None:
    placed = place(range(vnodes), owners(actors))
    assert sorted(placed) == list(range(vnodes))
    loads = [list(placed.values()).count(owner) for owner in owners(actors)]
    assert max(loads) <= -(-vnodes // actors)


def test_about_one_in_n_moves_when_an_actor_joins() -> None:
    before, after = place(range(64), owners(4)), place(range(64), owners(5))
    moved = sum(before[vnode] != after[vnode] for vnode in before)
    assert 64 // 5 <= moved <= 64 // 5 * 2.5


def test_without_owners_nothing_is_placed() -> None:
    assert place(range(8), []) == {}


def test_the_order_of_owners_does_not_matter() -> None:
    assert place(range(64), owners(5)) == place(range(64), owners(5)[::-1])
