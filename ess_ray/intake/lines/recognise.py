"""Which format an input is of, by its first lines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from ess_ray.intake.lines.catalog import JOURNAL_EXPORT, JSON_LINES, TEXT, TEXT_FORMATS
from ess_ray.intake.lines.databases import MYSQL_SLOW, SLOW_STARTS
from ess_ray.intake.lines.joining import Caps, Quotes, join
from ess_ray.intake.lines.objects import load_object
from ess_ray.intake.lines.tables import (
    CSV,
    TSV,
    VPC_DEFAULT,
    VPC_FLOW,
    W3C,
    is_vpc_header,
    looks_like_header,
    record_of,
)
from ess_ray.intake.lines.texts import Text, is_docker, open_cri
from ess_ray.intake.lines.times import LineReader
from ess_ray.intake.lines.traces import Indented, Joiner

SAMPLE_LINES: Final = 300
"""So many lines decide: what is different behind them is stored as plain messages, and told."""
_MIN_SHARE: Final = 0.5
"""Of the events of a sample, that a format must understand."""
_NEAR_START: Final = 20
"""Lines in which a header stands."""


def recognise(lines: Sequence[str], now_us: int) -> str:
    """Name the format of an input that begins with these lines; TEXT where it is none that is known."""
    sample = [line.removesuffix("\r") for line in lines[:SAMPLE_LINES]]
    sample = [line for line in sample if line.strip()]
    if not sample:
        return TEXT
    return _objects(sample) or _enveloped(sample) or _table(sample) or _text(sample, now_us)


def _objects(sample: Sequence[str]) -> str | None:
    objects = [found for line in sample if (found := load_object(line)) is not None]
    if len(objects) < _MIN_SHARE * len(_events(sample, Indented())):
        return None
    return "docker" if sum(map(is_docker, objects)) > len(objects) / 2 else JSON_LINES


def _enveloped(sample: Sequence[str]) -> str | None:
    if sample[0].startswith("__CURSOR=") or (
        sample[0].startswith("__") and any(line.startswith("__REALTIME_TIMESTAMP=") for line in sample[:_NEAR_START])
    ):
        return JOURNAL_EXPORT
    if sum(open_cri(line) is not None for line in sample) >= _MIN_SHARE * len(sample):
        return "cri"
    if sum(line.startswith(SLOW_STARTS) for line in sample) and any(
        line.startswith("# Query_time:") for line in sample
    ):
        return MYSQL_SLOW.name
    return None


def _table(sample: Sequence[str]) -> str | None:
    first = sample[0]
    if first.startswith("#") and any(line.startswith("#Fields:") for line in sample[:_NEAR_START]):
        return W3C.name
    if is_vpc_header(first) or all(_is_vpc(line) for line in sample):
        return VPC_FLOW.name
    for table, delimiter in ((TSV, "\t"), (CSV, ",")):
        if delimiter not in first or not looks_like_header(first, delimiter):
            continue
        # The last one may be cut off.
        records = [record_of(text, delimiter) for text in _events(sample, Quotes())][1:]
        whole = records[:-1] or records
        if whole and all(
            record is not None and len(record) == len(record_of(first, delimiter) or ()) for record in whole
        ):
            return table.name
    return None


def _is_vpc(line: str) -> bool:
    fields = line.split(" ")
    return len(fields) == len(VPC_DEFAULT.split()) and fields[0] == "2" and fields[2].startswith("eni-")


def _text(sample: Sequence[str], now_us: int) -> str:
    events = _events(sample, Indented())
    times = LineReader(now_us, decided=True)  # which zone it is does not matter here
    hits = [sum(one.read(text, times) is not None for text in events) for one in TEXT_FORMATS]
    best = max(hits)
    return TEXT_FORMATS[hits.index(best)].name if best >= _MIN_SHARE * len(events) else TEXT


def _events(sample: Sequence[str], joiner: Joiner) -> list[str]:
    groups = join((Text(line) for line in sample), joiner, Caps())
    return ["\n".join(text.text for text in group) for group in groups]
