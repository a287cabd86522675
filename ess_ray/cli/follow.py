"""Following a query to its end: its pages, what is missing from the answer, and the exit code that this means.

May live here: what all commands do that ask and wait. May not: what a command asks or prints.
"""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from typing import Any, Final

from ess_ray.cli.client import Client
from ess_ray.cli.output import SetTo, end_without_reader, tell
from ess_ray.cli.question import pointed_out

PAGE_ROWS: Final = 10_000
"""Rows in a page: the most that the contract gives."""
POLL_FIRST_S: Final = 0.01
POLL_MOST_S: Final = 0.25
"""A small search is done in milliseconds; a long one is not asked for more than four times a second."""
RETRY_PAGE_S: Final = 15.0
"""How long a page is asked for again. Where answers are shared any other search replica gives it, and the only one is
replaced by then; an answer that lay in its replica's memory is gone with it, and the next one says so at once."""
INCOMPLETE: Final = 3


def started(client: Client, path: str, body: Mapping[str, Any]) -> str:
    """Start a query and give its id. Raises Refused, pointing at what is wrong in its text, and EssError."""
    with pointed_out(str(body["query"])):
        return str(client.call("POST", path, json=body)["id"])


@contextlib.contextmanager
def cancelling(client: Client, path: str) -> Iterator[None]:
    """Have an interruption or a closed pipe cancel the query, and end the command."""
    try:
        yield
    except KeyboardInterrupt:
        client.call("DELETE", path)
        tell("incomplete: the query was cancelled")
        sys.exit(INCOMPLETE)
    except BrokenPipeError:  # `ess search ... | head`
        client.call("DELETE", path)
        end_without_reader()


def pages(client: Client, path: str) -> Iterator[dict[str, Any]]:
    """Give the pages of a query as they come, up to the last."""
    cursor, wait_s = "", POLL_FIRST_S
    while True:
        # The same cursor gives the same rows, so a lost answer is asked for again.
        page: dict[str, Any] = client.call_patiently(
            "GET", path, params={"cursor": cursor, "limit": PAGE_ROWS}, stop=threading.Event(), for_s=RETRY_PAGE_S
        )
        yield page
        cursor = page["cursor"]
        if page["events"]:
            wait_s = POLL_FIRST_S
        elif page["state"] != "running":
            return
        else:
            time.sleep(wait_s)
            wait_s = min(wait_s * 2, POLL_MOST_S)


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
