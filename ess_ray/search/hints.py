"""What a reader should know of an answer without rows: where events are, that a field is nowhere, what else its text
may have been meant as.
"""

from __future__ import annotations

import asyncio
import contextlib
import difflib
import logging
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any, Final, Literal

import pyarrow as pa

from ess_ray.aside import aside
from ess_ray.core.aliases import COLUMN_OF
from ess_ray.core.collect import COLUMN, FieldNames
from ess_ray.core.errors import EssError
from ess_ray.core.query import COLUMNS, All, Exists, Field, Query
from ess_ray.core.tenant import DEFAULT_TENANT
from ess_ray.core.timestamps import format_timestamp
from ess_ray.language.names import name_of
from ess_ray.language.readings import AttributeTerm, Reading, ReadingKind, attribute_terms, other_readings
from ess_ray.search.pipeline import Lane, Pipeline, Search
from ess_ray.search.plan import Tasks
from ess_ray.search.rows import rows_in_order

_log = logging.getLogger(__name__)

MAX_TEXT_CHARS: Final = 2_000
"""Of a query that is looked at for other readings: longer ones are written by programs, and reading them takes long."""
MAX_FIELDS: Final = 3
"""Attributes of a query that are looked for: each is a search."""
NAMES_BYTES: Final = 4 * 1024 * 1024
"""Of the newest objects, what is read to learn which names there are: as much as is searched in place."""
MAX_NAMES: Final = 2_000
"""Names that one is compared with, the most frequent ones."""
MAX_NAME_CHARS: Final = 100
"""Of a name that is compared with others, which costs the square of it."""
NEAR: Final = 0.75
"""How alike names are that may be meant for each other: `sevice` and `service` 0.92, `user` and `users` 0.89."""
NEAR_NAMES: Final = 3
"""Names that are offered in another's place."""
USUAL_RANGE_US: Final = 3_600 * 1_000_000
"""Before the newest event, where the search itself gives no length."""

_COLUMNS: Final[dict[str, Field]] = {
    **{name_of(field): field for field in map(Field, COLUMNS)},
    **{name: Field(column) for name, column in COLUMN_OF.items()},
}
"""Names that every event's columns have."""

HintKind = Literal[
    "no_events", "empty_range", "no_such_field", "did_you_mean", "search_text", "field", "operator", "contains"
]


@dataclass(frozen=True, slots=True)
class Hint:
    """One thing to know or to try. `query`: to be asked instead; `start`: from when on, then without an end."""

    kind: HintKind
    text: str
    query: str | None = None
    start: str | None = None


class _Unknown(Exception):
    """A small search could not tell everything."""


async def find_hints(
    pipeline: Pipeline, lane: Lane, search: Search, text: str, within_s: float
) -> tuple[dict[str, Any], ...]:
    """Give the hints of a search that ended without rows, as JSON values; `text` is its query as it was written.

    Takes at most `within_s`; what is not known by then is left out. Raises nothing: an answer without hints is as
    whole as one with them.
    """
    try:
        finding = _Finding(pipeline, lane, search, text)
        with contextlib.suppress(TimeoutError, EssError, _Unknown):  # what is known by then is told
            async with asyncio.timeout(within_s):
                await finding.look()
        return tuple(asdict(hint) for hint in finding.hints())
    except Exception:  # noqa: BLE001 (logged; the answer is right without hints)
        _log.exception("hints for %s failed", search.query_id)
        return ()


class _Finding:
    """Hints that are being found; what is known by now can be told at any moment."""

    def __init__(self, pipeline: Pipeline, lane: Lane, search: Search, text: str) -> None:
        self._course, self._lane, self._search = pipeline, lane, search
        text = text if len(text) <= MAX_TEXT_CHARS else ""
        self._terms = attribute_terms(text)
        self._readings = other_readings(text)
        self._range: Hint | None = None
        self._exists: dict[Field, bool] = {}
        self._names: dict[str, Field] = _COLUMNS  # others are known when events were looked at

    async def look(self) -> None:
        """Find out what only the data tells. Raises EssError, _Unknown."""
        if self._search.incomplete:
            return  # what is not covered may hold it
        query = self._search.query
        if not self._search.range_holds and await self._first_us(query) is None:
            self._range = await self._where_events_are()
            return
        fields = list(dict.fromkeys(term.field for term in self._terms))[:MAX_FIELDS]
        await asyncio.gather(*map(self._look_for, fields))
        if not all(self._exists.values()):
            self._names = await self._known_names()

    async def _look_for(self, field: Field) -> None:
        with contextlib.suppress(_Unknown):
            self._exists[field] = await self._first_us(self._search.query, Exists(field)) is not None

    async def _first_us(self, within: Query, root: All | Exists = All()) -> int | None:  # noqa: B008 (frozen)
        """Give the time of the first event, in the query's order, of its range. Raises _Unknown."""
        search = self._small(replace(within, root=root, limit=1))
        async with contextlib.aclosing(rows_in_order(self._course, search)) as parts:
            async for rows in parts:
                if len(rows):
                    return int(rows.column("timestamp").cast(pa.int64())[0].as_py())
        if search.incomplete:
            raise _Unknown
        return None

    def _small(self, query: Query) -> Search:
        return Search(self._search.tenant, self._search.query_id, query, time.monotonic(), self._lane)

    async def _where_events_are(self) -> Hint:
        """Look for the newest event before the range's end, else for the first one after it."""
        query = self._search.query
        at_us = await self._first_us(replace(query, start_us=None, order="newest"))
        if at_us is not None:
            end_us = query.end_us if query.end_us is not None else time.time_ns() // 1000
            length_us = USUAL_RANGE_US if query.start_us is None else max(0, end_us - query.start_us)
            start = format_timestamp(max(0, at_us - length_us))
            told = f"no event lies in this time range; the newest one before it is at {format_timestamp(at_us)}"
            return Hint("empty_range", told, start=start)
        at_us = await self._first_us(replace(query, start_us=query.end_us, end_us=None, order="oldest"))
        if at_us is None:
            return Hint("no_events", _nothing_of(self._search.tenant))
        told = f"no event lies in this time range; the first one after it is at {format_timestamp(at_us)}"
        return Hint("empty_range", told, start=format_timestamp(at_us))

    async def _known_names(self) -> dict[str, Field]:
        """Give the names of fields that may have been meant: of what is newest, and all columns."""
        collector = FieldNames()
        search = self._small(replace(self._search.query, root=All()))
        cut = await self._course.cut(search.tenant, search.query, collector)
        plan = (await self._course.plan(search, cut)).beginning(NAMES_BYTES)
        fold = collector.fold(search.query)
        await aside(lambda: fold.add(cut.partial(collector)))
        tasks = Tasks(plan, self._lane.task_bytes, collector)
        steps = self._course.fold(fold, plan, tasks, self._lane, partial(self._course.count, search))
        async with contextlib.aclosing(steps):
            async for _ in steps:
                pass
        counted = await aside(fold.partial)
        named = counted.table.sort_by([("count", "descending")]).slice(0, MAX_NAMES)
        rows = zip(named.column("by_0").to_pylist(), named.column("by_1").to_pylist(), strict=True)
        return {**_COLUMNS, **{name: Field(name, attribute=True) for name, kind in rows if name and kind != COLUMN}}

    def hints(self) -> list[Hint]:
        """Tell what is known by now."""
        hints = [] if self._range is None else [self._range]
        for term in self._terms[:MAX_FIELDS]:
            if not self._exists.get(term.field, False):
                hints += self._of_unknown(term)
        return [*hints, *map(_of_reading, self._readings)]

    def _of_unknown(self, term: AttributeTerm) -> Iterator[Hint]:
        if term.field in self._exists:
            yield Hint("no_such_field", f"no event in this time range has a field {term.field.name}")
        meant = (self._names[name] for name in near_names(term.field.name, self._names))
        for field in dict.fromkeys(meant):
            yield Hint("did_you_mean", f"did you mean the field {name_of(field)}?", query=term.of(field))
        if term.as_text is not None:
            yield Hint("search_text", f"to find the text {term.part} in messages, quote it", query=term.as_text)


def _nothing_of(tenant: str) -> str:
    """Say that a tenant has no events: what was pushed before there were keys is the default tenant's."""
    if tenant == DEFAULT_TENANT:
        return "there are no events yet"
    return (
        f"the tenant {tenant}, which this key is for, has no events yet; those that were pushed before there was a key "
        f"belong to the tenant {DEFAULT_TENANT}, and a key of that tenant finds them"
    )


_OF_READINGS: Final[dict[ReadingKind, str]] = {
    "field": "{part} is a text to be found in messages; a field's value stands behind a colon, an odd name in quotes",
    "operator": "{part} is a word to be found in messages; operators are AND, OR, NOT in capitals, and - before a term",
    "contains": "{part} finds messages that are exactly this; a word alone finds those that contain it",
}


def _of_reading(reading: Reading) -> Hint:
    return Hint(reading.kind, _OF_READINGS[reading.kind].format(part=reading.part), query=reading.query)


def near_names(name: str, known: Iterable[str]) -> list[str]:
    """Give the known names that may have been meant by `name`, the nearest first.

    Those that differ in case and punctuation alone, those whose last part it is, those spelt alike.
    """
    wanted = _letters(name)
    by_letters: dict[str, list[str]] = {}
    same_end = []
    for one in known:
        if one == name or len(one) > MAX_NAME_CHARS:
            continue
        by_letters.setdefault(_letters(one), []).append(one)
        if _letters(one.rpartition(".")[2]) == wanted or _letters(name.rpartition(".")[2]) == _letters(one):
            same_end.append(one)
    alike = [] if len(name) > MAX_NAME_CHARS else difflib.get_close_matches(wanted, by_letters, NEAR_NAMES, NEAR)
    ranked = [*by_letters.get(wanted, ()), *same_end, *(one for letters in alike for one in by_letters[letters])]
    return list(dict.fromkeys(ranked))[:NEAR_NAMES]


def _letters(name: str) -> str:
    return "".join(filter(str.isalnum, name.casefold()))
