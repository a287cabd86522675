"""Names of time zones, read alike wherever they stand: in options and requests, in bounds, behind the times of a log.

An abbreviation is taken where it means one offset wherever it is used; where it means several, it is refused with what
it may mean, and never guessed.
"""

from __future__ import annotations

import difflib
import re
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo, available_timezones

from ess_ray.core.errors import BadRequest

ABBREVIATIONS: Final = {
    name: offset
    for offset, names in {
        "+00:00": ("UTC", "GMT", "UT", "Z", "WET"),
        "+01:00": ("CET", "MET", "MEZ", "WEST", "WAT"),
        "+02:00": ("CEST", "MEST", "MESZ", "EET", "CAT", "SAST"),
        "+03:00": ("EEST", "MSK", "EAT", "IDT", "TRT"),
        "+03:30": ("IRST",),
        "+05:00": ("PKT", "UZT"),
        "+05:45": ("NPT",),
        "+07:00": ("ICT", "WIB"),
        "+08:00": ("HKT", "SGT", "MYT", "PHT", "PHST", "AWST", "WITA"),
        "+09:00": ("JST", "KST", "WIT"),
        "+09:30": ("ACST",),
        "+10:00": ("AEST", "CHST"),
        "+10:30": ("ACDT",),
        "+11:00": ("AEDT",),
        "+12:00": ("NZST",),
        "+13:00": ("NZDT",),
        "-02:30": ("NDT",),
        "-03:00": ("BRT", "UYT", "CLST"),
        "-03:30": ("NST",),
        "-04:00": ("EDT", "CLT"),
        "-05:00": ("EST",),
        "-06:00": ("MDT",),
        "-07:00": ("PDT",),
        "-08:00": ("AKDT",),
        "-09:00": ("AKST", "HDT"),
        "-10:00": ("HST",),
    }.items()
    for name in names
}
"""What abbreviations stand for that mean one offset wherever they are used. Those that are English words, and that the
IANA database does not give to any zone today, are left out: ART, BOT, PET."""
AMBIGUOUS: Final = {
    "ADT": "Atlantic Daylight Time (-03:00) or Arabia Daylight Time (+04:00)",
    "AMT": "Amazon Time (-04:00) or Armenia Time (+04:00)",
    "AST": "Atlantic Standard Time (-04:00) or Arabia Standard Time (+03:00)",
    "BST": "British Summer Time (+01:00), Bangladesh Standard Time (+06:00) or Bougainville Standard Time (+11:00)",
    "CDT": "Central Daylight Time (-05:00), Cuba Daylight Time (-04:00) or China Daylight Time (+09:00)",
    "CST": "Central Standard Time (-06:00), China Standard Time (+08:00) or Cuba Standard Time (-05:00)",
    "ECT": "Eastern Caribbean Time (-04:00) or Ecuador Time (-05:00)",
    "GST": "Gulf Standard Time (+04:00), Guam Standard Time (+10:00) or South Georgia Time (-02:00)",
    "IST": "India Standard Time (+05:30), Israel Standard Time (+02:00) or Irish Standard Time (+01:00)",
    "LHST": "Lord Howe Standard Time (+10:30) or Lord Howe Summer Time (+11:00)",
    "MST": "Mountain Standard Time (-07:00) or Malaysia Standard Time (+08:00)",
    "PST": "Pacific Standard Time (-08:00) or Philippine Standard Time (+08:00)",
    "SST": "Samoa Standard Time (-11:00) or Singapore Standard Time (+08:00)",
    "WST": "Western Standard Time (+08:00), West Samoa Time (+13:00) or Western Sahara Summer Time (+01:00)",
}
"""What abbreviations may stand for, of those that mean several offsets."""
_OFFSET = re.compile(r"(?:UTC|GMT)?([+-])(\d{1,2})(?::?([0-5]\d))?", re.ASCII | re.IGNORECASE)
_DAY: Final = timedelta(hours=24)


class NoZone(ValueError):
    """A zone that is unknown, or may be several; says which."""


def zone_named(name: str) -> tuple[str, tzinfo]:
    """Give a zone and its name as it is written usually: `Europe/Berlin`, an offset (`+03`, `UTC+3`), `CEST`.

    Names in any case; one of the IANA database comes before an abbreviation, and brings its changes of the clock along.
    Raises BadRequest.
    """
    text = name.strip()
    offset = _offset(text)
    if offset is not None:
        return str(offset), offset
    if text.upper() in ("Z", "UTC", "GMT"):
        return "UTC", UTC
    found = _names().get(text.casefold())
    if found is not None:
        return found, ZoneInfo(found)
    try:
        return text.upper(), abbreviated(text.upper())
    except NoZone as error:
        near = difflib.get_close_matches(text.casefold(), _names(), n=1)
        meant = f"; did you mean {_names()[near[0]]}?" if near else ""
        raise BadRequest(
            f'"{text[:40]}" is no time zone ({error}): use a name such as Europe/Berlin or America/New_York, UTC, or '
            f"an offset such as +02:00{meant}"
        ) from error


@lru_cache(maxsize=256)
def zone_behind(text: str) -> tzinfo:
    """Read what stands behind a time: `Z`, `+03`, `+0530`, `UTC+3`, `CEST`, `Europe/Berlin`. Raises NoZone."""
    offset = _offset(text)
    if offset is not None:
        return offset
    if "/" in text:
        found = _names().get(text.casefold())
        if found is None:
            raise NoZone(f"{text} is no time zone that is known")
        return ZoneInfo(found)
    return abbreviated(text.upper())


def abbreviated(name: str) -> tzinfo:
    """Give the zone of an abbreviation in capitals. Raises NoZone where it is unknown, or means several."""
    if name in AMBIGUOUS:
        raise NoZone(f"{name} may be {AMBIGUOUS[name]}")
    if name not in ABBREVIATIONS:
        raise NoZone(f"{name[:40]} is no time zone that is known")
    zone = _offset(ABBREVIATIONS[name])
    assert zone is not None  # the table holds offsets
    return zone if zone.utcoffset(None) else UTC


def in_zone(moment: datetime, zone: tzinfo | None, called: str | None = None) -> datetime:
    """Give a time without an offset that of a zone (None: this machine's).

    Where the clock is put back a time comes twice: the first counts, unless `called`, an abbreviation, names the other.
    """
    found = moment.astimezone() if zone is None else moment.replace(tzinfo=zone)
    if called is None or found.tzname() == called:
        return found
    later = moment.replace(fold=1)
    later = later.astimezone() if zone is None else later.replace(tzinfo=zone)
    return later if later.tzname() == called else found


def _offset(text: str) -> timezone | None:
    match = _OFFSET.fullmatch(text)
    if match is None:
        return None
    sign, hours, minutes = match.groups()
    ahead = timedelta(hours=int(hours), minutes=int(minutes or 0))
    if ahead >= _DAY:
        return None
    return timezone(-ahead if sign == "-" else ahead)


@lru_cache(maxsize=1)
def _names() -> dict[str, str]:
    """Give the names of the IANA database by their form without case."""
    return {name.casefold(): name for name in available_timezones()}
