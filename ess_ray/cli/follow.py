"""Following a query to its end: its pages, what is missing from the answer, and the exit code that this means."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Mapping
from typing import Any, Final

from ess_ray.cli.client import Client
from ess_ray.cli.output import SetTo, end_without_reader, tell
from ess_ray.cli.question import pointed_out
from ess_ray.client.endpoints import PAGE_ROWS, reasons_of
from ess_ray.client.http import RETRY_PAGE_S

QUERIES: Final = "/search/v1/queries"
FIRST_ROWS: Final = 1_000
"""Rows of the first page: it comes when it is full, and a person reads from its top."""
WAIT_S: Final = 0.5
"""How long a request waits for rows, or the end: a bar moves so often while nothing is found."""
INCOMPLETE: Final = 3


class Following:
    """A query that is asked, and followed to its end."""

    def __init__(self, client: Client, root: str, body: Mapping[str, Any]) -> None:
        """`root`: of which kind it is, and where its pages are: `/search/v1/queries`; of these `limit` in `body` is how
        many rows come in pages."""
        self._client, self._root, self._body = client, root, body
        self._path: str | None = None

    def pages(self) -> Iterator[dict[str, Any]]:
        """Ask, and give the pages as they come, up to the last: of what ends soon that is one, in one round trip.

        Raises Refused, pointing at what is wrong in its text, and EssError.
        """
        limit = self._body.get("limit") if self._root == QUERIES else None
        asked = PAGE_ROWS if limit is None else min(limit, FIRST_ROWS)
        body = {**self._body, "wait": WAIT_S, **({} if limit is None else {"page": asked})}
        with pointed_out(str(body["query"])):
            page: dict[str, Any] = self._client.call("POST", self._root, json=body)
        self._path = f"{self._root}/{page['id']}"
        cursor, rows = "", 0
        while True:
            if "cursor" in page:
                yield page
                cursor, rows = page["cursor"], rows + len(page["events"])
                if page["state"] not in ("queued", "running") and (len(page["events"]) < asked or rows == limit):
                    return
            asked = PAGE_ROWS
            # The same cursor gives the same rows, so a lost answer is asked for again.
            page = self._client.call_patiently(
                "GET",
                self._path,
                params={"cursor": cursor, "limit": asked, "wait": WAIT_S},
                for_s=RETRY_PAGE_S,
            )

    def cancel(self) -> None:
        """Have it end. One whose first page never came has ended with the connection."""
        if self._path is not None:
            self._client.call("DELETE", self._path)


@contextlib.contextmanager
def asking(client: Client, root: str, body: Mapping[str, Any]) -> Iterator[Iterator[dict[str, Any]]]:
    """Ask a query and give its pages; have an interruption or a closed pipe cancel it, and end the command."""
    following = Following(client, root, body)
    try:
        yield following.pages()
    except KeyboardInterrupt:
        following.cancel()
        tell("incomplete: the query was cancelled")
        sys.exit(INCOMPLETE)
    except BrokenPipeError:  # `ess search ... | head`
        following.cancel()
        end_without_reader()


def show_progress(bar: SetTo, page: Mapping[str, Any]) -> None:
    """Move a bar to where a query stands."""
    told = page.get("progress", {})
    done = told.get("objects_done", 0) + told.get("objects_pruned", 0)
    bar(done, f"{told.get('rows_matched', 0):,} found", told.get("objects_total") or None)


def end(page: Mapping[str, Any]) -> None:
    """Tell what is missing from an answer, given its last page, and exit unless it is complete."""
    reasons = reasons_of(page)
    for reason in reasons:
        tell(f"incomplete: {reason}")
    if page.get("state") == "failed":
        sys.exit(1)
    if reasons:
        sys.exit(INCOMPLETE)
