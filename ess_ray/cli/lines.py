"""Plain log lines: when was this, how bad is it, who says so. The line itself is never changed.

May live here: recognising times, levels and senders in one line of text. May not: files, JSON, sending.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from typing import Final

from dateutil import parser as dateutil_parser

from ess_ray.core.event import number_to_us

LOOK_AT_CHARS: Final = 256
"""A line's time and level stand near its start; what comes later is its content."""
ISO_WITHIN_CHARS: Final = 96
"""An ISO time that ends later in the line is more often what the line talks about than when it was written."""
DAY_US: Final = 86_400 * 1_000_000
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_OLDEST_US: Final = 1_000_000_000 * 1_000_000
"""A leading number below 2001-09-09 as epoch seconds is an identifier, not a time."""
_CACHE_ENTRIES: Final = 4096
"""Neighbouring lines share their second: a few thousand texts cover what is near."""

_MONTH = r"(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)"
_DAY = r"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)"
_CLOCK = r"\d\d:\d\d:\d\d(?:[.,]\d{1,9})?"
# An offset is hours and whole quarters: `10:00:00 -1234 bytes` has none.
_OFFSET = r"(?:\s?(?:Z|UTC|GMT)\b|\s?[+-](?:0\d|1[0-4]):?(?:00|15|30|45)\b)"
_ISO = re.compile(rf"(?<![\d/-])(\d{{4}}[-/]\d\d[-/]\d\d)(?:T| {{1,2}}|_)({_CLOCK})({_OFFSET})?", re.ASCII)
_ACCESS = re.compile(rf"\[(\d\d/{_MONTH}/\d{{4}}):({_CLOCK})({_OFFSET})?\]", re.ASCII)
_SYSLOG = re.compile(
    rf"(?:<\d{{1,3}}>)?({_MONTH} [ \d]\d) (\d\d:\d\d:\d\d)(?: (\S+) ([^\s:\[]+)(?:\[\d+\])?:)?", re.ASCII
)
_WORDED = re.compile(
    rf"\W{{0,2}}((?:{_DAY},? )?(?:\d{{1,2}}[ -]{_MONTH}[ -]\d{{4}}|{_MONTH} {{1,2}}\d{{1,2}},? \d{{4}}),?[ :]"
    rf"\d?\d:\d\d:\d\d(?:[.,]\d{{1,6}})?(?: ?[AP]M\b)?{_OFFSET}?|{_DAY} {_MONTH} [ \d]\d {_CLOCK} \d{{4}})",
    re.ASCII,
)
_NUMBER = re.compile(r"\[?(\d{10}\.\d{1,9}|\d{10}|\d{13}|\d{16}|\d{19})(?=[\s\],:;|]|$)", re.ASCII)
_LEVEL = re.compile(r"(?<![\w/.=-])(TRACE|DEBUG|INFO|NOTICE|WARN|WARNING|ERROR|CRITICAL|FATAL)(?![\w/.=-])", re.ASCII)


@dataclass(frozen=True, slots=True)
class LineFacts:
    """What one line tells by itself; None where it says nothing."""

    timestamp_us: int | None = None
    level: str | None = None
    host: str | None = None
    service: str | None = None


@dataclass
class LineReader:
    """Reads lines of one file. `zone` is of times without an offset (None: the system's); `now_us` bounds guesses."""

    now_us: int
    zone: tzinfo | None = None
    _known: dict[str, int | None] = field(default_factory=dict)

    def read(self, line: str) -> LineFacts:
        """Recognise what is there. Never raises: what is not understood is None."""
        head = line[:LOOK_AT_CHARS]
        level = _LEVEL.search(head)
        timestamp_us, host, service = self._time(head)
        return LineFacts(timestamp_us, level[1] if level is not None else None, host, service)

    def _time(self, head: str) -> tuple[int | None, str | None, str | None]:
        match = _SYSLOG.match(head)
        if match is not None:
            day, clock, host, service = match.groups()
            return self._cached(f"{day} {clock}", self._without_year), host, service
        iso, access = _ISO.search(head, 0, ISO_WITHIN_CHARS), _ACCESS.search(head)
        if iso is not None and access is not None and access.start() < iso.start():
            iso = None  # the ISO time is in the request
        for match, read in ((iso, self._iso), (access, self._worded), (_WORDED.match(head), self._worded)):
            if match is not None:
                timestamp_us = self._cached(" ".join(part for part in match.groups() if part), read)
                if timestamp_us is not None:
                    return timestamp_us, None, None
        match = _NUMBER.match(head)
        return (None if match is None else self._number(match[1])), None, None

    def _cached(self, text: str, read: Callable[[str], datetime]) -> int | None:
        if text not in self._known:
            if len(self._known) >= _CACHE_ENTRIES:
                self._known.clear()
            try:
                found = (self._in_zone(read(text)) - _EPOCH) // _MICROSECOND
                # Before 1970 is a zero value that is printed (0001-01-01), not when something was logged.
                self._known[text] = found if found > 0 else None
            except (ValueError, OverflowError):  # a date such as 2026-13-40: looks like one, is none
                self._known[text] = None
        return self._known[text]

    def _in_zone(self, moment: datetime) -> datetime:
        if moment.tzinfo is not None:
            return moment
        return moment.astimezone() if self.zone is None else moment.replace(tzinfo=self.zone)

    @staticmethod
    def _iso(text: str) -> datetime:
        day, clock, *offset = text.replace("/", "-").split(None, 2)
        whole, _, fraction = clock.replace(",", ".").partition(".")
        moment = datetime.fromisoformat(f"{day}T{whole}").replace(microsecond=int(fraction[:6].ljust(6, "0") or 0))
        return moment.replace(tzinfo=_offset(offset[0].strip())) if offset else moment

    @staticmethod
    def _worded(text: str) -> datetime:
        # `24/Nov/2026`, `24-Nov-2026`, `Nov 24, 2026 1:00:00 PM`, `Tue Nov 24 10:00:00 2026`
        found: datetime = dateutil_parser.parse(text.replace("/", " "))
        return found

    def _without_year(self, text: str) -> datetime:
        latest = _EPOCH + timedelta(microseconds=self.now_us + DAY_US)
        for year in (latest.year, latest.year - 1, *range(latest.year - 2, latest.year - 5, -1)):
            try:
                moment = datetime.strptime(f"{year} {text}", "%Y %b %d %H:%M:%S")
            except ValueError:  # Feb 29 of another year
                continue
            if self._in_zone(moment) <= latest:
                return moment
        raise ValueError("no year makes this a date in the past")

    def _number(self, digits: str) -> int | None:
        found = number_to_us(float(digits) if "." in digits else int(digits))
        return found if _OLDEST_US <= found <= self.now_us + DAY_US else None


def _offset(text: str) -> tzinfo:
    if text in ("Z", "UTC", "GMT"):
        return UTC
    digits = text[1:].replace(":", "")
    ahead = timedelta(hours=int(digits[:2]), minutes=int(digits[2:]))
    return timezone(-ahead if text[0] == "-" else ahead)
