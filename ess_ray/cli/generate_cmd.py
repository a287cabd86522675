"""`ess generate`: made-up events, pushed or written to a file."""

from __future__ import annotations

import sys
import time
import uuid
from collections.abc import Iterator
from typing import Final

import click
import orjson

from ess_ray.cli.client import Client, Target
from ess_ray.cli.files import writing
from ess_ray.cli.items import Item
from ess_ray.cli.options import Chosen, json_option, with_settings
from ess_ray.cli.output import print_json, progress
from ess_ray.cli.upload import BATCH_EVENTS, Keys, Summary, cut, send
from ess_ray.core.errors import BadRequest
from ess_ray.core.timestamps import parse_timestamp_us
from ess_ray.generate import SECOND_US, Event, events

BATCHES_PER_S: Final = 10
"""At a given rate: how often a request goes out, so that the pace is even."""
DEFAULT_SPAN_S: Final = 3600.0


@click.command()
@click.option("--events", "count", type=click.IntRange(1), default=10_000, show_default=True, help="How many.")
@click.option("--seed", type=int, default=1, show_default=True, help="The same seed and --end give the same events.")
@click.option("--rate", type=click.FloatRange(0, min_open=True), help="Events a second; no limit if left out.")
@click.option(
    "--span-s", type=click.FloatRange(0, min_open=True), default=DEFAULT_SPAN_S, show_default=True,
    help="Seconds that the events' times cover, up to --end. With --rate they follow the clock instead.",
)  # fmt: skip
@click.option("--end", metavar="TIME", help="RFC 3339 time that all events lie before; now if left out.")
@click.option(
    "--output", type=click.Path(dir_okay=False, allow_dash=True), metavar="FILE|-", help="Write NDJSON, push nothing."
)
@json_option
@with_settings
def generate(
    chosen: Chosen,
    /,
    *,
    count: int,
    seed: int,
    rate: float | None,
    span_s: float,
    end: str | None,
    output: str | None,
    as_json: bool,
) -> None:
    """Make realistic events of a small web shop and push them, or write them to a file."""
    end_us = _end_us(end, rate, count)
    made = events(count, seed, end_us, round((count / rate if rate else span_s) * SECOND_US))
    paced = made if rate is None else _paced(made, rate)
    started_s = time.monotonic()
    if output is not None:
        _write(paced, output, count)
        return
    batch = BATCH_EVENTS if rate is None else max(1, min(BATCH_EVENTS, round(rate / BATCHES_PER_S)))
    summary = push_events(chosen.target(), paced, count, batch)
    took_s = time.monotonic() - started_s
    counts = {"accepted": summary.accepted, "rejected": summary.rejected, "adjusted": summary.adjusted}
    if as_json:
        print_json({**counts, "elapsed_s": round(took_s, 3)})
    else:
        per_s = summary.accepted / max(took_s, 1e-9)
        accepted = f"{summary.accepted:,} accepted{summary.adjusted_in_words()}"
        click.echo(f"{accepted}, {summary.rejected:,} rejected in {took_s:.1f} s ({per_s:,.0f}/s)")
    if summary.rejected:
        sys.exit(1)


def push_events(target: Target, made: Iterator[Event], count: int, batch: int = BATCH_EVENTS) -> Summary:
    """Push `count` events with a progress bar. Raises EssError."""
    summary = Summary()
    keys = Keys(uuid.uuid4().hex)  # fresh each time: generating the same events twice is meant twice
    with Client(target) as client, progress("pushing", count) as bar:
        batches = map(keys.batch, cut(_items(made), summary, batch))
        send(client, batches, summary, lambda now: bar(now.accepted + now.rejected))
    return summary


def _end_us(end: str | None, rate: float | None, count: int) -> int:
    if end is None:
        # At a rate, the last event's time is when it will be sent.
        return time.time_ns() // 1000 + (round(count / rate * SECOND_US) if rate else 0)
    try:
        return parse_timestamp_us(end)
    except ValueError as error:
        raise BadRequest(f"--end: {error}") from error


def _paced(made: Iterator[Event], rate: float) -> Iterator[Event]:
    started_s = time.monotonic()
    for number, event in enumerate(made):
        ahead_s = started_s + number / rate - time.monotonic()
        if ahead_s > 1 / BATCHES_PER_S:
            time.sleep(ahead_s)
        yield event


def _items(made: Iterator[Event]) -> Iterator[Item]:
    for position, event in enumerate(made, 1):
        yield Item(position, orjson.dumps(event), None)


def _write(made: Iterator[Event], output: str, count: int) -> None:
    with writing(output), click.open_file(output, "wb") as file, progress("writing", count) as bar:
        for number, event in enumerate(made, 1):
            file.write(orjson.dumps(event, option=orjson.OPT_APPEND_NEWLINE))
            if number % BATCH_EVENTS == 0:
                bar(number)
