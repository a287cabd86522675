"""Access and error logs of HTTP servers and load balancers: Apache, nginx, and Amazon's ELB and ALB."""

from __future__ import annotations

import re
from typing import Final

from ess_ray.intake.lines.text_format import (
    QUOTED,
    Event,
    TextFormat,
    event_of,
    level_of_status,
    of_patterns,
)
from ess_ray.intake.lines.times import LineReader

_COMMON: Final = re.compile(
    r"(?:(?P<vhost>[\w.-]+:\d{1,5}) )?(?P<client>[^\s\[]+) \S+ (?P<user>[^\[\n]{1,200}?) "
    r"\[(?P<at>\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d(?:\.\d+)? [+-]\d{4})\] "
    rf"{QUOTED.replace('(', '(?P<request>', 1)} (?P<status>\d{{3}}|-) (?P<size>\d+|-)"
    rf"(?: {QUOTED.replace('(', '(?P<referer>', 1)} {QUOTED.replace('(', '(?P<user_agent>', 1)})?(?=\s|$)",
    re.ASCII,
)
_REQUEST: Final = re.compile(r"(?P<method>[A-Za-z_-]{1,32}) (?P<path>\S+)(?: (?P<protocol>HTTP/[\d.]+))?", re.ASCII)


def _with_request(found: dict[str, str | None], status: str | None, times: LineReader) -> Event:
    """Take a request's line apart, and tell the level by the status."""
    request = _REQUEST.fullmatch(found["request"] or "")
    if request is not None:
        del found["request"]
        found |= request.groupdict()
    if status is not None and (level := level_of_status(status)) is not None:
        found["level"] = level
    return event_of(found, times)


def _common(text: str, times: LineReader) -> Event | None:
    match = _COMMON.match(text)
    return None if match is None else _with_request(match.groupdict(), match["status"], times)


ACCESS: Final = TextFormat("access", _common)

NGINX_ERROR: Final = of_patterns(
    "nginx-error",
    r"(?P<at>\d{4}/\d\d/\d\d \d\d:\d\d:\d\d) \[(?P<level>debug|info|notice|warn|error|crit|alert|emerg)\] "
    r"(?P<pid>\d+)#(?P<tid>\d+): (?:\*(?P<connection>\d+) )?",
)
APACHE_ERROR: Final = of_patterns(
    "apache-error",
    r"\[(?P<at>[A-Z][a-z]{2} [A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d(?:\.\d+)? \d{4})\] "
    r"\[(?:(?P<module>[\w-]*):)?(?P<level>debug|info|notice|warn|error|crit|alert|emerg|trace\d)\] "
    r"(?:\[pid (?P<pid>\d+)(?::tid (?P<tid>\d+))?\] )?(?:\[client (?P<client>[^\]]+)\] )?",
)

_ADDRESS: Final = r"(?:[\da-fA-F.:\[\]]+:\d+|-)"
_TIMES: Final = (
    r"(?P<request_processing_time>-?[\d.]+) (?P<target_processing_time>-?[\d.]+) "
    r"(?P<response_processing_time>-?[\d.]+) (?P<status>\d{3}|-) (?P<target_status>\d{3}|-) "
    r"(?P<received_bytes>-?\d+) (?P<sent_bytes>-?\d+) "
    rf"{QUOTED.replace('(', '(?P<request>', 1)} {QUOTED.replace('(', '(?P<user_agent>', 1)} "
    r"(?P<ssl_cipher>\S+) (?P<ssl_protocol>\S+)"
)
_AT: Final = r"(?P<at>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z)"
_ALB: Final = re.compile(
    rf"(?P<type>https?|h2|grpcs|wss?) {_AT} (?P<elb>\S+) (?P<client>{_ADDRESS}) (?P<target>{_ADDRESS}) {_TIMES}"
    rf"(?: (?P<target_group_arn>\S+) {QUOTED.replace('(', '(?P<trace>', 1)}"
    rf" {QUOTED.replace('(', '(?P<domain_name>', 1)})?",
    re.ASCII,
)
_ELB: Final = re.compile(rf"{_AT} (?P<elb>\S+) (?P<client>{_ADDRESS}) (?P<target>{_ADDRESS}) {_TIMES}", re.ASCII)


def _balancer(pattern: re.Pattern[str], text: str, times: LineReader) -> Event | None:
    match = pattern.match(text)
    return None if match is None else _with_request(match.groupdict(), match["status"], times)


ALB: Final = TextFormat("alb", lambda text, times: _balancer(_ALB, text, times))
ELB: Final = TextFormat("elb", lambda text, times: _balancer(_ELB, text, times))
