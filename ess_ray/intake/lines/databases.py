"""Logs of PostgreSQL and MySQL."""

from __future__ import annotations

import re
from typing import Final

from ess_ray.intake.lines.text_format import Event, TextFormat, event_of, number_or_text
from ess_ray.intake.lines.times import LineReader

_SEVERITIES: Final = {
    **dict.fromkeys(("LOG", "INFO", "DETAIL", "HINT", "QUERY", "CONTEXT", "LOCATION", "STATEMENT"), "INFO"),
    **{f"DEBUG{level}": "DEBUG" for level in range(1, 6)},
    **{"NOTICE": "NOTICE", "WARNING": "WARN", "ERROR": "ERROR", "FATAL": "FATAL", "PANIC": "EMERGENCY"},
}
_SEVERITY: Final = rf"(?P<severity>{'|'.join(_SEVERITIES)}): "
_AT: Final = r"(?P<at>\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?:\.\d+)? (?:[A-Z]{2,5}|[+-]\d\d(?::?\d\d)?))"
_POSTGRES: Final = (
    # log_line_prefix '%m [%p] %q%u@%d ' and what is near it, also with the session's line number
    re.compile(
        rf"{_AT} \[(?P<pid>\d+)(?:-\d+)?\](?::? \[\d+-\d+\])?:? (?:(?P<user>[^@\s]*)@(?P<database>\S*) )?"
        rf"(?:[^\n:]{{1,100}}? )?{_SEVERITY}",
        re.ASCII,
    ),
    # Amazon RDS: %t:%r:%u@%d:[%p]:
    re.compile(
        rf"{_AT}:(?P<client>[^:\s]*):(?P<user>[^@\s]*)@(?P<database>[^:\s]*):\[(?P<pid>\d+)\]:{_SEVERITY}", re.ASCII
    ),
)


def _postgres(text: str, times: LineReader) -> Event | None:
    match = next(filter(None, (pattern.match(text) for pattern in _POSTGRES)), None)
    if match is None:
        return None
    severity = match["severity"]
    return event_of({**match.groupdict(), "level": _SEVERITIES[severity]}, times)


POSTGRES: Final = TextFormat("postgres", _postgres)

SLOW_STARTS: Final = ("# Time:", "# User@Host:")
_TIME: Final = re.compile(r"^# Time: +(\S.*)$", re.MULTILINE)
_SHORT_TIME: Final = re.compile(r"(\d\d)(\d\d)(\d\d) +(\d?\d:\d\d:\d\d)", re.ASCII)
_USER: Final = re.compile(
    r"^# User@Host: (?P<user>[^\s\[]*)(?:\[[^\]]*\])? @ +(?P<client>\S*) *\[(?P<address>[^\]]*)\]", re.MULTILINE
)
_FIGURE: Final = re.compile(r"(\b[A-Z]\w+): +(\S+)")
_SET_TIME: Final = re.compile(r"^SET timestamp=(\d+(?:\.\d+)?);", re.MULTILINE)
_USE: Final = re.compile(r"^use (\S+);$", re.MULTILINE | re.IGNORECASE)


def _mysql_slow(text: str, times: LineReader) -> Event | None:
    if not text.startswith(SLOW_STARTS):
        # The server writes three lines whenever it opens the file.
        return {} if "started with:" in text and "Version:" in text else None
    event: Event = {}
    attributes: dict[str, str | int | float] = {}
    if (user := _USER.search(text)) is not None:
        attributes |= {name: value for name, value in user.groupdict().items() if value}
    for line in text.split("\n"):
        if line.startswith("# ") and not line.startswith(SLOW_STARTS):
            for name, value in _FIGURE.findall(line):
                attributes[name.lower()] = _decimal(value)
    if (database := _USE.search(text)) is not None:
        attributes["database"] = database[1].strip("`")
    if (at_us := _slow_time(text, times)) is not None:
        event["timestamp"] = at_us
    return {**event, "attributes": attributes}


def _decimal(value: str) -> str | int | float:
    """Read what MySQL writes with six digits behind the point, whichever of them are zeros."""
    try:
        return float(value) if "." in value else number_or_text(value)
    except ValueError:
        return value


def _slow_time(text: str, times: LineReader) -> int | None:
    if (found := _TIME.search(text)) is not None:
        short = _SHORT_TIME.match(found[1])
        if short is None:
            return times.time_of(found[1])
        year, month, day, clock = short.groups()
        return times.time_of(f"20{year}-{month}-{day} {clock:0>8}")
    found = _SET_TIME.search(text)
    return None if found is None else times.time_of(found[1])


MYSQL_SLOW: Final = TextFormat("mysql-slow", _mysql_slow)

_MYSQL: Final = re.compile(
    r"(?P<at>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+(?:Z|[+-]\d\d:\d\d)) (?P<thread>\d+) "
    r"\[(?P<kind>Note|System|Warning|ERROR)\]"
    r"(?: \[(?P<code>MY-\d+)\])?(?: \[(?P<subsystem>\w+)\])? ",
    re.ASCII,
)
_KINDS: Final = {"Note": "INFO", "System": "INFO", "Warning": "WARN", "ERROR": "ERROR"}


def _mysql(text: str, times: LineReader) -> Event | None:
    match = _MYSQL.match(text)
    if match is None:
        return None
    found = match.groupdict()
    return event_of({**found, "kind": None, "level": _KINDS[found["kind"]]}, times)


MYSQL: Final = TextFormat("mysql", _mysql)
