"""Where questions are asked, and what their last page tells.

Nothing here takes long to import: commands begin with it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

QUERIES: Final = "/search/v1/queries"
AGGREGATIONS: Final = "/search/v1/aggregations"
PIPES: Final = "/search/v1/pipes"
PAGE_ROWS: Final = 10_000
"""Rows in a page: the most that the contract gives."""


def reasons_of(page: Mapping[str, Any]) -> list[str]:
    """Say why an answer is not whole, given its last page; nothing where it is."""
    reasons = [str(reason) for reason in page.get("incomplete", ())]
    state = page.get("state", "done")  # what is answered at once has no state
    if state == "truncated" and not reasons:
        reasons.append("the stored answer reached its cap: narrow the query or the time range")
    elif state != "done" and not reasons:
        reasons.append(f"the query {state}")
    elif not page["complete"] and not reasons:
        reasons.append("the system does not call it complete")
    return reasons
