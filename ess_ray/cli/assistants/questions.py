"""The questions that an assistant may ask, each one HTTP conversation, answered as one JSON object of a bounded size.

Every answer has `complete` and, where it is not, `incomplete` with the reasons; `cut` says what did not fit. All of
them only read, as far as the key of the client reaches.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote

import httpx

from ess_ray.cli.assistants.cutting import cut_rows
from ess_ray.cli.client import Client
from ess_ray.cli.follow import Following
from ess_ray.cli.question import pointed_out
from ess_ray.cli.tail_cmd import server_sent
from ess_ray.client.endpoints import reasons_of
from ess_ray.core.errors import Unavailable

USUAL_ROWS: Final = 50
MAX_ROWS: Final = 500
"""More rows than anybody reads: `stats` and `patterns` tell about them."""
ASK_FOR_S: Final = 50.0
"""Assistants give a tool about a minute."""
MAX_TAIL_S: Final = 20.0
_STEP_S: Final = 1.5
"""A tail says how it stands each second: so long without a word, it is looked whether its time is over."""


class Questions:
    """What may be asked, over one client. Raises EssError and Refused, which say what to do."""

    def __init__(self, client: Client, *, ask_for_s: float = ASK_FOR_S) -> None:
        """`ask_for_s`: what takes longer is cancelled, and answered with what was found."""
        self._client = client
        self._ask_for_s = ask_for_s

    def search(self, query: str, *, start: str | None, end: str | None, limit: int, order: str) -> dict[str, Any]:
        """Give the first rows that match: `rows`, `more` (whether there are others), `hints` of an empty answer."""
        # One row more than is told, to see whether there is one.
        asked = {"query": query, **_range(start, end), "limit": limit + 1, "order": order}
        rows, page = self._follow("/search/v1/queries", asked)
        told = _told(page, rows[:limit])
        return {**told, "more": len(rows) > limit, "hints": page.get("hints", [])}

    def table(self, query: str, *, start: str | None, end: str | None, time_zone: str | None) -> dict[str, Any]:
        """Give the table of a query with stages: `columns` and `rows`."""
        zone = {} if time_zone is None else {"time_zone": time_zone}
        _, page = self._follow("/search/v1/pipes", {"query": query, **_range(start, end), **zone})
        named: dict[str, Any] = {
            name: page[name] for name in ("columns", "ignored", "relative_error", "rows_total") if name in page
        }
        return {**_told(page, page.get("rows", [])), **named}

    def patterns(
        self, query: str, *, start: str | None, end: str | None, limit: int, new_since: str | None
    ) -> dict[str, Any]:
        """Give the templates of the messages that match, the most frequent first, as a table."""
        asked = {"query": query, **_range(start, end), "limit": limit, "new_since": new_since}
        _, page = self._follow("/search/v1/patterns", asked)
        return {**_told(page, page.get("rows", [])), "columns": page.get("columns", [])}

    def fields(self, query: str, *, start: str | None, end: str | None, name: str | None, top: int) -> dict[str, Any]:
        """Give the fields that events have, with how many have each; with `name` its most frequent values."""
        path = "/search/v1/fields" if name is None else f"/search/v1/fields/{quote(name, safe='')}/values"
        asked = {"query": query, **_range(start, end), **({} if name is None else {"top": str(top)})}
        with pointed_out(query):
            found = self._client.call("GET", path, params=asked)
        return {**_told(found, found["fields" if name is None else "values"]), "events": found["rows"]}

    def explain(self, query: str, *, start: str | None, end: str | None) -> dict[str, Any]:
        """Give what a search would read and cost, without running it."""
        with pointed_out(query):
            found: dict[str, Any] = self._client.call(
                "POST", "/search/v1/explain", json={"query": query, **_range(start, end)}
            )
        return found

    def tail(self, query: str, *, seconds: float, limit: int) -> dict[str, Any]:
        """Give what is pushed within `seconds` from now and matches, at most `limit` events: `rows`, `skipped`."""
        rows: list[dict[str, Any]] = []
        progress: dict[str, Any] = {}
        until_s = time.monotonic() + min(seconds, MAX_TAIL_S)
        asked = {"params": {"query": query}, "timeout": httpx.Timeout(until_s, read=_STEP_S + seconds)}
        with pointed_out(query), self._client.stream("/search/v1/tail", **asked) as lines:
            for kind, data, _ in server_sent(lines):
                if kind == "error":
                    raise Unavailable(data["detail"])
                if kind == "event":
                    rows.append(data)
                elif kind == "progress":
                    progress = data
                if len(rows) >= limit or time.monotonic() >= until_s:
                    break
        incomplete = progress.get("incomplete", [])
        told = _told({"complete": not incomplete, "incomplete": incomplete}, rows)
        return {**told, "skipped": progress.get("skipped", 0)}

    def _follow(self, root: str, body: dict[str, Any]) -> tuple[list[dict[str, Any]], dict[str, Any]]:
        """Ask and follow to the end, or until the time is over; gives the rows, and the last page."""
        following = Following(self._client, root, body)
        until_s = time.monotonic() + self._ask_for_s
        rows: list[dict[str, Any]] = []
        for page in following.pages():
            rows += page.get("events", ())
            if time.monotonic() >= until_s and page["state"] in ("queued", "running"):
                following.cancel()
                reason = f"it took longer than {self._ask_for_s:g} s and was cancelled: narrow the query or the range"
                return rows, {**page, "complete": False, "incomplete": [*page.get("incomplete", ()), reason]}
        return rows, page


def _range(start: str | None, end: str | None) -> dict[str, str]:
    return {name: bound for name, bound in (("start", start), ("end", end)) if bound is not None}


def _told(page: Mapping[str, Any], rows: list[Any]) -> dict[str, Any]:
    kept, cut = cut_rows(rows)
    reasons = reasons_of(page)
    return {
        "rows": kept,
        "complete": not reasons,
        **({"incomplete": reasons} if reasons else {}),
        **({"cut": cut} if cut else {}),
    }
