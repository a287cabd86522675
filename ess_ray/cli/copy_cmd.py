"""`ess copy`: the table of a data directory copied to the bucket of the settings, to carry on there."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from ess_ray.adapters.delta_catalog import DeltaCatalog
from ess_ray.adapters.places import ALERTS, DEAD_LETTERS, DELETIONS, EVENTS, KEYS, LOG, Places, places_of
from ess_ray.adapters.sqlite_file import LogFile, look_at
from ess_ray.alerts.book import check_record
from ess_ray.cli.options import Chosen, json_option, with_settings
from ess_ray.cli.output import print_json, progress, tell
from ess_ray.core.errors import BadRequest, Conflict, CorruptData, NotFound
from ess_ray.damage import MAX_NAMED
from ess_ray.table.deletion_book import DeletionBook
from ess_ray.table.mend import look
from ess_ray.table.transfer import Copied, copy_keys, copy_missing, copy_table
from ess_ray.table.transfer_beside import copy_deletions, copy_newer, read_deletions


@click.command()
@click.option("--ahead", is_flag=True, help="Copy what is stored so far, also while the system runs; copy again later.")
@json_option
@with_settings
def copy(chosen: Chosen, *, ahead: bool, as_json: bool) -> None:
    """Copy the stored events of --data-dir to the bucket of the settings (ESS_STORE__BUCKET ...), to carry on there.

    Stop the system first (`ess down` stores everything). It may be interrupted and run again: each event is copied
    once. API keys, deletions, alerts and dead letters go with it. Then `ess up` with the same settings carries on in
    the bucket.
    Exit code 1 when something could not be copied: it is named, and the next run copies it once it is restored.
    """
    target = places_of(chosen.settings)
    if target.bucket is None:
        raise BadRequest(
            "say where to copy to: set ESS_STORE__BUCKET (and ESS_STORE__ENDPOINT, ...) or ess.yaml's store"
        )
    source = Places(target.data_dir)
    _require_whole(source)
    if not (source.data_dir / EVENTS / "_delta_log").is_dir():
        raise NotFound(f"there is no table in {source.data_dir}: say where with --data-dir")
    catalog = source.catalog()
    with _still(source.data_dir / LOG, catalog, ahead), progress("copying", None) as bar:
        keys, damaged = copy_keys(source.store(KEYS), target.store(KEYS))
        letters = copy_missing(source.store(DEAD_LETTERS), target.store(DEAD_LETTERS))
        alerts, damaged_alerts = copy_newer(source.store(ALERTS), target.store(ALERTS), check_record)
        target_catalog, wishes = target.catalog(), DeletionBook(target.store(DELETIONS))
        before = target_catalog.snapshot()
        deletions, damaged_deletions = read_deletions(DeletionBook(source.store(DELETIONS)))
        written, too_late = copy_deletions(deletions, wishes, before)
        done = copy_table(
            catalog,
            source.store(EVENTS),
            target_catalog,
            target.store(EVENTS),
            name=_name(source.data_dir),
            on_progress=lambda at, total: bar(at, f"{at:,} objects", total),
        )
        copy_deletions(deletions, wishes, before)
    done.side_objects = keys + letters + alerts + len(written)
    done.failed += [*damaged, *damaged_alerts, *damaged_deletions, *too_late]
    beside = {"keys": keys, "dead_letters": letters, "alerts": alerts, "deletions": len(written)}
    told = {**asdict(done), **beside, "target": f"{target.bucket.url}/{EVENTS}"}
    if as_json:
        print_json(told)
    else:
        _print(done, told)
    if done.failed:
        sys.exit(1)


def _print(done: Copied, told: Mapping[str, Any]) -> None:
    click.echo(
        f"{done.objects:,} objects copied ({done.rows:,} events, {done.bytes:,} bytes), {done.there:,} were there, "
        f"{told['keys']:,} keys, {told['deletions']:,} deletions, {told['alerts']:,} records of alerts, "
        f"{told['dead_letters']:,} dead letters: {told['target']}"
    )
    if done.mended:
        tell(f"{done.mended:,} objects were damaged there and were put again")
    if not done.failed:
        click.echo("`ess verify` checks them there; `ess up` with these settings carries on")
        return
    for damaged in done.failed[:MAX_NAMED]:
        tell(click.style(f"not copied: {damaged}", fg="red"))
    tell(
        f"{len(done.failed):,} objects could not be copied, all others were: `ess verify` names them and says what to "
        "do; then copy again"
    )


def _require_whole(source: Places) -> None:
    """Refuse to copy what would be taken for less than it is. Raises CorruptData, naming the files and what to do."""
    broken = [one for one in look(source, source.data_dir / LOG) if not one.works]
    if broken:
        raise CorruptData("\n".join(map(str, broken)))


def _name(data_dir: Path) -> str:
    """Name the source: its log where it has one, since a folder can be moved."""
    log = look_at(data_dir / LOG)
    return str(data_dir) if log is None else log[0]


@contextmanager
def _still(log_file: Path, catalog: DeltaCatalog, ahead: bool) -> Iterator[None]:
    """Keep a system from running on the source, and require that all its log holds is stored. Raises Conflict."""
    found = look_at(log_file)
    if ahead or found is None:
        yield
        return
    log = LogFile(log_file, len(found[1]))  # its owner's lock: a system that starts now waits in vain
    try:
        snapshot = catalog.snapshot()
        behind = 0
        for vnode, state in enumerate(log.states()):
            stand = snapshot.next_offset(log.log_id, vnode)
            behind += max(0, state.next - (state.start if stand is None else max(stand, state.start)))
        if behind:
            raise Conflict(
                f"the log {log_file} holds {behind} records that are not stored yet: start the system on this data "
                "directory without the bucket and stop it (`ess up --detach`, `ess down`), then copy again"
            )
        yield
    finally:
        log.close()
