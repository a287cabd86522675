"""The endpoints of deletions: asking for one, and looking how far it is. Who carries it out is the supervisor."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Annotated, Any, Final, Literal

from fastapi import FastAPI, Path, Request, Response
from pydantic import BaseModel, ConfigDict

from deployments.access import Tenant
from deployments.answers import json_answer
from deployments.asked import read_range
from ess_ray.core.errors import BadRequest, EssError, NotFound
from ess_ray.core.operators import All
from ess_ray.core.timestamps import format_timestamp
from ess_ray.language import parse
from ess_ray.ports import ResultStore
from ess_ray.table.deletion_book import Deletion, DeletionBook

_log = logging.getLogger(__name__)

LOOK_S: Final = 0.5
"""How often this replica looks whether a deletion is done, to drop the answers that it keeps."""
WHOLE: Final = (
    "an empty query deletes everything in its range: give start and end, or say which events are meant by a query"
)

Warnings = Callable[[], Awaitable[list[str]]]
"""Names what is wrong just now; a deletion that waits is named by its id."""
Wake = Callable[[], Awaitable[object]]
"""Tells whoever carries deletions out that there is one."""


class DeletionBody(BaseModel):
    """Which events are to go. Times as in a query; without `start` from the first event, without `end` up to now.

    An empty query (or `*`) needs both.
    """

    model_config = ConfigDict(extra="forbid", strict=True)

    query: str
    start: str | int | float | None = None
    end: str | int | float | None = None


class DeletionCreated(BaseModel):
    """The id to poll."""

    id: str


class DeletionProgress(BaseModel):
    """Objects that were looked at, of those in the range."""

    objects_done: int
    objects_total: int


class DeletionPage(BaseModel):
    """Where a deletion stands. `done`: no answer has these events any more."""

    id: str
    state: Literal["running", "done", "failed"]
    rows_deleted: int
    objects_rewritten: int
    progress: DeletionProgress
    complete: bool
    incomplete: list[str]
    """What could not be looked at, and why; also what a running one waits for."""
    covers_until: str
    """What was acknowledged by then is covered; what comes later is not, though it may match."""
    gone_by: str | None
    """When no object in the store holds them any more; null while it runs."""
    bytes_gone: bool
    """Whether that has come."""
    beyond: list[str]
    """Where the events may still be, out of reach, and until when."""


class DeletionApi:
    """The endpoints over their parts; `route_deletions` routes to them."""

    def __init__(
        self,
        book: DeletionBook,
        results: ResultStore,
        admin: Tenant,
        wake: Wake,
        *,
        answers_here: bool,
        look_s: float = LOOK_S,
        warnings: Warnings | None = None,
    ) -> None:
        """`answers_here`: answers are in this replica's memory, so that nobody else can drop them."""
        self._warnings = warnings
        self._book, self._results, self._admin, self._wake = book, results, admin, wake
        self._answers_here, self._look_s = answers_here, look_s
        self.following: set[asyncio.Task[None]] = set()
        """One for each deletion that is not done yet, of those that came to this replica."""

    async def create(self, request: Request, body: DeletionBody) -> Response:
        """Have events deleted. 202 once the wish is kept: it is carried out whatever becomes of the system meanwhile.

        Covered is what was acknowledged by then and the query finds: stored, in flight, and in kept answers. There is
        no way back.
        """
        tenant = await self._admin(request)
        start_us, end_us = _range(body)
        made = await asyncio.to_thread(self._book.create, tenant, body.query, start_us, end_us)
        _log.info("deletion %s of tenant %s was asked for", made.id, tenant)
        if self._answers_here:
            following = asyncio.create_task(self._follow(made.id), name=f"follow deletion {made.id}")
            self.following.add(following)
            following.add_done_callback(self.following.discard)
        try:
            await self._wake()
        except EssError as error:
            _log.warning("deletion %s begins a little later: %s", made.id, error.message)
        return json_answer({"id": made.id}, 202)

    async def page(
        self, request: Request, deletion_id: Annotated[str, Path(description="Of a deletion of this tenant.")]
    ) -> Response:
        """Tell how far a deletion is."""
        tenant = await self._admin(request)
        found = await asyncio.to_thread(self._book.read, deletion_id)
        if found.tenant != tenant:
            raise NotFound(f"there is no deletion {deletion_id}")
        dropped = found.state != "done" or await self._dropped(found)
        waits = await self._waits(found) if found.state == "running" else []
        return json_answer(_told(found, dropped, waits))

    async def _waits(self, running: Deletion) -> list[str]:
        """Tell what a deletion waits for, as far as anybody knows just now."""
        return [each for each in await self._warnings() if running.id in each] if self._warnings is not None else []

    async def _dropped(self, done: Deletion) -> bool:
        """Drop what answers are here; tells whether all are dropped, wherever they are."""
        if await asyncio.to_thread(self._book.are_answers_dropped, done.id):
            return True
        if not self._answers_here:
            return False
        await self._results.drop_all(done.tenant)
        await asyncio.to_thread(self._book.answers_dropped, done.id)
        return True

    async def _follow(self, deletion_id: str) -> None:
        """Drop the answers here as soon as a deletion is done, also when nobody asks how far it is.

        It ends with this process, and so do the answers in its memory.
        """
        while True:
            await asyncio.sleep(self._look_s)
            try:
                found = await asyncio.to_thread(self._book.read, deletion_id)
                if found.state == "failed" or (found.state == "done" and await self._dropped(found)):
                    return
            except (EssError, OSError) as error:
                _log.warning("deletion %s cannot be looked at just now: %s", deletion_id, error)


def _range(body: DeletionBody) -> tuple[int | None, int | None]:
    """Read the bounds. Raises BadRequest, and QueryError for a wrong query."""
    if isinstance(parse(body.query), All) and (body.start is None or body.end is None):
        raise BadRequest(WHOLE)
    start_us, end_us = read_range(0 if body.start is None else body.start, body.end, time.time_ns() // 1000)
    return (None if body.start is None else start_us), end_us


def _told(found: Deletion, dropped: bool, waits: Sequence[str]) -> dict[str, Any]:
    state = "running" if found.state == "done" and not dropped else found.state
    return {
        "id": found.id,
        "state": state,
        "rows_deleted": found.rows_deleted,
        "objects_rewritten": found.objects_rewritten,
        "progress": {"objects_done": found.objects_done, "objects_total": found.objects_total},
        "complete": state == "done" and not found.incomplete,
        "incomplete": [*found.incomplete, *waits],
        "covers_until": format_timestamp(found.created_us),
        "gone_by": None if found.gone_by_us is None else format_timestamp(found.gone_by_us),
        "bytes_gone": found.bytes_gone,
        "beyond": list(found.beyond),
    }


def route_deletions(app: FastAPI, api: DeletionApi) -> None:
    """Add `POST /v1/deletions` and `GET /v1/deletions/{deletion_id}`, both for keys of scope admin."""
    app.post("/v1/deletions", status_code=202, response_model=DeletionCreated)(api.create)
    pages: dict[int | str, dict[str, Any]] = {200: {"model": DeletionPage}}
    app.get("/v1/deletions/{deletion_id}", responses=pages)(api.page)
