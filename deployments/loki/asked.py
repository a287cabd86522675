"""What Loki's clients ask with: parameters in an address or a form, and their times."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import parse_qs

from fastapi import Request
from starlette.requests import HTTPConnection

from ess_ray.core.errors import BadRequest
from ess_ray.core.query import Order
from ess_ray.core.timestamps import parse_timestamp_us
from ess_ray.language.logql.quantities import duration_ns
from ess_ray.search.logql.logs import MAX_ENTRIES
from ess_ray.search.logql.series import Steps

US: Final = 1_000_000
DEFAULT_RANGE_US: Final = 3_600 * US
"""Before the end, of queries that name no start."""
LABELS_RANGE_US: Final = 6 * DEFAULT_RANGE_US
"""Of questions about labels and series."""
DEFAULT_LIMIT: Final = 100
DEFAULT_STEPS: Final = 250
MAX_STEPS: Final = 11_000
"""Points of a series, as in Loki and Prometheus."""
_SECONDS_DIGITS: Final = 10
"""A whole number of more digits counts nanoseconds."""
_WHOLE: Final = re.compile(r"-?[0-9]{1,19}", re.ASCII)
_DECIMAL: Final = re.compile(r"-?[0-9]{1,12}(?:\.[0-9]*)?(?:[eE][+-]?[0-9]{1,2})?", re.ASCII)
_FORM: Final = "application/x-www-form-urlencoded"


@dataclass(frozen=True)
class Asked:
    """The parameters of one request; the first of equally named ones counts."""

    values: Mapping[str, Sequence[str]]
    now_ns: int = field(default_factory=time.time_ns)

    @classmethod
    async def of(cls, request: Request) -> Asked:
        """Read those of an address and, of a POST, of its form."""
        values = cls.in_address(request).values
        if request.method == "POST" and request.headers.get("content-type", _FORM).startswith(_FORM):
            body = (await request.body()).decode("utf-8", "replace")
            try:
                values = {**values, **parse_qs(body, keep_blank_values=True, max_num_fields=1_000)}
            except ValueError:
                raise BadRequest("the form has more than 1,000 fields") from None
        return cls(values)

    @classmethod
    def in_address(cls, request: HTTPConnection) -> Asked:
        """Read those of an address."""
        return cls({name: request.query_params.getlist(name) for name in request.query_params})

    def text(self, name: str, default: str = "") -> str:
        """Give a parameter's text."""
        return next(iter(self.values.get(name, ())), default)

    def texts(self, *names: str) -> list[str]:
        """Give all texts under any of these names."""
        return [text for name in names for text in self.values.get(name, ())]

    @property
    def query(self) -> str:
        """Give the query. Raises BadRequest where there is none."""
        text = self.text("query")
        if not text.strip():
            raise BadRequest("parse error at line 1, col 1: syntax error: unexpected the end: the query is empty")
        return text

    def whole(self, name: str, default: int, most: int) -> int:
        """Read a number. Raises BadRequest."""
        text = self.text(name)
        if not text:
            return default
        if not text.isascii() or not text.isdigit() or int(text) > most:
            raise BadRequest(f"{name} must be a whole number from 0 to {most}, not {text[:40]!r}")
        return int(text)

    @property
    def limit(self) -> int:
        """Give how many lines are wanted. Raises BadRequest."""
        text = self.text("limit")
        if text.isascii() and text.isdigit() and int(text) > MAX_ENTRIES:
            raise BadRequest(
                f"max entries limit per query exceeded, limit > max_entries_limit ({text} > {MAX_ENTRIES})"
            )
        return self.whole("limit", DEFAULT_LIMIT, MAX_ENTRIES)

    @property
    def order(self) -> Order:
        """Give in which order lines are wanted. Raises BadRequest."""
        text = self.text("direction", "backward").lower()
        if text not in ("forward", "backward"):
            raise BadRequest(f"invalid direction {text[:40]!r}: use forward or backward")
        return "oldest" if text == "forward" else "newest"

    def time_ns(self, name: str, default: int) -> int:
        """Read a time in nanoseconds. Raises BadRequest."""
        text = self.text(name).strip()
        return default if not text else _time_ns(name, text)

    def range_ns(self, default_us: int = DEFAULT_RANGE_US) -> tuple[int, int]:
        """Read `start`, `end` and `since` in nanoseconds. Raises BadRequest."""
        end_ns = self.time_ns("end", self.now_ns)
        since_ns: float | None = default_us * 1_000
        if self.text("since"):
            since_ns = duration_ns(self.text("since"))
            if since_ns is None:
                raise BadRequest(f"since is no duration: {self.text('since')[:40]!r}")
        start_ns = self.time_ns("start", min(end_ns, self.now_ns) - int(since_ns or 0))
        if end_ns < start_ns:
            raise BadRequest("end timestamp must not be before start time")
        return start_ns, end_ns

    def range_us(self, default_us: int = DEFAULT_RANGE_US) -> tuple[int, int]:
        """Read a range as [start, end) in microseconds, in which all times are stored. Raises BadRequest."""
        start_ns, end_ns = self.range_ns(default_us)
        return -(-start_ns // 1_000), -(-end_ns // 1_000)

    def steps(self, default_us: int = DEFAULT_RANGE_US) -> Steps:
        """Read the moments of a metric query over a range. Raises BadRequest."""
        start_ns, end_ns = self.range_ns(default_us)
        start_us, end_us = start_ns // 1_000, end_ns // 1_000
        step_us = self._step_us(start_us, end_us)
        count = (end_us - start_us) // step_us + 1
        if count > MAX_STEPS:
            raise BadRequest(
                f"exceeded maximum resolution of {MAX_STEPS:,} points per time series. Try increasing the value of the "
                "step parameter"
            )
        return Steps(start_us, step_us, count)

    def _step_us(self, start_us: int, end_us: int) -> int:
        text = self.text("step").strip()
        if not text:
            return max(1, (end_us - start_us) // US // DEFAULT_STEPS) * US
        step_ns = float(text) * 10**9 if _DECIMAL.fullmatch(text) else duration_ns(text)
        if step_ns is None:
            raise BadRequest(f"step is no duration and no number of seconds: {text[:40]!r}")
        if int(step_ns) < 1_000:
            raise BadRequest("zero or negative query resolution step widths are not accepted. Try a positive integer")
        return int(step_ns) // 1_000


def _time_ns(name: str, text: str) -> int:
    if _WHOLE.fullmatch(text):
        value = int(text)
        found = value * 10**9 if len(text.lstrip("-")) <= _SECONDS_DIGITS else value
    elif _DECIMAL.fullmatch(text):
        found = round(float(text) * 10**6) * 1_000
    else:
        try:
            found = parse_timestamp_us(text) * 1_000
        except ValueError:
            raise BadRequest(f"{name} is no time: {text[:40]!r}; use nanoseconds, seconds or RFC 3339") from None
    if abs(found) >= 2**63:
        raise BadRequest(f"{name} lies too far away: {text[:40]!r}")
    return found
