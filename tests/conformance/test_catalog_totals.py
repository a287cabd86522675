"""What a snapshot tells of all its objects without listing them, over every catalog."""

from __future__ import annotations

import pytest

from ess_ray.ports import Totals
from ess_ray.table.replacing import count_up
from tests.conformance.catalogs import CATALOGS, Harness, entry


@pytest.fixture(params=sorted(CATALOGS))
def world(request: pytest.FixtureRequest) -> Harness:
    """One empty catalog of each kind."""
    return Harness(request.param, request)


def test_a_snapshot_tells_what_it_holds_and_adds_it_up(world: Harness) -> None:
    writer = world.catalog.writer()
    assert world.catalog.snapshot().totals() == Totals(0, 0, 0)
    kept, gone, other = entry(rows=3, size=30), entry(rows=5, size=50), entry(tenant="other", rows=7, size=70)
    writer.commit([kept, gone, other], [], {})
    before = world.catalog.snapshot()
    assert before.totals() == Totals(3, 15, 150)
    view = writer.view()
    (old,) = [one for one in view.objects(None, None, None) if one.key == gone.key]
    writer.commit([], [old], count_up(view, 0))
    after = world.catalog.snapshot()
    assert after.totals() == Totals(2, 10, 100)
    assert [after.holds(one.key) for one in (kept, gone, other)] == [True, False, True]
    assert not after.holds("tenant=other/nothing")
    assert before.holds(gone.key)
    # Read anew by a catalog that saw none of these commits, from columns instead of entry by entry.
    reopened = world.catalog.writer().snapshot()
    assert reopened.totals() == after.totals()
    assert [reopened.holds(one.key) for one in (kept, gone, other)] == [True, False, True]
