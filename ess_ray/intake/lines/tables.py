"""Tables of text, whose columns a line before names: CSV and TSV, IIS and others by W3C, and VPC flow logs."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from ess_ray.core.aliases import COLUMN_OF, SENT_AS
from ess_ray.intake.lines.text_format import Event, level_of_status, number_or_text
from ess_ray.intake.lines.times import LineReader
from ess_ray.intake.names import kept_apart

MAX_HEADER_CHARS: Final = 16 * 1024
"""A header is kept with a file's stand; a first line that is longer is no header of a log."""


@dataclass(frozen=True, slots=True)
class Table:
    """A format with a header. `is_header(text, is_first)`: this line names the columns of those after it, or is a
    comment; `header_of` gives what is kept of one, None for a comment. `read(text, times, header)` reads a record."""

    name: str
    is_header: Callable[[str, bool], bool]
    header_of: Callable[[str], str | None]
    read: Callable[[str, LineReader, str], Event | None]


def record_of(text: str, delimiter: str) -> list[str] | None:
    """Give the fields of one record; None where it is not one."""
    try:
        rows = list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True))
    except csv.Error:
        return None
    return rows[0] if len(rows) == 1 else None


def _separated(delimiter: str) -> Callable[[str, LineReader, str], Event | None]:
    def read(text: str, times: LineReader, header: str) -> Event | None:
        names, values = record_of(header, delimiter), record_of(text, delimiter)
        if names is None or values is None or len(names) != len(values):
            return None
        return _event(names, values, times)

    return read


def _event(names: Sequence[str], values: Sequence[str], times: LineReader) -> Event:
    called = [name.strip() or f"column_{at}" for at, name in enumerate(names)]
    given = kept_apart(pair for pair in zip(called, values, strict=True) if pair[1] != "")
    event: Event = {}
    taken: dict[str, str] = {}  # column of ours -> name of theirs
    lower = {name.lower(): name for name in reversed(given)}
    for own, others in SENT_AS.items():
        found = next((lower[name.lower()] for name in (own, *others) if name.lower() in lower), None)
        if found is not None and own != "timestamp":
            event[own] = given[found]
            taken[own] = found
    if (at := _time(lower, given, times)) is not None:
        event["timestamp"], used = at
        taken |= {name: name for name in used}
    rest = {name: number_or_text(value) for name, value in given.items() if name not in taken.values()}
    return {**event, "attributes": rest} if rest else event


def _time(lower: dict[str, str], given: dict[str, str], times: LineReader) -> tuple[int, list[str]] | None:
    """Give a record's time, and the columns that tell it: one, or a day and a clock."""
    if "date" in lower and "time" in lower:
        day, clock = lower["date"], lower["time"]
        if (at_us := times.time_of(f"{given[day]} {given[clock]}")) is not None:
            return at_us, [day, clock]
    for name in ("timestamp", *SENT_AS["timestamp"], "datetime", "eventtime", "timecreated", "created_at"):
        if (own := lower.get(name.lower())) is not None and (at_us := times.time_of(given[own])) is not None:
            return at_us, [own]
    return None


def _first(text: str, is_first: bool) -> bool:
    return is_first and len(text) <= MAX_HEADER_CHARS


CSV: Final = Table("csv", _first, str, _separated(","))
TSV: Final = Table("tsv", _first, str, _separated("\t"))
_TIME_NAMES: Final = frozenset(
    {"timestamp", *SENT_AS["timestamp"], "datetime", "eventtime", "timecreated", "created_at"}
)
_COLUMN: Final = re.compile(r"[A-Za-z_@#][\w .@()/:%#-]{0,63}")


def looks_like_header(text: str, delimiter: str) -> bool:
    """Tell whether a first line names columns, one of which is a time, or two of which are fields of ours."""
    names = record_of(text, delimiter) if len(text) <= MAX_HEADER_CHARS else None
    if names is None or len(names) < 2 or not all(_COLUMN.fullmatch(name.strip()) for name in names):
        return False
    lower = {name.strip().lower() for name in names}
    ours = lower & {*COLUMN_OF, *SENT_AS}
    return len(lower) == len(names) and (not lower.isdisjoint(_TIME_NAMES) or len(ours) >= 2)


_FIELDS: Final = "#Fields:"


def _w3c(text: str, times: LineReader, header: str) -> Event | None:
    names, values = header.split(), text.split(" ")
    if not names or len(names) != len(values):
        return None
    given = kept_apart(pair for pair in zip(names, values, strict=True) if pair[1] != "-")
    event: Event = {}
    if "time" in given:
        # W3C's times are of Greenwich.
        day = given.get("date", "")
        if (at_us := times.time_of(f"{day} {given['time']}Z")) is not None:
            event["timestamp"] = at_us
            given = {name: value for name, value in given.items() if name not in ("date", "time")}
    if (level := level_of_status(given.get("sc-status", ""))) is not None:
        event["level"] = level
    if (host := given.pop("s-computername", None)) is not None:
        event["host"] = host
    event["attributes"] = {name: number_or_text(value) for name, value in given.items()}
    return event


W3C: Final = Table(
    "w3c",
    lambda text, _: text.startswith("#") and len(text) <= MAX_HEADER_CHARS,
    lambda text: text.removeprefix(_FIELDS).strip() if text.startswith(_FIELDS) else None,
    _w3c,
)

VPC_DEFAULT: Final = (
    "version account-id interface-id srcaddr dstaddr srcport dstport protocol packets bytes start end action log-status"
)
"""The fields of version 2, which stand in the order that CloudWatch gives them without a header."""
_VPC_NAMES: Final = frozenset(VPC_DEFAULT.split())


def is_vpc_header(text: str) -> bool:
    """Tell whether a line is the header of a VPC flow log's file."""
    return len(_VPC_NAMES & set(text.split(" "))) >= 4 and len(text) <= MAX_HEADER_CHARS


def _vpc(text: str, times: LineReader, header: str) -> Event | None:
    names, values = (header or VPC_DEFAULT).split(" "), text.split(" ")
    if len(names) != len(values):
        return None
    given = {name: value for name, value in zip(names, values, strict=True) if value != "-"}
    if not given.get("start", "0").isdigit() or given.get("action", "ACCEPT") not in ("ACCEPT", "REJECT"):
        return None
    if not header and not (values[0] == "2" and values[2].startswith("eni-")):
        return None
    event: Event = {}
    if "start" in given and (at_us := times.time_of(given["start"])) is not None:
        event["timestamp"] = at_us
    if "action" in given:
        event["level"] = "INFO" if given["action"] == "ACCEPT" else "WARN"
    # An account is a name of twelve digits.
    event["attributes"] = {
        name: value if name == "account-id" else number_or_text(value) for name, value in given.items()
    }
    return event


VPC_FLOW: Final = Table("vpc-flow", lambda text, _: is_vpc_header(text), str, _vpc)
