"""Places that tenants share: nobody takes all of them, and nobody is refused a first one while any is free."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ess_ray.core.errors import TooFast
from ess_ray.search.shares import Shares


def filled(shares: Shares, tenant: str) -> list[Callable[[], None]]:
    """Take places until one is refused."""
    taken: list[Callable[[], None]] = []
    while True:
        try:
            taken.append(shares.take(tenant))
        except TooFast:
            return taken


@pytest.mark.parametrize(("most", "alone"), [(1, 1), (2, 1), (3, 2), (4, 3), (5, 3), (8, 6), (100, 75)])
def test_a_tenant_alone_holds_three_quarters_and_leaves_at_least_one(most: int, alone: int) -> None:
    assert len(filled(Shares("exports", most), "red")) == alone


@pytest.mark.parametrize(("most", "held"), [(4, [3, 1, 0]), (8, [6, 1, 1, 0]), (100, [75, 18, 5, 1, 1, 0])])
def test_what_one_tenant_leaves_is_shared_in_the_same_way(most: int, held: list[int]) -> None:
    shares = Shares("exports", most)
    assert [len(filled(shares, f"tenant {number}")) for number in range(len(held))] == held
    assert shares.taken == most


def test_a_refusal_says_what_to_do() -> None:
    shares = Shares("exports", 4)
    filled(shares, "red")
    with pytest.raises(TooFast, match=r"3 of the 4 exports .* are yours.* wait until one of yours") as refused:
        shares.take("red")
    assert refused.value.details == {"limit": 4, "held": 3}
    shares.take("blue")
    with pytest.raises(TooFast, match=r"4 exports are under way .* try again") as refused:
        shares.take("green")
    assert refused.value.details == {"limit": 4, "held": 0}


def test_a_place_is_given_back_once() -> None:
    shares = Shares("exports", 4)
    first, *others = filled(shares, "red")
    first()
    first()
    assert shares.taken == 2
    filled(shares, "red")
    assert shares.taken == 3
    for give_back in others:
        give_back()
    assert shares.taken == 1


def test_a_tenant_that_holds_more_than_its_share_by_now_keeps_it_and_gets_no_more() -> None:
    shares = Shares("exports", 8)
    red = filled(shares, "red")
    shares.take("blue")
    red.pop()()
    with pytest.raises(TooFast):
        shares.take("red")
    shares.take("blue")
