"""Asking a running system from a program: `Client`, and `AsyncClient` on an event loop."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Final, Generic, Literal, TypeVar

import httpx
import pyarrow as pa

from ess_ray.client.answers import AsyncEvents, Events, Table, of_pipe, of_stats
from ess_ray.client.endpoints import AGGREGATIONS, PIPES, QUERIES, reasons_of
from ess_ray.client.http import UNHURRIED, AsyncHttp, Http, json_of, problem_of
from ess_ray.client.paging import ARROW, Outcome, Paging, Polling
from ess_ray.client.shapes import OnIncomplete, checked, told
from ess_ray.core.answer_stream import StreamReader
from ess_ray.core.errors import EssError, Unavailable

EventsT = TypeVar("EventsT")
TableT = TypeVar("TableT")
When = str | int | float | None
Order = Literal["newest", "oldest"]
CUT_OFF: Final = "the answer was broken off before its end: ask again; the server's log says why"


class _Asking(ABC, Generic[EventsT, TableT]):
    """What may be asked, and how it is said in HTTP: the same on an event loop and without one, but for how answers
    come: as EventsT, and as TableT."""

    _incomplete: OnIncomplete

    def search(
        self,
        query: str = "",
        *,
        start: When = "-1h",
        end: When = None,
        limit: int | None = None,
        order: Order = "newest",
        columns: Sequence[str] = (),
        incomplete: OnIncomplete | None = None,
    ) -> EventsT:
        """Give the events that match, in order; they are asked for when the first one is.

        `start` inclusive, `end` exclusive: RFC 3339, epoch numbers, or relative (`-15m`). Without `limit` all of them,
        however many, as they come: an export, of which a system runs a few at a time (TooFast beyond). `columns`: only
        these in `batches` and `to_arrow`, without a limit.
        """
        body = _body(query, start, end, limit=1 if limit is None else limit, order=order)
        read = partial(self._pages, body) if limit is not None else partial(self._export, body, columns)
        return self._events(read, self._incomplete if incomplete is None else checked(incomplete))

    def stats(
        self,
        query: str = "",
        stats: Sequence[str] = (),
        *,
        by: Sequence[str] = (),
        interval: str | None = None,
        start: When = "-1h",
        end: When = None,
        **more: Any,
    ) -> TableT:
        """Count, and compute functions (`p95(duration_ms)`), by fields and time buckets: a row a group and bucket.

        `more` members of the body: `top`, `order_by`, `time_zone`. Raises Incomplete.
        """
        body = _body(query, start, end, stats=list(stats), by=list(by), interval=interval, **more)
        return self._table(Polling(AGGREGATIONS, body), partial(of_stats, by=by, stats=stats, interval=interval))

    def pipe(self, text: str, *, start: When = "-1h", end: When = None, **more: Any) -> TableT:
        """Ask a query with stages: `level:ERROR | stats count() as n by service | top 10 by n`. Raises Incomplete.

        `more` members of the body: `time_zone`.
        """
        return self._table(Polling(PIPES, _body(text, start, end, **more)), of_pipe)

    @abstractmethod
    def _events(self, read: Callable[[Outcome], Any], incomplete: OnIncomplete) -> EventsT: ...

    @abstractmethod
    def _table(self, polling: Polling, read: Callable[[dict[str, Any]], Table]) -> TableT: ...

    @abstractmethod
    def _pages(self, body: dict[str, Any], outcome: Outcome) -> Any: ...

    @abstractmethod
    def _export(self, body: dict[str, Any], columns: Sequence[str], outcome: Outcome) -> Any: ...


class Client(_Asking[Events, Table]):
    """Asks one system. Usable from many threads; close it, or use it in a `with` statement.

    `incomplete`: what is done about an answer that has not everything that was acknowledged: "raise" (Incomplete, after
    all that is there was handed out), "warn" (IncompleteWarning), or "ignore" (`.complete` tells). Methods raise the
    errors of `ess_ray.core.errors`: BadRequest, Unauthenticated, Forbidden, TooFast, Unavailable and so on.
    """

    def __init__(
        self,
        url: str,
        key: str | None = None,
        *,
        incomplete: OnIncomplete = "raise",
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        """`url` as in `http://127.0.0.1:8000`; `key` with the scope search, where the system has keys."""
        self._http, self._incomplete = Http(url, key, transport=transport), checked(incomplete)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let the connections go. Idempotent."""
        self._http.close()

    def push(self, events: bytes, *, idempotency_key: str | None = None) -> dict[str, Any]:
        """Push events as the interface takes them (JSON or NDJSON) and give its answer, once they are durable.

        With a key it is sent again until it is answered, and stored once. Raises KeyConflict, Unavailable.
        """
        headers = {"Content-Type": "application/json"}
        path = "/push/v1/events"
        if idempotency_key is None:
            answer = self._http.call("POST", path, content=events, headers=headers)
        else:
            headers["Idempotency-Key"] = idempotency_key
            answer = self._http.call_patiently("POST", path, content=events, headers=headers)
        return dict(answer)

    def _events(self, read: Callable[[Outcome], Iterator[pa.RecordBatch]], incomplete: OnIncomplete) -> Events:
        return Events(read, incomplete)

    def _table(self, polling: Polling, read: Callable[[dict[str, Any]], Table]) -> Table:
        return read(self._polled(polling))

    def _polled(self, polling: Polling) -> dict[str, Any]:
        while polling.last is None:
            ask = polling.ask()
            send = self._http.send if ask.method == "POST" else self._http.send_patiently
            polling.take(send(ask.method, ask.path, **ask.arguments))
        told(reasons_of(polling.last), self._incomplete)
        return polling.last

    def _pages(self, body: dict[str, Any], outcome: Outcome) -> Iterator[pa.RecordBatch]:
        query_id = self._http.call("POST", QUERIES, json=body)["id"]
        paging = Paging(query_id)
        try:
            while paging.last is None:
                ask = paging.ask()
                yield from paging.take(self._http.send_patiently(ask.method, ask.path, **ask.arguments), outcome)
        finally:
            if paging.last is None:  # nobody wants the rest
                with suppress(EssError):
                    self._http.call("DELETE", f"{QUERIES}/{query_id}")
        outcome.incomplete = tuple(reasons_of(paging.last))

    def _export(self, body: dict[str, Any], columns: Sequence[str], outcome: Outcome) -> Iterator[pa.RecordBatch]:
        path = f"{QUERIES}/{self._http.call('POST', QUERIES, json=body)['id']}"
        self._http.call("DELETE", path)  # an export asks afresh: its own answer is not wanted
        reader = StreamReader()
        try:
            with self._http.download(f"{path}/export", params=_arrow(columns), headers=ARROW) as body_parts:
                for data in body_parts:
                    yield from reader.feed(data)
                    outcome.schema = reader.schema
        except Unavailable:
            if reader.schema is None:
                raise
        outcome.incomplete = _ended(reader)


class AsyncClient(_Asking[AsyncEvents, Coroutine[Any, Any, Table]]):
    """See `Client`: the same on an event loop, with `async with`, `async for` and `await`; `search` gives events to
    loop over, and is not awaited itself."""

    def __init__(
        self,
        url: str,
        key: str | None = None,
        *,
        incomplete: OnIncomplete = "raise",
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._http, self._incomplete = AsyncHttp(url, key, transport=transport), checked(incomplete)

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Let the connections go. Idempotent."""
        await self._http.close()

    def _events(
        self, read: Callable[[Outcome], AsyncIterator[pa.RecordBatch]], incomplete: OnIncomplete
    ) -> AsyncEvents:
        return AsyncEvents(read, incomplete)

    async def _table(self, polling: Polling, read: Callable[[dict[str, Any]], Table]) -> Table:
        return read(await self._polled(polling))

    async def _polled(self, polling: Polling) -> dict[str, Any]:
        while polling.last is None:
            ask = polling.ask()
            send = self._http.send if ask.method == "POST" else self._http.send_patiently
            polling.take(await send(ask.method, ask.path, **ask.arguments))
        told(reasons_of(polling.last), self._incomplete)
        return polling.last

    async def _pages(self, body: dict[str, Any], outcome: Outcome) -> AsyncIterator[pa.RecordBatch]:
        query_id = json_of(await self._http.send("POST", QUERIES, json=body))["id"]
        paging = Paging(query_id)
        try:
            while paging.last is None:
                ask = paging.ask()
                answer = await self._http.send_patiently(ask.method, ask.path, **ask.arguments)
                for batch in paging.take(answer, outcome):
                    yield batch
        finally:
            if paging.last is None:
                with suppress(EssError):
                    await self._http.send("DELETE", f"{QUERIES}/{query_id}")
        outcome.incomplete = tuple(reasons_of(paging.last))

    async def _export(
        self, body: dict[str, Any], columns: Sequence[str], outcome: Outcome
    ) -> AsyncIterator[pa.RecordBatch]:
        path = f"{QUERIES}/{json_of(await self._http.send('POST', QUERIES, json=body))['id']}"
        json_of(await self._http.send("DELETE", path))
        reader, http, params = StreamReader(), self._http.http, _arrow(columns)
        try:
            with self._http.reached():
                asked = http.stream("GET", f"{path}/export", params=params, headers=ARROW, timeout=UNHURRIED)
                async with asked as answer:
                    if not answer.is_success:
                        await answer.aread()
                        raise problem_of(answer)
                    async for data in answer.aiter_bytes():
                        for batch in reader.feed(data):
                            yield batch
                        outcome.schema = reader.schema
        except Unavailable:
            if reader.schema is None:
                raise
        outcome.incomplete = _ended(reader)


def _body(query: str, start: When, end: When, **more: Any) -> dict[str, Any]:
    """Give the body that asks a query. Without an end none is named: late events are not in the future."""
    return {"query": query, "start": start, **({} if end is None else {"end": end}), **more}


def _arrow(columns: Sequence[str]) -> dict[str, Any]:
    return {"format": "arrow", "column": list(columns)}


def _ended(reader: StreamReader) -> tuple[str, ...]:
    """Say what is missing in an export that was read as far as it came."""
    if reader.end is None:
        return (CUT_OFF,)
    return reader.end.incomplete if not reader.end.complete else () if reader.closed else (CUT_OFF,)
