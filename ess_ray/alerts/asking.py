"""A rule's answer: its pipe over what was received in a window, counted as any search is."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from typing import Any, Final, Protocol
from urllib.parse import urlencode

from ess_ray.alerts.policy import Answer, Row
from ess_ray.alerts.rules import Rule, label_of
from ess_ray.core.errors import EssError
from ess_ray.core.field import Field
from ess_ray.core.query import And, Query, Range
from ess_ray.language import field_term
from ess_ray.ports import AnswerState, ResultStore
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
        rows = _rows(rule, state.table or {"columns": [], "rows": []})
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


def page_of(page_url: str, rule: Rule, labels: Mapping[str, str], window: tuple[int, int]) -> str:
    """Give the address of the page that shows an alert's rows: those of its group, received in the window."""
    asked = rule.pipe.query.strip()
    terms = [f"({asked})"] if asked not in ("", "*") else []
    stats = rule.stats
    for field, name in zip(stats.by, stats.by_names, strict=True):
        value = labels.get(label_of(name), "")
        if value and label_of(name) not in rule.labels:
            terms.append(field_term(field, value))
    terms.append(f"_ess.observed_timestamp:[{window[0]} TO {window[1]}}}")
    return f"{page_url.rstrip('/')}/?{urlencode({'q': ' '.join(terms), 'start': _ALL_TIMES})}"


def _rows(rule: Rule, table: Mapping[str, Any]) -> tuple[Row, ...]:
    names = [column["name"] for column in table["columns"]]
    if rule.column not in names:
        return ()
    at = names.index(rule.column)
    groups = [(label_of(name), names.index(name)) for name in rule.stats.by_names]
    return tuple(
        Row({label: "" if row[place] is None else str(row[place]) for label, place in groups}, _number(row[at]))
        for row in table["rows"]
    )


def _number(value: Any) -> float | None:
    return None if value is None else float(value)


def _ms_since(started_s: float) -> int:
    return round((time.monotonic() - started_s) * 1000)
