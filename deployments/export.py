"""The endpoint of exports: a whole answer as one file, streamed."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator
from typing import Annotated, Any, Final, Literal

from fastapi import FastAPI, Query, Request, Response
from fastapi.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from deployments.access import Tenant
from deployments.answers import takes_arrow
from deployments.departure import Departure
from ess_ray.aside import aside
from ess_ray.core.errors import Unavailable
from ess_ray.search.export import Export, Exporter
from ess_ray.search.formats import ARROW, FORMATS, Encoder, encoder_of

_log = logging.getLogger(__name__)

MOST_S: Final = 12 * 3600.0
"""How long an export may take: objects that compaction replaced are there for a day, and are deleted then."""

FormatName = Literal["ndjson", "csv", "parquet", "arrow"]
_DESCRIBED: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "description": "The whole answer. A body that does not end properly (a chunked body without its last chunk) "
        "is an export that was broken off.",
        "content": {one.media_type.partition(";")[0]: {"schema": {"type": "string"}} for one in FORMATS.values()},
    },
}


def route_export(app: FastAPI, tenant: Tenant, exporter: Exporter, departure: Departure) -> None:
    """Add `GET /v1/queries/{query_id}/export`."""

    async def export(
        request: Request,
        query_id: str,
        file_format: Annotated[
            FormatName | None,
            Query(alias="format", description="Of the file; left out: Arrow if `Accept` names it, else NDJSON."),
        ] = None,
        column: Annotated[
            list[str] | None, Query(description="Of CSV: these fields, of Arrow: these columns, in this order.")
        ] = None,
    ) -> Response:
        """Give all rows of a query as one file, in its order and without a cap on rows.

        The search is done afresh, with the times that were resolved when it was started, over everything acknowledged
        by now; it may be running, done, cancelled or truncated. An export is whole or broken off: without objects that
        cannot be read it is broken off at its end, and the query's own page names them in `incomplete`.

        NDJSON: one event a line, as in answers. CSV: a header, the same fields with `attributes` as JSON text, or those
        that `column` names; values are what was stored, also where a spreadsheet would take them for formulas. Parquet:
        the table's own columns, and `attribute_numbers` and `attribute_booleans` beside the texts of `attributes`.
        Arrow: an IPC stream of the same columns, or those that `column` names; its last batch is empty and tells under
        `ess.end` whether it is whole, and one that is not ends in a message without a rest. 429: a replica runs four at
        a time, three of one tenant.
        """
        whose = await tenant(request)
        chosen = file_format or (ARROW if takes_arrow(request) else "ndjson")
        encoder = encoder_of(chosen, column or ())
        return _ExportResponse(await exporter.open(whose, query_id), chosen, encoder, departure)

    app.get("/v1/queries/{query_id}/export", response_class=Response, responses=_DESCRIBED)(export)


class _ExportResponse(StreamingResponse):
    """Streams an export. Whatever goes wrong once it has begun leaves the body without its end, so that the client sees
    that it has not everything; a client that goes ends it at once.

    That the replica is to end is no reason to break it off: nobody could go on with it. It keeps Serve from telling the
    replica, though, so that searches beside it have to be ended by whoever watches.
    """

    def __init__(self, export: Export, file_format: str, encoder: Encoder, departure: Departure) -> None:
        kind = FORMATS[file_format]
        headers = {
            "Content-Disposition": f'attachment; filename="ess-{export.query_id}.{file_format}"',
            "Cache-Control": "no-store",
            "X-Accel-Buffering": "no",
        }
        self._export, self._body, self._departure = export, _encoded(export, encoder), departure
        super().__init__(self._body, media_type=kind.media_type, headers=headers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            with self._departure.watched():
                async with contextlib.aclosing(self._body), asyncio.timeout(MOST_S):
                    await super().__call__(scope, receive, send)
        except asyncio.CancelledError:
            self._log_gone()
            raise
        except Exception as error:
            told = (self._export.query_id, self._export.rows, str(error) or type(error).__name__)
            _log.error("the export of query %s is broken off after %d rows: %s", *told)
            raise
        else:
            if not self._export.whole:
                self._log_gone()
        finally:
            self._export.close()

    def _log_gone(self) -> None:
        """The client went, or the replica goes: which of them, a server does not say."""
        _log.info("the export of query %s was left after %d rows", self._export.query_id, self._export.rows)


async def _encoded(export: Export, encoder: Encoder) -> AsyncGenerator[bytes, None]:
    left_out, missing = None, tuple[str, ...]()
    try:
        async with contextlib.aclosing(export.tables()) as tables:
            async for rows in tables:
                if data := await aside(encoder.add, rows):
                    yield data
    except Unavailable as error:
        await export.tell_left_out()
        left_out, missing = error, export.missing() or (error.message,)
    # Also without what could not be read: the others' rows are a file that can be read, though the body has no end.
    if data := await aside(encoder.finish, missing):
        yield data
    if left_out is not None:
        raise left_out
