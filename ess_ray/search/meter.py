"""What searches tell of themselves to whoever counts: a seam, so that policy needs to know no library of metrics."""

from __future__ import annotations

from typing import Protocol

from ess_ray.ports import ScanResult


class SearchMeter(Protocol):
    """Told of every step of every search, on the searcher's event loop: calls must not block."""

    def running(self, searches: int) -> None:
        """So many searches are under way now."""
        ...

    def tailing(self, tails: int) -> None:
        """So many live tails are under way now."""
        ...

    def planned(self, objects_pruned: int) -> None:
        """A search knows its objects; so many of the tenant's it does not have to look at."""
        ...

    def scanned(self, objects: int, result: ScanResult) -> None:
        """A task with so many objects gave its final result, after the retries of what failed."""
        ...

    def ended(self, state: str, seconds: float) -> None:
        """A search ended, as the answer's `state` says."""
        ...


class Unmetered:
    """Counts nothing: for a searcher of which nobody wants figures."""

    def running(self, searches: int) -> None:
        """See the protocol."""

    def tailing(self, tails: int) -> None:
        """See the protocol."""

    def planned(self, objects_pruned: int) -> None:
        """See the protocol."""

    def scanned(self, objects: int, result: ScanResult) -> None:
        """See the protocol."""

    def ended(self, state: str, seconds: float) -> None:
        """See the protocol."""
