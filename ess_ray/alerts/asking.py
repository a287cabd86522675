"""A rule's answer: its pipe over what was received in a window, counted as any search is."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol
from urllib.parse import urlencode

from ess_ray.alerts.policy import Answer, Row
from ess_ray.alerts.rules import FIRST, PATTERN, Rule, label_of
from ess_ray.alerts.states import Episode, Evaluation
from ess_ray.core.errors import EssError
from ess_ray.core.field import Field
from ess_ray.core.query import And, Query, Range
from ess_ray.core.timestamps import parse_timestamp_us
from ess_ray.language import Patterns, field_term
from ess_ray.ports import AnswerState, ResultStore
from ess_ray.search.patterns import query_of_shown
from ess_ray.search.run import Searcher
from ess_ray.search.table import aggregation_of
from ess_ray.search.zones import clock_named

_log = logging.getLogger(__name__)

ASK_TIMEOUT_S: Final = 60.0
"""How long an answer may take; what was received lately lies in few objects, so that a second is much."""
ARRIVAL: Final = Field("observed_timestamp")
_TOO_LONG: Final = f"the question was not answered within {ASK_TIMEOUT_S:g} s"
_ALL_TIMES: Final = "1970-01-01"
_S_US: Final = 1_000_000


class Asks(Protocol):
    """Asks a rule's question."""

    async def ask(self, tenant: str, rule: Rule, window: tuple[int, int]) -> Answer:
        """Give the answer about what was received in [first, end); never raises what a search may fail by."""
        ...


class Asker:
    """Asks over a Searcher and the store that its answers go to. Lives on one event loop."""

    def __init__(self, searcher: Searcher, results: ResultStore, timeout_s: float = ASK_TIMEOUT_S) -> None:
        self._searcher, self._results, self._timeout_s = searcher, results, timeout_s

    async def ask(self, tenant: str, rule: Rule, window: tuple[int, int]) -> Answer:
        """See `Asks`."""
        started_s = time.monotonic()
        try:
            state = await self._count(tenant, rule, window)
        except EssError as error:
            return Answer((), 0, False, (error.message,), _ms_since(started_s))
        reasons = state.incomplete
        if not state.complete and not reasons:
            reasons = (_TOO_LONG if state.under_way else f"the search ended as {state.state}",)
        events = state.progress.get("rows_matched")
        rows = _rows(rule, state.table or {"columns": [], "rows": []}, window[1])
        count = events if isinstance(events, int) else 0
        return Answer(rows, count, state.complete, reasons, _ms_since(started_s))

    async def _count(self, tenant: str, rule: Rule, window: tuple[int, int]) -> AnswerState:
        first_us, end_us = window
        aggregation = aggregation_of(rule.pipe, clock_named("UTC"), None, None, end_us)
        aggregation = aggregation.over((end_us - first_us) / _S_US)
        query_id = await self._searcher.start_count(tenant, query_of(rule, window), aggregation)
        try:
            await self._searcher.wait(tenant, query_id, self._timeout_s)
        finally:
            state = await self._results.state(tenant, query_id)
            if state.under_way:
                await self._searcher.cancel(tenant, query_id, _TOO_LONG)
        return state


def query_of(rule: Rule, window: tuple[int, int]) -> Query:
    """Give the query of a rule: events of any time, received in [first, end)."""
    first_us, end_us = window
    return Query(And((rule.pipe.root, Range(ARRIVAL, first_us, True, end_us, False))))


def rows_query(rule: Rule, episode: Episode, last: Evaluation | None) -> str:
    """Give the query that finds an alert's rows: those of its group, received in the window in which it was met first;
    of one that fires still, up to the last look."""
    fired_us = episode.fired_us or episode.since_us
    first_us = min(episode.since_us, fired_us) - rule.window_us
    until_us = episode.ended_us or (fired_us if last is None else max(fired_us, last.slot_us))
    arrived = f"_ess.observed_timestamp:[{first_us} TO {until_us}}}"
    return " ".join([*_group_terms(rule, episode.labels), arrived])


def page_of(page_url: str, query: str) -> str:
    """Give the address of the page that shows the rows of a query, of any time."""
    return f"{page_url.rstrip('/')}/?{urlencode({'q': query, 'start': _ALL_TIMES})}"


def _group_terms(rule: Rule, labels: Mapping[str, str]) -> list[str]:
    asked = rule.pipe.query.strip()
    terms = [f"({asked})"] if asked not in ("", "*") else []
    first = rule.pipe.first
    if isinstance(first, Patterns):
        pattern = labels.get(PATTERN, "")
        return [query_of_shown(asked, pattern)] if pattern and PATTERN not in rule.labels else terms
    for field, name in zip(first.by, first.by_names, strict=True):
        value = labels.get(label_of(name), "")
        if value and label_of(name) not in rule.labels:
            terms.append(field_term(field, value))
    return terms


def _rows(rule: Rule, table: Mapping[str, Any], end_us: int) -> tuple[Row, ...]:
    names = [column["name"] for column in table["columns"]]
    if rule.column not in names:
        return ()
    at = names.index(rule.column)
    groups = [(label_of(name), names.index(name)) for name in rule.group_columns]

    def read(row: Sequence[Any]) -> Row:
        labels = {label: "" if row[place] is None else str(row[place]) for label, place in groups}
        return Row(labels, _number(rule, row[at], end_us))

    return tuple(map(read, table["rows"]))


def _number(rule: Rule, value: Any, end_us: int) -> float | None:
    if rule.column == FIRST:
        return (end_us - parse_timestamp_us(value)) / _S_US
    return None if value is None else float(value)


def _ms_since(started_s: float) -> int:
    return round((time.monotonic() - started_s) * 1000)
