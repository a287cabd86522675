"""Whose search runs next."""

from __future__ import annotations

import pytest

from ess_ray.core.errors import TooFast
from ess_ray.search.turns import Turns


async def test_the_first_run_and_others_wait_in_their_order() -> None:
    turns = Turns(2, 2)
    first, second, third, fourth = (turns.enter("shop") for _ in range(4))
    assert [place.position for place in (first, second, third, fourth)] == [None, None, 1, 2]
    first.give_back()
    assert [place.position for place in (third, fourth)] == [None, 1]
    first.give_back()  # once is enough
    assert fourth.position == 1
    second.give_back()
    assert fourth.position is None


async def test_who_waits_may_leave() -> None:
    turns = Turns(1, 2)
    running, leaving, last = (turns.enter("shop") for _ in range(3))
    leaving.give_back()
    assert last.position == 1
    leaving.give_back()
    running.give_back()
    assert last.position is None


async def test_too_many_are_refused_with_what_there_is() -> None:
    turns = Turns(1, 1)
    turns.enter("shop"), turns.enter("shop")
    with pytest.raises(TooFast, match="1 of your searches run and 1 wait") as refused:
        turns.enter("shop")
    assert refused.value.details == {"running": 1, "queued": 1}


async def test_one_tenants_searches_never_wait_for_anothers() -> None:
    turns = Turns(1, 0)
    turns.enter("shop")
    other = turns.enter("bank")
    assert other.position is None
    other.give_back()
    assert turns.enter("bank").position is None
