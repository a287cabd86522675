"""Following what was asked to its end, without I/O: which request comes next, and what an answer brought."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import httpx
import pyarrow as pa

from ess_ray.client.endpoints import PAGE_ROWS, QUERIES
from ess_ray.client.http import json_of, problem_of
from ess_ray.core.answer_stream import MEDIA_TYPE, StreamReader

WAIT_S: Final = 10.0
"""How long a request waits for rows, or the end: it is answered at once when they come."""
ARROW: Final = {"Accept": MEDIA_TYPE}
_UNDER_WAY: Final = ("queued", "running")


@dataclass(frozen=True, slots=True)
class Ask:
    """A request to be sent."""

    method: str
    path: str
    arguments: dict[str, Any] = field(default_factory=dict)


class Outcome:
    """How an answer ended. Filled in by whoever reads it."""

    def __init__(self) -> None:
        self.incomplete: tuple[str, ...] | None = None
        """What is missing; None until it is known."""
        self.schema: pa.Schema | None = None


class Paging:
    """A search with a limit: pages of rows, as Arrow."""

    def __init__(self, query_id: str) -> None:
        self._path, self._cursor = f"{QUERIES}/{query_id}", ""
        self.last: dict[str, Any] | None = None
        """The state that came with the last page, once the search has ended and all its rows are here."""

    def ask(self) -> Ask:
        """Give the request for what comes next. The same cursor gives the same rows: it may be sent again."""
        return Ask(
            "GET",
            self._path,
            {"params": {"cursor": self._cursor, "limit": PAGE_ROWS, "wait": WAIT_S}, "headers": ARROW},
        )

    def take(self, answer: httpx.Response, outcome: Outcome) -> list[pa.RecordBatch]:
        """Give the rows that came; their schema goes to `outcome`. Raises what the answer stands for, CorruptData."""
        if not answer.is_success:
            raise problem_of(answer)
        reader = StreamReader()
        batches = list(reader.feed(answer.content))
        page = reader.page()
        outcome.schema = reader.schema
        self._cursor = page["cursor"]
        if page["state"] not in _UNDER_WAY and sum(map(len, batches)) < PAGE_ROWS:
            self.last = page
        return batches


class Polling:
    """An aggregation or a pipe: asked for until it has ended."""

    def __init__(self, root: str, body: Mapping[str, Any]) -> None:
        self._root, self._body, self._path = root, dict(body), ""
        self.last: dict[str, Any] | None = None
        """The whole answer."""

    def ask(self) -> Ask:
        """Give the request for what comes next."""
        if not self._path:
            return Ask("POST", self._root, {"json": {**self._body, "wait": WAIT_S}})
        return Ask("GET", self._path, {"params": {"wait": WAIT_S, "limit": 1}})

    def take(self, answer: httpx.Response) -> None:
        """Take note of an answer. Raises the EssError of its status."""
        page = json_of(answer)
        self._path = f"{self._root}/{page['id']}"
        if page["state"] not in _UNDER_WAY:
            self.last = page
