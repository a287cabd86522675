"""Times on the command line: the zone of those without an offset, and the range that a command looks at."""

from __future__ import annotations

import functools
import os
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from typing import Concatenate, Final, ParamSpec

import click

from ess_ray.core.errors import BadRequest
from ess_ray.core.timestamps import format_timestamp, parse_timestamp_us
from ess_ray.language import parse_length_us, parse_time_us, zone_named

P = ParamSpec("P")

ALL: Final = "all"
"""--since from the beginning."""
_SECOND_US: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Zone:
    """The zone of times without an offset. `given` as --tz names it; None: this machine's, and then `zone` is None."""

    given: str | None = None
    zone: tzinfo | None = None

    @property
    def name(self) -> str:
        """Name it for people."""
        if self.given is not None:
            return self.given
        offset = f"{datetime.now().astimezone():%z}"
        return "UTC" if offset == "+0000" else f"local time, UTC{offset[:3]}:{offset[3:]}"

    @property
    def told(self) -> str | None:
        """Name it for the system, which knows no zone of this machine; None: not given. Raises BadRequest."""
        return local_name() if self.given == "local" else self.given

    def shown(self, us: int) -> str:
        """Write a time as people read it, in this zone."""
        seconds, micros = divmod(us, _SECOND_US)
        moment = datetime.fromtimestamp(seconds, UTC).astimezone(self.zone)
        return f"{moment:%Y-%m-%d %H:%M:%S}" + (f".{micros:06d}" if micros else "")

    def rewritten(self, timestamp: str) -> str:
        """Write an answer's timestamp in this zone where --tz was given, with its offset; else as it is."""
        if self.given is None:
            return timestamp
        seconds, micros = divmod(parse_timestamp_us(timestamp), _SECOND_US)
        moment = datetime.fromtimestamp(seconds, UTC).astimezone(self.zone).replace(microsecond=micros)
        return moment.isoformat(timespec="microseconds")

    def bound(self, text: str) -> str | int:
        """Read a bound as the interface takes it: `15m` is 15 minutes ago, `all` the beginning. Raises BadRequest.

        What depends on now is left to the server's clock; days and times without an offset are this zone's.
        """
        us = self.bound_us(text)
        if text == ALL:
            return 0
        if parse_length_us(text) is not None:
            return f"-{text}"
        return text if text.startswith(("+", "-", "now")) else format_timestamp(us)

    def bound_us(self, text: str) -> int:
        """Read a bound by this machine's clock. Raises BadRequest."""
        if text == ALL:
            return 0
        ago = f"-{text}" if parse_length_us(text) is not None else text
        us = parse_time_us(ago, time.time_ns() // 1000, self.zone)
        assert us is not None  # a text is never no bound
        return us


LOCAL: Final = Zone()


def local_name() -> str:
    """Name this machine's zone as the IANA database does. Raises BadRequest where nothing tells it."""
    linked = os.path.realpath("/etc/localtime").partition("/zoneinfo/")[2]
    for name in (os.environ.get("TZ", "").lstrip(":"), linked):
        with suppress(BadRequest):
            return zone_named(name)[0]
    raise BadRequest("what this machine's time zone is called is not known: name it, such as --tz Europe/Berlin")


def read_zone(text: str) -> Zone:
    """Read --tz: a zone's name, an offset (+03:00), or `local`. Raises click.BadParameter."""
    if text == "local":
        return Zone("local")
    try:
        return Zone(*zone_named(text))
    except BadRequest as error:
        raise click.BadParameter(error.message) from error


def _read_option(_: click.Context, __: click.Parameter, value: str | None) -> Zone:
    return LOCAL if value is None else read_zone(value)


tz_option = click.option(
    "--tz",
    "zone",
    metavar="ZONE",
    callback=_read_option,
    help="Of times without an offset: Europe/Berlin, +03:00, UTC.  [default: this machine's]",
)
TIME_FORMS: Final = "15m, 1h30m or 7d ago, 2026-11-20, '2026-11-20 10:00', today, yesterday, RFC 3339, or all"


@dataclass(frozen=True, slots=True)
class Range:
    """From when to when a command looks, as it was typed."""

    since: str
    until: str | None
    zone: Zone

    def bounds(self) -> dict[str, str | int]:
        """Give `start` and `end` as the interface takes them. Raises BadRequest."""
        end = {} if self.until is None else {"end": self.zone.bound(self.until)}
        return {"start": self.zone.bound(self.since), **end}

    def in_words(self) -> str:
        """Tell it by this machine's clock, and whose times these are."""
        first = "the beginning" if self.since == ALL else self.zone.shown(self.zone.bound_us(self.since))
        last = "now" if self.until in (None, "now") else self.zone.shown(self.zone.bound_us(self.until))
        return f"from {first} to {last} ({self.zone.name})"

    def arguments(self, start: str | None = None) -> list[str]:
        """Give the options that ask for it again; with `start`, for what lies from there on."""
        until = [] if self.until is None or start is not None else ["--until", self.until]
        given = [] if self.zone.given is None else ["--tz", self.zone.given]
        return ["--since", self.since if start is None else start, *until, *given]


DEFAULT_SINCE: Final = "1h"


def with_range_from(since: str) -> Callable[[Callable[Concatenate[Range, P], None]], Callable[..., None]]:
    """Give what adds --since (which is `since` where nobody says), --until and --tz, and calls with the Range first."""
    options = (
        click.option("--since", default=since, show_default=True, metavar="TIME", help=f"From: {TIME_FORMS}."),
        click.option("--until", metavar="TIME", help="Up to (exclusive): as --since. No bound if left out."),
        tz_option,
    )

    def decorate(function: Callable[Concatenate[Range, P], None]) -> Callable[..., None]:
        @functools.wraps(function)
        def run(*args: P.args, **kwargs: P.kwargs) -> None:
            since, until, zone = (kwargs.pop(name) for name in ("since", "until", "zone"))
            function(Range(since, until, zone), *args, **kwargs)  # type: ignore[arg-type]

        for option in reversed(options):
            run = option(run)
        return run

    return decorate


with_range: Final = with_range_from(DEFAULT_SINCE)
