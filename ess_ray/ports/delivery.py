"""The seam to those who are told of alerts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Literal, Protocol


@dataclass(frozen=True, slots=True)
class Notice:
    """An alert that fires, or is resolved, to one receiver; times are epoch microseconds.

    `key` is the same whenever the same is told again: of an alert, since when, and what became of it.
    """

    key: str
    status: Literal["firing", "resolved"]
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    starts_us: int
    ends_us: int | None
    url: str
    """Where its rows can be looked at."""
    fingerprint: str


@dataclass(frozen=True, slots=True)
class Bundle:
    """Notices (at least one) of one group of a tenant's rules, to be told together at `now_us`."""

    tenant: str
    group: str
    notices: Sequence[Notice]
    now_us: int

    @property
    def key(self) -> str:
        """The same whenever the same is told again."""
        return sha256("\n".join(notice.key for notice in self.notices).encode()).hexdigest()


class Receiver(Protocol):
    """Somebody who is told."""

    @property
    def name(self) -> str: ...

    @property
    def repeat_s(self) -> float | None:
        """How often what fires must be told again, or it is taken for resolved; None: once is enough."""
        ...

    async def send(self, bundle: Bundle) -> None:
        """Tell of a bundle, whole or not at all. Raises Unavailable when it may be told later, BadRequest when it never
        can be: such as an address that is not allowed."""
        ...
