"""Lines of the usual loggers: Python's, logback and log4j with Spring Boot's, klog, zap's console, Ruby's and Rails'.

Their JSON is that of any logger (`objects`).
"""

from __future__ import annotations

import re
from typing import Any, Final

import orjson

from ess_ray.intake.lines.text_format import (
    ISO_STAMP,
    JAVA_LEVELS,
    PYTHON_LEVELS,
    Event,
    TextFormat,
    event_of,
    level_of_status,
    of_patterns,
)
from ess_ray.intake.lines.times import LineReader

_NAME: Final = r"[A-Za-z_][\w.\-]*"
PYTHON: Final = of_patterns(
    "python",
    # %(asctime)s - %(name)s - %(levelname)s - %(message)s, of the manual, and the same with bars
    rf"(?P<at>{ISO_STAMP}) (?:-|\|) (?P<logger>{_NAME}) +(?:-|\|) (?P<level>{PYTHON_LEVELS}) +(?:-|\|) ",
    # loguru
    rf"(?P<at>{ISO_STAMP}) \| (?P<level>{PYTHON_LEVELS}|TRACE|SUCCESS) +\| (?P<logger>[\w.<>]+):(?P<function>[\w<>]+):"
    r"(?P<line>\d+) - ",
    # logging.basicConfig()
    rf"(?P<level>{PYTHON_LEVELS}):(?P<logger>{_NAME}):",
    # Flask; gunicorn; celery
    rf"\[(?P<at>{ISO_STAMP})\] (?P<level>{PYTHON_LEVELS}) in (?P<logger>{_NAME}): ",
    rf"\[(?P<at>{ISO_STAMP})\] \[(?P<pid>\d+)\] \[(?P<level>{PYTHON_LEVELS})\] ",
    rf"\[(?P<at>{ISO_STAMP}): (?P<level>{PYTHON_LEVELS})/(?P<process>[\w-]+)\] ",
    # asctime levelname name: message; and uvicorn's own
    rf"(?P<at>{ISO_STAMP}) \[?(?P<level>{PYTHON_LEVELS})\]? +\[?(?P<logger>{_NAME})\]?: ",
    rf"(?P<level>{PYTHON_LEVELS}): {{5}}(?=\S)",
)

_AT: Final = r"(?P<at>(?:\d{4}-\d\d-\d\d[T ])?\d\d:\d\d:\d\d[.,]\d{3,9}(?:Z|[+-]\d\d:?\d\d)?)"
_LOGGER: Final = r"(?P<logger>[A-Za-z_][\w.$/\[\]]*)"
JAVA: Final = of_patterns(
    "java",
    # Spring Boot
    rf"{_AT} +(?P<level>{JAVA_LEVELS}) (?P<pid>\d+) --- (?:\[(?P<application>[^\]]*)\] )?\[(?P<thread>[^\]]*)\] "
    rf"(?:\[[^\]]*\] )?{_LOGGER} *: ",
    # logback's usual pattern, and the same with the level first, as log4j's
    rf"{_AT} \[(?P<thread>[^\]]*)\] (?P<level>{JAVA_LEVELS}) +{_LOGGER}(?::(?P<line>\d+))?(?: \((?P<source>[^)]*)\))?"
    r"(?: -|:) ",
    rf"{_AT} \[?(?P<level>{JAVA_LEVELS})\]? +\[(?P<thread>[^\]]*)\] {_LOGGER}(?::(?P<line>\d+))?"
    r"(?: \((?P<source>[^)]*)\))?(?: -|:) ",
    rf"{_AT} (?P<level>{JAVA_LEVELS}) +{_LOGGER}(?::(?P<line>\d+))? - ",
)

_KLOG: Final = re.compile(
    r"(?P<level>[IWEF])(?P<month>\d\d)(?P<day>\d\d) (?P<clock>\d\d:\d\d:\d\d)\.(?P<micros>\d{6}) +(?P<pid>\d+) "
    r"(?P<source>[^\]\s]+:\d+)\] ",
    re.ASCII,
)
_LETTERS: Final = {
    "T": "TRACE",
    "D": "DEBUG",
    "I": "INFO",
    "W": "WARN",
    "E": "ERROR",
    "F": "FATAL",
    "A": "ALERT",
}
_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def _klog(text: str, times: LineReader) -> Event | None:
    match = _KLOG.match(text)
    if match is None or not 1 <= int(match["month"]) <= 12:
        return None
    found = {"level": _LETTERS[match["level"]], "pid": match["pid"], "source": match["source"]}
    event = event_of(found, times)
    # It has no year, and of its own kind is only the way it is written: as syslog's it is read.
    at_us = times.time_of(f"{_MONTHS[int(match['month']) - 1]} {int(match['day']):2d} {match['clock']}")
    if at_us is not None:
        event["timestamp"] = at_us + int(match["micros"])
    return event


KLOG: Final = TextFormat("klog", _klog)

_ZAP: Final = re.compile(
    rf"(?P<at>{ISO_STAMP})\t(?P<level>debug|info|warn|error|dpanic|panic|fatal|DEBUG|INFO|WARN|ERROR|DPANIC|PANIC|FATAL)"
    r"\t(?:(?P<logger>[\w.-]+)\t)?(?:(?P<caller>\S+:\d+)\t)?(?P<words>[^\t\n]*)(?:\t(?P<fields>\{.*\}))?",
    re.ASCII,
)


def _zap(text: str, times: LineReader) -> Event | None:
    match = _ZAP.match(text)
    if match is None:
        return None
    found = match.groupdict()
    del found["words"]
    fields = found.pop("fields")
    event = event_of(found, times)
    try:
        given = orjson.loads(fields) if fields else {}
    except orjson.JSONDecodeError:
        given = {}  # they stand in the message all the same
    if given:
        event["attributes"] = {**given, **event.get("attributes", {})}
    return event


ZAP_CONSOLE: Final = TextFormat("zap-console", _zap)

_RUBY: Final = re.compile(
    rf"[TDIWEFA], \[(?P<at>{ISO_STAMP}) #(?P<pid>\d+)\] +(?P<level>DEBUG|INFO|WARN|ERROR|FATAL|ANY) -- "
    r"(?P<program>[^\n:]*): (?:\[(?P<request_id>[0-9a-f-]{32,36})\] )?",
    re.ASCII,
)
_STARTED: Final = re.compile(
    r'(?:\[(?P<request_id>[0-9a-f-]{32,36})\] )?Started (?P<method>[A-Z]+) "(?P<path>[^"]*)" for (?P<client>\S+) at '
    r"(?P<at>\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?: [+-]\d{4})?)"
)
_COMPLETED: Final = re.compile(r"(?:\[[0-9a-f-]{32,36}\] )?Completed (?P<status>\d{3}) .*?in (?P<duration_ms>[\d.]+)ms")
_OTHERS: Final = re.compile(
    r"(?:\[(?P<request_id>[0-9a-f-]{32,36})\] )?(?:Processing by (?P<action>[\w:]+#\w+) as|"
    r"  Parameters: \{|  Render(?:ed|ing) |Redirected to |Filter chain halted |Sent file |"
    r"  (?:\x1b\[[\d;]*m)*[A-Z]\w* (?:Load|Exists\?|Create|Update|Destroy) )"
)


def _rails(text: str, times: LineReader) -> Event | None:
    ruby = _RUBY.match(text)
    found: dict[str, Any] = {} if ruby is None else ruby.groupdict()
    rest = text if ruby is None else text[ruby.end() :]
    own = _STARTED.match(rest) or _COMPLETED.match(rest) or _OTHERS.match(rest)
    if own is not None:
        found |= {name: value for name, value in own.groupdict().items() if value is not None and name not in found}
    elif ruby is None:
        return None
    if found.get("level") in (None, "INFO", "ANY") and "status" in found:
        found["level"] = level_of_status(found["status"])
    return event_of(found, times)


RAILS: Final = TextFormat("rails", _rails)
