"""RFC 3164's header and what calls itself so: times of several forms, perhaps a host, perhaps a tag.

The RFC describes what was seen, and what is seen has grown since. What is not surely part of a header is text.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, tzinfo
from functools import lru_cache
from typing import Final, NamedTuple

_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_STAMP: Final = re.compile(
    r" ?((?P<iso>\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(?:[.,]\d{1,9})?(?P<offset>[Zz]|[+-]\d\d:?\d\d)?)"
    rf"|(?:(?P<before>\d{{4}}) )?(?P<month>{'|'.join(_MONTHS)}) {{1,2}}(?P<day>\d{{1,2}})(?: (?P<year>\d{{4}}))?"
    r" (?P<clock>\d\d:\d\d:\d\d)(?:[.,](?P<fraction>\d{1,9}))?(?P<utc> (?:UTC|GMT|Z))?)"
    r"(?P<colon>:)?(?: +|$)",
    re.ASCII,
)
_TAG_TEXT: Final = r"(?!%)[^\s:\[\]{}<>\"'|=,]{1,128}"
"""Not what Cisco's devices begin their texts with: `%SYS-5-CONFIG_I:`."""
_TAG: Final = re.compile(rf"(?P<tag>{_TAG_TEXT})(?:\[(?P<pid>[^\]\s]{{0,128}})\](?::? |:?$|:)|:(?: |$))")
_TAG_WITH_PID: Final = re.compile(rf"(?P<tag>{_TAG_TEXT})\[(?P<pid>[^\]\s]{{1,128}})\]: ?")
"""What counts as a tag where no time comes before it: any word and a colon may as well begin a sentence."""
_HOST: Final = re.compile(r"(?P<host>[A-Za-z0-9_][A-Za-z0-9_.:%-]{0,254})(?<!:)(?: +|$)(?:: )?")
_HOUR_S: Final = 3600
_CACHED_STAMPS: Final = 4096
"""Messages of a second have the same one."""


class Message3164(NamedTuple):
    """A message's parts; what it does not have is None. `time`: RFC 3339."""

    time: str | None
    host: str | None
    tag: str | None
    pid: str | None
    text: str


def read_3164(text: str, at: int, now_us: int, zone: tzinfo | None) -> Message3164:
    """Read what stands behind the priority. `zone`: of times that name none; None is this machine's."""
    stamp = _STAMP.match(text, at)
    moment = None if stamp is None else _moment(stamp.group(1), zone, now_us // (_HOUR_S * 1_000_000))
    if stamp is None or moment is None:
        found = _TAG_WITH_PID.match(text, at)
        if found is None:
            return Message3164(None, None, None, None, text[at:])
        return Message3164(None, None, found["tag"], found["pid"], text[found.end() :])
    at, host = stamp.end(), None
    found = _TAG.match(text, at)
    if found is None and stamp["colon"] is None:
        named = _HOST.match(text, at)
        if named is not None:
            host, at = named["host"], named.end()
            found = _TAG.match(text, at)
    if found is None:
        return Message3164(moment, host, None, None, text[at:])
    return Message3164(moment, host, found["tag"], found["pid"] or None, text[found.end() :])


@lru_cache(maxsize=_CACHED_STAMPS)
def _moment(text: str, zone: tzinfo | None, now_hour: int) -> str | None:
    """Write a stamp as RFC 3339; None for a day or an hour that there is none of."""
    stamp = _STAMP.fullmatch(text)
    if stamp is None:
        return None
    if stamp["iso"] is not None:
        return _iso(stamp["iso"], stamp["offset"], zone)
    clock = f"{stamp['clock']}.{(stamp['fraction'] or '0')[:6].ljust(6, '0')}"
    day = f"{_MONTHS.index(stamp['month']) + 1:02d}-{int(stamp['day']):02d}T{clock}"
    known = UTC if stamp["utc"] else zone
    year = stamp["year"] or stamp["before"]
    now = datetime.fromtimestamp(now_hour * _HOUR_S, UTC)
    years = [int(year)] if year else [now.year, now.year - 1, now.year + 1]
    moments = [moment for each in years if (moment := _aware(f"{each:04d}-{day}", known)) is not None]
    if not moments:
        return None
    return min(moments, key=lambda moment: abs(moment - now)).isoformat(timespec="microseconds")


def _iso(text: str, offset: str | None, zone: tzinfo | None) -> str | None:
    if offset is not None:
        return text  # whose digits are read where all times are
    moment = _aware(text.replace(",", "."), zone)
    return None if moment is None else moment.isoformat(timespec="microseconds")


def _aware(text: str, zone: tzinfo | None) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text)
        return moment.astimezone() if zone is None else moment.replace(tzinfo=zone)
    except (ValueError, OverflowError):
        return None
