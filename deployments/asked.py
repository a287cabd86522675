"""What is asked of the search application and how it is answered: bodies, parameters, pages, for OpenAPI too."""

from __future__ import annotations

import re
from typing import Annotated, Any, Final, Literal

from fastapi import Query as Parameter
from pydantic import BaseModel, ConfigDict, Field

from deployments.waiting import MAX_WAIT_S
from ess_ray.core.errors import BadRequest
from ess_ray.core.query import MAX_LIMIT, Query
from ess_ray.language import parse, parse_time_us

PAGE_ROWS: Final = 1_000
"""Rows in a page when the client does not say."""
MAX_PAGE_ROWS: Final = 10_000
"""Rows in a page at the most: about 5 MB of JSON."""
FIRST_PAGE_ROWS: Final = 100
"""Rows that a query which waits is answered with, when the client does not say: a screen of them."""
_CURSOR = re.compile(r"r(\d{1,9})", re.ASCII)

Wait = Annotated[float, Field(ge=0, le=MAX_WAIT_S, allow_inf_nan=False)]
"""Seconds that a new query waits before it is answered."""
LongPoll = Annotated[
    float,
    Parameter(
        ge=0,
        le=MAX_WAIT_S,
        allow_inf_nan=False,
        description="Seconds to wait for rows behind the cursor, or the end; 0: none.",
    ),
]


class QueryBody(BaseModel):
    """What to look for. `start` is inclusive, `end` exclusive.

    Times are RFC 3339 (nanoseconds count), days (`2026-11-24`, `today`, `yesterday`; in UTC), epoch numbers, or
    relative (`-15m`, `-1h30m`, `now-1.5h`).
    """

    model_config = ConfigDict(extra="forbid", strict=True)

    query: str = ""
    start: str | int | float | None = "-1h"
    end: str | int | float | None = None
    limit: Annotated[int, Field(ge=1, le=MAX_LIMIT)] = 1000
    order: Literal["newest", "oldest"] = "newest"
    executor: Literal["ray", "lambda", "auto"] | None = None
    """None: as the system is set."""
    wait: Wait = 0.0
    """Answer with the first page as soon as it is full or the search has ended, at most so many seconds later."""
    page: Annotated[int, Field(ge=1, le=MAX_PAGE_ROWS)] = FIRST_PAGE_ROWS
    """Rows in that page."""


class CompactBody(BaseModel):
    """Which objects count: those whose rows were put until `before_us` (epoch microseconds); absent: until now."""

    model_config = ConfigDict(extra="forbid", strict=True)

    before_us: Annotated[int, Field(ge=0, le=2**63 - 1)] | None = None


class Created(BaseModel):
    """The id to poll."""

    id: str
    state: Literal["queued", "running"]
    position: int | None = None
    """While it waits for its turn: how many of the tenant's searches wait until it runs, itself among them."""


class Hint(BaseModel):
    """Something to know of an answer without rows, or to try."""

    kind: Literal[
        "no_events", "empty_range", "no_such_field", "did_you_mean", "search_text", "field", "operator", "contains"
    ]
    """`no_events`, `empty_range`: nothing at all lies there. `no_such_field`: no event in the range has the field.
    `did_you_mean`: another field. `search_text`: the term as a text. `field`, `operator`, `contains`: a text that may
    have been meant as these."""
    text: str
    """For people: a sentence."""
    query: str | None
    """The query to ask instead; null: as it is."""
    start: str | None
    """The `start` to ask with instead, without an end; null: the range as it is."""


class AnswerPage(BaseModel):
    """Where a search stands, and its rows from the cursor on."""

    id: str
    state: Literal["queued", "running", "done", "truncated", "failed", "cancelled"]
    events: list[dict[str, Any]]
    cursor: str
    progress: dict[str, int | float | str | None]
    complete: bool
    incomplete: list[str]
    position: int | None = None
    """Only while it is queued: how many of the tenant's searches wait until it runs, itself among them."""
    hints: list[Hint]
    """Of a search that is done and found nothing; else empty."""
    elapsed_ms: int


def to_query(body: QueryBody, now_us: int) -> Query:
    """Read a query's text and times. Raises QueryError, BadRequest."""
    start_us, end_us = read_range(body.start, body.end, now_us)
    return Query(parse(body.query), start_us, end_us, body.limit, body.order)


def read_range(start: str | float | None, end: str | float | None, now_us: int) -> tuple[int | None, int | None]:
    """Read the bounds of a query in microseconds: an hour ago where there is no start. Raises BadRequest."""
    start_us = parse_time_us(start if start is not None else "-1h", now_us)
    # "now" sets no upper bound either: an event that arrives while we look is not in the future.
    end_us = None if end in (None, "now") else parse_time_us(end, now_us)
    if start_us is not None and end_us is not None and end_us < start_us:
        raise BadRequest("end lies before start")
    return start_us, end_us


def read_cursor(cursor: str | None) -> int:
    """Read a cursor as the position of the next row."""
    if cursor is None or cursor == "":
        return 0
    match = _CURSOR.fullmatch(cursor)
    if match is None:
        raise BadRequest("this cursor is not one of ours: use the `cursor` of the page before, unchanged")
    return int(match[1])
