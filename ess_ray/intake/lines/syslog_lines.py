"""Syslog in files: RFC 3164 and what calls itself so, RFC 5424. A thin reader, to be replaced by the listener's own.

A line of RFC 3164 is what people read, and stays the message; RFC 5424 is an envelope, whose MSG is.
"""

from __future__ import annotations

import re
from typing import Final

from ess_ray.core.event import level_of_severity
from ess_ray.intake.lines.text_format import Event, TextFormat, event_of
from ess_ray.intake.lines.times import LineReader

FACILITIES: Final = (
    *("kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp"),
    *("ntp", "audit", "alert", "clock", *(f"local{number}" for number in range(8))),
)
_LEVEL_WORD: Final = r"(?!(?:TRACE|DEBUG|INFO|NOTICE|WARN|WARNING|ERROR|CRITICAL|FATAL)\b)"
_3164: Final = re.compile(
    r"(?:<(?P<priority>\d{1,3})>)?"
    # Of ISO times only rsyslog's own: after others, two words and a colon may be anything.
    r"(?P<at>(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) [ \d]\d \d\d:\d\d:\d\d"
    r"|\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}(?:Z|[+-]\d\d:\d\d)) "
    rf"(?P<host>{_LEVEL_WORD}[\w.:-]+) (?P<service>{_LEVEL_WORD}[^\s:\[]+)(?:\[(?P<procid>[\w.-]+)\])?:(?= |$)",
    re.ASCII,
)
_5424: Final = re.compile(
    r"(?:<(?P<priority>\d{1,3})>)1 (?P<at>\S+) (?P<host>\S+) (?P<service>\S+) (?P<procid>\S+) (?P<msgid>\S+) "
)
_ELEMENT: Final = re.compile(r'\[([^\s\]="]+)((?: [^\s\]="]+="(?:[^"\\\]]|\\.)*")*)\]', re.DOTALL)
_PARAMETER: Final = re.compile(r' ([^\s\]="]+)="((?:[^"\\\]]|\\.)*)"', re.DOTALL)
_ESCAPED: Final = re.compile(r'\\(["\\\]])')


def _with_priority(found: dict[str, str | None]) -> dict[str, str | None]:
    priority = found.pop("priority")
    if priority is not None and int(priority) < len(FACILITIES) * 8:
        level = level_of_severity(int(priority) % 8)
        found |= {"level": None if level is None else level[0], "facility": FACILITIES[int(priority) // 8]}
    return found


def _read_3164(text: str, times: LineReader) -> Event | None:
    match = _3164.match(text)
    return None if match is None else event_of(_with_priority(match.groupdict()), times)


def _read_5424(text: str, times: LineReader) -> Event | None:
    match = _5424.match(text)
    if match is None:
        return None
    at = match.end()
    data: dict[str, str] = {}
    if text[at : at + 1] == "-":
        at += 1
    else:
        while (element := _ELEMENT.match(text, at)) is not None:
            for name, value in _PARAMETER.findall(element[2]):
                data[f"structured_data.{element[1]}.{name}"] = _ESCAPED.sub(r"\1", value)
            at = element.end()
        if at == match.end():
            return None
    if text[at : at + 1] not in ("", " ", "\n"):
        return None
    event = event_of(_with_priority(match.groupdict()), times)
    message = text[at + 1 :].removeprefix("\ufeff")
    event["message"] = message
    if data:
        event["attributes"] = {**event.get("attributes", {}), **data}
    return event


RFC3164: Final = TextFormat("rfc3164", _read_3164)
RFC5424: Final = TextFormat("rfc5424", _read_5424)
