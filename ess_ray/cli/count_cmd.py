"""`ess count`: how many events match, per time bucket and group."""

from __future__ import annotations

from typing import Any

import click

from ess_ray.cli.client import Client, Target
from ess_ray.cli.follow import asking, end, show_progress
from ess_ray.cli.options import executor_option, json_option, with_target
from ess_ray.cli.output import json_line, print_counts, progress, write
from ess_ray.cli.question import QueryCommand
from ess_ray.cli.tables import NOTHING, print_table, tell_ignored
from ess_ray.cli.told import tell_hints, tell_no_field
from ess_ray.cli.when import Range, Zone, with_range


@click.command(cls=QueryCommand)
@click.argument("query", default="*")
@click.option("--by", multiple=True, metavar="FIELD", help="Group by a field, or an attribute; may be given again.")
@click.option("--interval", metavar="WIDTH", help="Per time bucket: 30s, 1m, 6h, 1d, or auto.")
@click.option("--top", type=click.IntRange(1, 1000), default=10, show_default=True, help="Groups told by themselves.")
@click.option("--stats", multiple=True, metavar="FUNCTION", help="Also p95(ms), avg(ms), rate(), ...; several times.")
@click.option("--order-by", metavar="FUNCTION", help="Groups with the largest first: by p95(ms), say, not by count.")
@with_range
@executor_option
@json_option
@with_target
def count(  # noqa: PLR0913 (click gives each option by its name)
    target: Target,
    range_: Range,
    /,
    *,
    query: str,
    by: tuple[str, ...],
    interval: str | None,
    top: int,
    stats: tuple[str, ...],
    order_by: str | None,
    executor: str | None,
    as_json: bool,
) -> None:
    """Count the events that match QUERY (--json: one JSON object a bucket and line).

    \b
    ess count level:ERROR --since 1d
    ess count --by service --by level --top 20
    ess count timeout --interval auto --by attributes.region
    ess count --by service --stats 'p95(ms)' --order-by 'p95(ms)'

    Buckets begin at multiples of their width, days and weeks at the midnights of --tz (else of UTC), and are shown in
    its time; those without events are left out. Exit codes as for search.
    """
    body: dict[str, Any] = {"query": query, **range_.bounds(), "interval": interval, "by": list(by), "top": top}
    if range_.zone.given is not None:
        body["time_zone"] = range_.zone.told
    if executor is not None:
        body["executor"] = executor
    if stats:
        body["stats"] = list(stats)
    if order_by is not None:
        body["order_by"] = order_by
    with (
        Client(target) as client,
        asking(client, "/search/v1/aggregations", body) as pages,
        progress("counting", None) as bar,
    ):
        for page in pages:
            show_progress(bar, page)
    if as_json:
        write(b"".join(json_line(bucket) for bucket in page["buckets"]))
    elif stats:
        _print_statistics(page, by, stats, range_.zone)
    else:
        heads = [*(["time"] if page["interval_s"] is not None else []), *by]
        print_counts(heads, [(_cells(bucket, range_.zone), bucket["count"]) for bucket in page["buckets"]])
    if page["buckets"]:
        absent = [name for name in by if all(_lacks(bucket, name) for bucket in page["buckets"])]
        tell_no_field(absent, range_, complete=page["complete"], query=query)
    grouped = [part for name in by for part in ("--by", name)]
    grouped += [part for function in stats for part in ("--stats", function)]
    grouped += [] if order_by is None else ["--order-by", order_by]
    options = [*grouped, *([] if interval is None else ["--interval", interval]), "--top", str(top)]
    tell_hints(page, "count", query, range_, [*options, *target.arguments])
    end(page)


def _print_statistics(page: dict[str, Any], by: tuple[str, ...], stats: tuple[str, ...], zone: Zone) -> None:
    times = [] if page["interval_s"] is None else ["time"]
    columns = [{"name": name, "type": "text"} for name in (*times, *by)]
    columns += [{"name": name, "type": "number"} for name in ("count", *stats)]
    rows = [
        [*_cells(bucket, zone), bucket["count"], *(bucket["stats"][name] for name in stats)]
        for bucket in page["buckets"]
    ]
    print_table(columns, rows, zone)
    tell_ignored(page)


def _lacks(bucket: dict[str, Any], name: str) -> bool:
    return not bucket.get("other") and bucket["by"].get(name) is None


def _cells(bucket: dict[str, Any], zone: Zone) -> list[str]:
    values = ["other" if bucket.get("other") else _text(value) for value in bucket["by"].values()]
    return [*([] if bucket["start"] is None else [zone.rewritten(bucket["start"])]), *values]


def _text(value: str | None) -> str:
    return NOTHING if value is None else value
