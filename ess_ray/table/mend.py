"""The files that a system stands on, looked at before it starts: what heals without loss, and what a person must mend.

Healed is what holds nothing that other files do not hold too; it is put aside, never deleted, and told. Everything else
is named with what to do, and nothing starts on it: a system that began with half a log or half a table would take
acknowledged events for never pushed.
"""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from deltalake import DeltaTable
from deltalake.exceptions import DeltaError

from ess_ray.adapters.delta_files import LogFiles
from ess_ray.adapters.delta_flaws import LogFlaw, find_flaws
from ess_ray.adapters.delta_log import ASIDE, LOG_FOLDER, TableLog
from ess_ray.adapters.delta_sound import put_aside
from ess_ray.adapters.durable import make_folder, sync_folder
from ess_ray.adapters.places import DELETIONS, EVENTS, KEYS, POOL, Places
from ess_ray.adapters.sqlite_file import look_at
from ess_ray.adapters.sqlite_flaws import find_flaw
from ess_ray.core.errors import CorruptData, EssError
from ess_ray.keys import KeyBook
from ess_ray.pool import size_flaw
from ess_ray.ports import vnode_transaction
from ess_ray.table.deletion_book import DeletionBook
from ess_ray.table.maintenance import PREFIX


@dataclass(frozen=True, slots=True)
class Broken:
    """A file that is not as it was written: which, what was found, and what to do. `works`: all else does without."""

    file: str
    found: str
    advice: str
    works: bool = False

    def __str__(self) -> str:
        return f"{self.file}: {self.found}: {self.advice}"


def look(places: Places, log_file: Path | None) -> list[Broken]:
    """Name what is damaged; changes nothing. `log_file`: the SQLite log, None with Kafka.

    Beside a running system too: what it has open is left to it. Raises Unavailable.
    """
    log = places.table_log()
    found = [*(_broken_log(log, flaw) for flaw in find_flaws(log)), *_without_table(places, log)]
    if log_file is not None and not _owned(log_file):
        found += _broken_sqlite(log_file)
    return [*found, *look_beside(places)]


def heal(places: Places, log_file: Path | None) -> list[str]:
    """Put aside what a system can do without, and tell it; for whoever holds the data directory. Idempotent.

    Raises CorruptData that names every file which a person must mend, with what to do; Unavailable.
    """
    log, files, told, broken = places.table_log(), places.local_table_log(), list[str](), list[Broken]()
    if files is not None:
        for flaw in find_flaws(files):
            if flaw.spare or (log_file is not None and _nothing_rests_on(files, flaw, log_file)):
                where = put_aside(files, flaw.name)
                told.append(f"{files.folder / flaw.name}: {flaw.found}: healed, nothing rests on it; it is now {where}")
            else:
                broken.append(_broken_log(log, flaw))
    broken += _without_table(places, log)
    if log_file is not None:
        if _never_used(log, log_file):
            log_file.unlink()
            told.append(f"{log_file}: it was empty, of a start that was interrupted: healed, it is made anew")
        broken += _broken_sqlite(log_file)
        if not broken and files is not None:
            told += _other_logs(places, files, log_file)
            broken += _disagreeing(files, log_file)
    told += [str(one) for one in look_beside(places)]
    if broken:
        raise CorruptData("\n".join(map(str, broken)))
    return told


# ---------------------------------------------------------------------------------------------------- the table's log
def _broken_log(log: TableLog, flaw: LogFlaw) -> Broken:
    file = f"{log.address}/{LOG_FOLDER}/{flaw.name}"
    if flaw.spare:
        return Broken(file, flaw.found, f"other files hold the same: `ess up` puts it aside, or `mv {file} /tmp`", True)
    if flaw.newest_commit is not None:
        advice = (
            f"restore it from a backup of the table; without one, `mv {file} {file}.damaged` goes back to the version "
            "before: what this commit alone stored is lost then, unless the log still has it"
        )
        return Broken(file, flaw.found, advice)
    return Broken(file, flaw.found, "restore it from a backup of the table: what it tells of stands nowhere else")


def _nothing_rests_on(log: LogFiles, flaw: LogFlaw, log_file: Path) -> bool:
    """Tell whether a newest commit that is damaged may go: the log has all that the version before had not stored.

    What acknowledged events rest on is trimmed from the log only after their commit was durable.
    """
    if flaw.newest_commit is None or find_flaw(log_file) is not None or (found := look_at(log_file)) is None:
        return False
    log_id, states = found
    try:
        stands = log.transactions(flaw.newest_commit - 1)
        table = DeltaTable(log.root, version=flaw.newest_commit - 1)
        actions = table.get_add_actions(flatten=True)
        paths, sizes = (actions[name].to_pylist() for name in ("path", "size_bytes"))
    except (EssError, DeltaError, OSError, KeyError):
        return False
    kept = (stands.get(vnode_transaction(log_id, vnode), 0) >= state.start for vnode, state in enumerate(states))
    there = (_size(log.root / path) == size for path, size in zip(paths, sizes, strict=True))
    return all(kept) and all(there)


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except OSError:
        return None


def _without_table(places: Places, log: TableLog) -> Iterator[Broken]:
    """Name a table's log that is not there though objects are: a new table would have them deleted as garbage."""
    if log.versions() or log.checkpoints():
        return
    objects = len(places.store(EVENTS).list(PREFIX))
    if objects:
        at = f"{log.address}/{LOG_FOLDER}"
        advice = (
            "restore it, or copy it whole; without one, put the objects elsewhere: a system that starts without them "
            f"is empty, and one that starts with them deletes them (`{PREFIX}...` in {log.address})"
        )
        yield Broken(at, f"it is missing or empty, though {objects:,} objects lie beside it", advice)


# ----------------------------------------------------------------------------------------------------- the SQLite log
def _owned(log_file: Path) -> bool:
    """Tell whether a process has the log."""
    try:
        with log_file.with_name(log_file.name + ".lock").open() as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return False
    except BlockingIOError:
        return True
    except OSError:
        return False


def _never_used(log: TableLog, log_file: Path) -> bool:
    """Tell whether a log is an empty file that nothing was ever stored from."""
    wal = log_file.with_name(log_file.name + "-wal")
    return _size(log_file) == 0 and not _size(wal) and max(log.versions(), default=0) == 0


def _broken_sqlite(log_file: Path) -> Iterator[Broken]:
    found = find_flaw(log_file)
    if found is not None:
        file, what = found
        advice = (
            f"restore it from a backup, with its -wal and -shm of the same moment; without one, `mv {log_file} "
            f"{log_file}.damaged` (its -wal too) begins a new log: what was acknowledged and not stored is lost then"
        )
        yield Broken(file, " ".join(what.split()), advice)


def _disagreeing(log: LogFiles, log_file: Path) -> Iterator[Broken]:
    """Name a log, or a table, that has less than the other knows it had: this log is trimmed by commits alone."""
    found = look_at(log_file)
    if found is None:
        return
    log_id, states = found
    stands = _stands(log)
    for vnode, state in enumerate(states):
        stand = stands.get(vnode_transaction(log_id, vnode), 0)
        if stand > state.next:
            what = f"virtual node {vnode} ends at offset {state.next}, the table has it stored up to {stand}"
            yield Broken(str(log_file), what, "the log was cut or replaced: restore it, with its -wal")
        elif stand < state.start:
            what = f"virtual node {vnode} is stored up to offset {stand}, the log was trimmed up to {state.start}"
            advice = "its newest commits are missing: restore them from a backup of the table"
            yield Broken(str(log.folder), what, advice)


def _other_logs(places: Places, log: LogFiles, log_file: Path) -> Iterator[str]:
    """Tell of a log that is not there, though the table was written from one: maybe a copy that was not whole.

    Then the table's newest commits may not have been copied either, and nothing else tells: objects that no commit
    names are put aside, since they would be deleted as garbage.
    """
    if log_file.exists() or not any(name.startswith("log/") for name in _stands(log)):
        return
    yield (
        f"{log_file}: it is not there, though the table was written from a log: a new one begins; what the old one "
        "holds and was not stored is not here: restore it if you have it"
    )
    catalog = places.catalog()
    snapshot, removed = catalog.snapshot(), {one.key for one in catalog.writer().removed()}
    listed = [info.key for info in places.store(EVENTS).list(PREFIX)]
    unnamed = [key for key in listed if key not in removed and not snapshot.holds(key)]
    for key in unnamed:
        to = log.root / ASIDE / key
        make_folder(to.parent, log.root)
        (log.root / key).rename(to)
        sync_folder(to.parent)
    if unnamed:
        yield (
            f"{log.root}: {len(unnamed):,} objects are in no version of the table, whose newest commits may be "
            f"missing: healed, they are now in {log.root / ASIDE}; if you have {log.folder} whole, restore it and move "
            "them back"
        )


def _stands(log: LogFiles) -> dict[str, int]:
    """Read where the newest version of the table says that each log is stored."""
    versions = [*log.versions(), *log.checkpoints()]
    return log.transactions(max(versions)) if versions else {}


# ------------------------------------------------------------------------------------------------------ what is beside
def look_beside(places: Places) -> list[Broken]:
    """Name what cannot be read of keys, deletions and the pool's size: a system does without, as each says.

    Raises Unavailable for a store that is away.
    """
    found = [
        Broken(f"{places.address}/{KEYS}", "a key cannot be read", reason, works=True)
        for reason in KeyBook(places.store(KEYS)).look().damaged
    ]
    deletions = DeletionBook(places.store(DELETIONS))
    deletions.unfinished()
    for reason in deletions.unreadable:
        found.append(Broken(f"{places.address}/{DELETIONS}", "a deletion cannot be read", reason, works=True))
    if (flaw := size_flaw(places.store(POOL))) is not None:
        advice = "the number of actors is the settings': `ess pool --actors N` writes it anew"
        found.append(Broken(f"{places.address}/{POOL}", flaw, advice, works=True))
    return found
