"""What one stored answer may hold: a number of its own, since settings need it, and none of what a query is made of."""

from __future__ import annotations

from typing import Final

MAX_LIMIT: Final = 200_000
"""Rows in one stored answer: beyond, use export."""
