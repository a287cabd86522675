"""Plain log lines: when was this, how bad is it, who says so. The line itself is never changed."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache
from typing import Final

from dateutil import parser as dateutil_parser

from ess_ray.core.timestamps import number_to_us
from ess_ray.language import ABBREVIATIONS, AMBIGUOUS, NoZone, in_zone, zone_behind

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
_OFFSET = (
    r"(?:\s?(?:UTC|GMT)?[+-](?:0\d|1[0-4]):?(?:00|15|30|45)\b|[+-]\d\d:?[0-5]\d\b|"
    r"\s?(?:UTC|GMT)[+-]\d{1,2}\b|\s?[+-](?:0\d|1[0-4])\b(?![-:./]\w))"
)
_AREA = r"(?:Africa|America|Antarctica|Arctic|Asia|Atlantic|Australia|Etc|Europe|Indian|Pacific)"
# A word behind a time may be a zone, a level or anything: `_zone_of` decides.
_WORD = rf"(?:\s?[\[(]?(?:{_AREA}(?:/[A-Za-z_+\d-]+)+|[A-Z][A-Za-z]{{0,4}}(?![\w./=-])))"
_ZONE = rf"({_OFFSET}|{_WORD})"
_ISO = re.compile(rf"(?<![\d/-])(\d{{4}}[-/]\d\d[-/]\d\d(?:T| {{1,2}}|_){_CLOCK}){_ZONE}?", re.ASCII)
_BASIC = re.compile(rf"(?<![\w/.-])(\d{{8}}T\d{{6}}(?:[.,]\d{{1,9}})?){_ZONE}?(?![\w-])", re.ASCII)
_ACCESS = re.compile(rf"\[(\d\d/{_MONTH}/\d{{4}}:{_CLOCK}){_ZONE}?\]", re.ASCII)
_BARE_ACCESS = re.compile(rf"(?<![\w/])(\d\d/{_MONTH}/\d{{4}}:{_CLOCK}){_ZONE}?", re.ASCII)
# With points the day comes first wherever people write so; a second number above 12 is no month, and so no date.
_POINTED = re.compile(
    rf"(?<![\w./-])(\d{{1,2}}\.\d{{1,2}}\.\d{{4}}(?:,? {{1,2}}|T)\d?\d:\d\d:\d\d(?:[.,]\d{{1,9}})?)(?![\d:]){_ZONE}?",
    re.ASCII,
)
_SYSLOG = re.compile(
    rf"(?:<\d{{1,3}}>)?({_MONTH} [ \d]\d) (\d\d:\d\d:\d\d)"
    # Cisco's devices name their zone before a colon, others their host and program.
    r"(?:(?:[.,]\d{1,9})? ([A-Z][A-Za-z]{1,4}):(?= %)|(?: (\S+) ([^\s:\[]+)(?:\[\d+\])?:)?)",
    re.ASCII,
)
_WORDED = re.compile(
    rf"\W{{0,2}}((?:{_DAY},? )?(?:\d{{1,2}}[ -]{_MONTH}[ -]\d{{4}}|{_MONTH} {{1,2}}\d{{1,2}},? \d{{4}}),?[ :]"
    rf"\d?\d:\d\d:\d\d(?:[.,]\d{{1,6}})?(?: ?[AP]M\b)?){_ZONE}?",
    re.ASCII,
)
_DATE = re.compile(  # as `date` and C's ctime write it
    rf"\W{{0,2}}({_DAY} {_MONTH} {{1,2}}\d{{1,2}} {_CLOCK}(?: [AP]M)?)(?: ([A-Z][A-Za-z]{{1,4}}|[+-]\d\d(?:\d\d)?))?"
    r" (\d{4})\b",
    re.ASCII,
)
_NO_ZONE = re.compile(
    r"ABORT|ABOUT|ACCEPT|ACT|AGENT|ALERT|ART|ASSET|AUDIT|BAT|BEST|BIT|BLAST|BOOT|BOT|BUILT|CAST|CERT|CHAT"
    r"|CHEST|COST|COT|COUNT|CUT|DAT|DEBIT|DEBUT|DIGIT|DIRT|DRAFT|EDIT|EVENT|EXACT|EXIST|EXIT|FACT|FAST|FAULT"
    r"|FIAT|FIRST|FIT|FLAT|FLOAT|FONT|FRONT|GET|GIT|GOT|GRANT|GUEST|HALT|HAT|HINT|HIT|HOST|INIT|INPUT|INT"
    r"|JOINT|JWT|LAST|LEFT|LET|LIMIT|LIST|LOST|LOT|MET|MOST|MOUNT|MQTT|NAT|NET|NEXT|NOT|OUT|PART|PAST|PET|PLOT"
    r"|POINT|PORT|POST|PRINT|PUT|QUIT|RESET|REST|RIGHT|ROOT|RST|SAT|SENT|SET|SHORT|SHUT|SLOT|SMART|SORT|SPLIT"
    r"|START|STAT|TEST|TEXT|TRUST|TXT|UART|UINT|UNIT|VET|VISIT|WAIT|WANT|FIZZ|JAZZ|QUIZ",
    re.ASCII,
)
"""Words in capitals that look like zones, and are none behind a time."""
_KNOWN: Final = frozenset((*ABBREVIATIONS, *AMBIGUOUS, "ChST"))
_ACCESS_DAY = re.compile(rf"(\d\d)/({_MONTH})/(\d{{4}}):", re.ASCII)
_LIKE_A_ZONE = re.compile(r"[A-Z]{2,4}[TZ]", re.ASCII)
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
    """Reads lines of one file. `zone` is of times without an offset (None: the system's); `now_us` bounds guesses.

    `decided`: it was said on purpose, so that it is also the zone of times with one that nobody can tell.
    """

    now_us: int
    zone: tzinfo | None = None
    decided: bool = False
    _known: dict[tuple[str, str | None], int | None] = field(default_factory=dict)
    _stamps: dict[str, int | None] = field(default_factory=dict)

    def read(self, line: str) -> LineFacts:
        """Recognise what is there; what is not understood is None. Raises NoZone where a time's zone is unclear."""
        head = line[:LOOK_AT_CHARS]
        level = _LEVEL.search(head)
        timestamp_us, host, service = self._time(head)
        return LineFacts(timestamp_us, level[1] if level is not None else None, host, service)

    def time_of(self, stamp: str) -> int | None:
        """Read a text that is a time and nothing else; None where it is not understood. Raises NoZone as `read`."""
        if stamp not in self._stamps:
            if len(self._stamps) >= _CACHE_ENTRIES:
                self._stamps.clear()
            self._stamps[stamp] = self._time(stamp)[0]
        return self._stamps[stamp]

    def _time(self, head: str) -> tuple[int | None, str | None, str | None]:
        match = _SYSLOG.match(head)
        if match is not None:
            day, clock, zone, host, service = match.groups()
            return self._cached(f"{day} {clock}", zone, self._without_year, must=True), host, service
        for match, read in _dated(head):
            timestamp_us = self._cached(match[1], match[2], read)
            if timestamp_us is not None:
                return timestamp_us, None, None
        match = _DATE.match(head)
        if match is not None:
            return self._cached(f"{match[1]} {match[3]}", match[2], _worded, must=True), None, None
        match = _NUMBER.match(head)
        return (None if match is None else self._number(match[1])), None, None

    def _cached(
        self, text: str, zone: str | None, read: Callable[[str], datetime], *, must: bool = False
    ) -> int | None:
        """Read a time and the zone behind it, if that is one (`must`: nothing else can stand there)."""
        key = (text, zone)
        if key not in self._known:
            if len(self._known) >= _CACHE_ENTRIES:
                self._known.clear()
            try:
                found = (self._in_zone(read(text), zone, must) - _EPOCH) // _MICROSECOND
                # Before 1970 is a zero value that is printed (0001-01-01), not when something was logged.
                self._known[key] = found if found > 0 else None
            except NoZone:
                raise
            except (ValueError, OverflowError):  # a date such as 2026-13-40: looks like one, is none
                self._known[key] = None
        return self._known[key]

    def _in_zone(self, moment: datetime, text: str | None, must: bool) -> datetime:
        """Give a time the zone behind it, else the reader's. Raises NoZone where there is one that nobody can tell."""
        called = _name_of(text, must)
        if called is None:
            return in_zone(moment, self.zone)
        try:
            return moment.replace(tzinfo=zone_behind(called))
        except NoZone as error:
            if self.decided:
                return in_zone(moment, self.zone, called)
            raise NoZone(
                f"{error}, behind {moment:%Y-%m-%d %H:%M:%S}: say of which zone such times are, with --tz "
                "Europe/Berlin, --tz +02:00 or --tz local"
            ) from error

    def _without_year(self, text: str) -> datetime:
        latest = _EPOCH + timedelta(microseconds=self.now_us + DAY_US)
        for year in (latest.year, latest.year - 1, *range(latest.year - 2, latest.year - 5, -1)):
            try:
                moment = datetime.strptime(f"{year} {text}", "%Y %b %d %H:%M:%S")
            except ValueError:  # Feb 29 of another year
                continue
            if in_zone(moment, self.zone) <= latest:
                return moment
        raise ValueError("no year makes this a date in the past")

    def _number(self, digits: str) -> int | None:
        found = number_to_us(float(digits) if "." in digits else int(digits))
        return found if _OLDEST_US <= found <= self.now_us + DAY_US else None


_Dated = tuple[re.Match[str], Callable[[str], datetime]]


def _dated(head: str) -> Iterator[_Dated]:
    """Give what looks like a date with its time, and how it is read: the first one in the line first."""
    iso, access = _ISO.search(head, 0, ISO_WITHIN_CHARS), _ACCESS.search(head)
    found: list[_Dated] = [(match, read) for match, read in ((access, _worded), (iso, _iso)) if match is not None]
    if _MAYBE_OTHER.search(head, 0, ISO_WITHIN_CHARS) is not None:
        for pattern, read in _OTHERS:
            match = pattern.search(head, 0, ISO_WITHIN_CHARS)
            if match is not None:
                found.append((match, read))
    if access is not None:  # what stands behind the time of an access log is in the request
        found = [one for one in found if one[0].start() <= access.start()]
    yield from sorted(found, key=lambda one: one[0].start())
    worded = _WORDED.match(head)
    if worded is not None:
        yield worded, _worded


def _basic(text: str) -> datetime:
    return _iso(f"{text[:4]}-{text[4:6]}-{text[6:8]}T{text[9:11]}:{text[11:13]}:{text[13:]}")


def _pointed(text: str) -> datetime:
    day, month, rest = text.split(".", 2)
    year, clock = rest[:4], rest[4:].lstrip(", T")
    return _iso(f"{year}-{month:0>2}-{day:0>2}T{clock if clock[1] != ':' else '0' + clock}")


def _iso(text: str) -> datetime:
    day, clock = text[:10].replace("/", "-"), text[11:].lstrip()
    whole, _, fraction = clock.replace(",", ".").partition(".")
    return datetime.fromisoformat(f"{day}T{whole}").replace(microsecond=int(fraction[:6].ljust(6, "0") or 0))


def _worded(text: str) -> datetime:
    # `24/Nov/2026:10:00:00`, `24-Nov-2026`, `Nov 24, 2026 1:00:00 PM`, `Tue Nov 24 10:00:00 2026`
    found: datetime = dateutil_parser.parse(_ACCESS_DAY.sub(r"\1 \2 \3 ", text))
    return found


_OTHERS: Final = ((_BASIC, _basic), (_BARE_ACCESS, _worded), (_POINTED, _pointed))
_MAYBE_OTHER: Final = re.compile(r"\d(?:\d{7}T|/[A-Z]|\.\d{4}[ ,T])", re.ASCII)
"""What each of these has: most lines have none of it, and looking for it takes a tenth of looking for them."""


@lru_cache(maxsize=1024)
def _name_of(text: str | None, must: bool) -> str | None:
    """Tell whether what stands behind a time is a zone, or meant to be one; gives its name then."""
    if text is None:
        return None
    name = text.strip().lstrip("[(")
    if must or name[0] in "+-" or any(mark in name for mark in "/+-") or name in _KNOWN:
        return name
    return name if _LIKE_A_ZONE.fullmatch(name) and not _NO_ZONE.fullmatch(name) else None
