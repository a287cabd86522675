"""`ess verify`: checks the stored table, in the data directory or bucket itself, and tells what is wrong."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import click

from ess_ray.adapters.kafka_log import KafkaLog
from ess_ray.adapters.kafka_settings import KafkaSettings, kafka_of
from ess_ray.adapters.places import DEAD_LETTERS, EVENTS, LOG, places_of
from ess_ray.adapters.sqlite_file import look_at
from ess_ray.cli.options import Chosen, json_option, with_settings
from ess_ray.cli.output import print_json, progress, tell
from ess_ray.cli.when import ALL, LOCAL
from ess_ray.core.errors import CorruptData, NotFound, Unavailable
from ess_ray.core.tenant import check_tenant
from ess_ray.runtime.processes import RUN_FILE, read_run_file
from ess_ray.settings import Settings
from ess_ray.table.mend import Broken, look
from ess_ray.table.verify import LogState, Problem, Report, verify

SHOWN = 50
"""Problems printed for people; `--json` has all."""


@click.command("verify")
@click.option("--deep", is_flag=True, help="Read every row: content hashes, order, offsets, indexes against messages.")
@click.option("--tenant", metavar="TENANT", help="Only this tenant's objects.")
@click.option("--since", metavar="TIME", help="Only objects with events from then on: as of ess search.")
@json_option
@with_settings
def verify_cmd(chosen: Chosen, *, deep: bool, tenant: str | None, since: str | None, as_json: bool) -> None:
    """Check the stored events against themselves and the log; changes nothing.

    Works on the data directory or bucket of the settings, with and beside a running system. Exit codes: 0 all is right,
    1 something is wrong or could not be checked, 2 usage.
    """
    settings = chosen.settings
    if tenant is not None:
        check_tenant(tenant)
    places = places_of(settings)
    if places.bucket is None and not (places.data_dir / EVENTS).is_dir():
        raise NotFound(f"there is no table in {places.data_dir}: say where with --data-dir, or name a bucket")
    since_us = None if since in (None, ALL) else LOCAL.bound_us(since)
    broken = look(places, None if settings.log.brokers else settings.data_dir / LOG)
    broken += _broken_run_file(settings)
    try:
        with progress("verifying", None) as bar:
            report = verify(
                places.catalog(mends=False),
                places.store(EVENTS),
                # A damaged log is not opened a second time: SQLite would forget how much of it was committed.
                read_log=_log_of(settings) if all(one.works for one in broken) else lambda: None,
                dead_letters=places.store(DEAD_LETTERS),
                deep=deep,
                tenant=tenant,
                since_us=since_us,
                on_progress=lambda done, total: bar(done, f"{done:,} objects", total),
            )
    except (CorruptData, Unavailable):
        if not broken:
            raise
        report = Report(-1, deep)  # nothing can be said of the objects
    report.problems[:0] = [Problem("file", one.file, one.found, one.advice) for one in broken]
    if as_json:
        _print_json(report)
    else:
        _print(report)
    if report.problems:
        sys.exit(1)


def _broken_run_file(settings: Settings) -> list[Broken]:
    try:
        read_run_file(settings.data_dir)
    except CorruptData as error:
        return [Broken(str(settings.data_dir / RUN_FILE), "it cannot be read", error.message, works=True)]
    return []


def _log_of(settings: Settings) -> Callable[[], LogState | None]:
    kafka = kafka_of(settings)
    if kafka is not None:
        return lambda: asyncio.run(_kafka_state(kafka))
    return lambda: _embedded_state(settings)


def _embedded_state(settings: Settings) -> LogState | None:
    found = look_at(settings.data_dir / LOG)
    if found is None:
        return None
    log_id, states = found
    numbered = dict(enumerate(states))
    return LogState(log_id, {v: s.start for v, s in numbered.items()}, {v: s.next for v, s in numbered.items()})


async def _kafka_state(settings: KafkaSettings) -> LogState:
    log = KafkaLog(settings)
    try:
        return LogState(await log.log_id(), await log.start_offsets(), await log.end_offsets())
    finally:
        await log.close()


def _print_json(report: Report) -> None:
    told: dict[str, Any] = asdict(report)
    told["uncovered"] = [
        {"log_id": log_id, "vnode": vnode, "first": first, "end": end} for log_id, vnode, first, end in report.uncovered
    ]
    print_json({"right": not report.problems, **told})


def _print(report: Report) -> None:
    for problem in report.problems[:SHOWN]:
        click.echo(f"{click.style(problem.check, fg='red', bold=True)}: {problem.where}: {problem.found}")
        click.echo(f"  what to do: {problem.advice}")
    if len(report.problems) > SHOWN:
        click.echo(f"and {len(report.problems) - SHOWN:,} more: see --json")
    how = "all rows read" if report.deep else "footers and indexes read; --deep reads the rows"
    click.echo(
        f"{report.objects:,} objects of table version {report.version}, {report.rows:,} events, {report.bytes:,} bytes "
        f"({how})"
    )
    if report.orphans or report.unreferenced:
        tell(
            f"{report.orphans:,} objects ({report.orphan_bytes:,} bytes) are in no table version for over a day: "
            f"maintenance deletes them; {report.unreferenced:,} for less"
        )
    if report.dead_letters:
        tell(f"{report.dead_letters:,} records could not be decoded and were put aside: see the folder {DEAD_LETTERS}")
    if report.not_stored:
        tell(f"{report.not_stored:,} records of the log are not stored yet")
    if report.uncovered:
        offsets = sum(end - first for _, _, first, end in report.uncovered)
        tell(f"{offsets:,} offsets held nothing to store, were taken by retention, or were lost and noted (see --json)")
    click.echo(f"{len(report.problems):,} problems" if report.problems else click.style("all is right", fg="green"))
