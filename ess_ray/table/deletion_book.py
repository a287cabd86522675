"""What is known of deletions: one small object each, beside the table, so that a restarted system goes on with them.

    ID.json       where the deletion stands
    ID.answers    there once the tenant's kept answers were dropped

The words that were sought may be personal data themselves: they are let go when the deletion is done.
"""

from __future__ import annotations

import logging
import re
import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Final, Literal

import orjson

from ess_ray.core.errors import BadRequest, CorruptData, EssError, NotFound
from ess_ray.core.query import Query
from ess_ray.core.summed import read_summed, with_sum
from ess_ray.core.tenant import check_tenant
from ess_ray.damage import reading_from
from ess_ray.language import parse
from ess_ray.ports import ObjectStore

_log = logging.getLogger(__name__)

State = Literal["running", "done", "failed"]
MAX_RECORD_BYTES: Final = 4 * 1024 * 1024
"""A query of 16 KiB, the swaps of one commit, 1,000 reasons and the ends of 1,024 virtual nodes are far less."""
_ID_BYTES: Final = 12
_ID = re.compile(r"[0-9a-f]{24}", re.ASCII)
_ANSWERS: Final = ".answers"
_RECORD: Final = ".json"


@dataclass(frozen=True, slots=True)
class Cut:
    """Up to where a deletion reaches: records of this log below these offsets, by virtual node; all of other logs, but
    of those named in `before`, which a system had before this log, records below their own."""

    log_id: str
    ends: Mapping[int, int]
    before: Mapping[str, Mapping[int, int]] = field(default_factory=dict)

    def end_of(self, log_id: str, vnode: int) -> int | None:
        """Give the offset below which records of a log go; None where all of them do."""
        ends = self.ends if log_id == self.log_id else self.before.get(log_id)
        return None if ends is None else ends.get(vnode, 0)

    def carried_to(self, log_id: str) -> Cut:
        """Give it for a system that has another log since: of that, nothing goes, since all of it came later."""
        return self if log_id == self.log_id else Cut(log_id, {}, {**self.before, self.log_id: self.ends})


@dataclass(frozen=True, slots=True)
class Swap:
    """An object that is put but maybe not committed in place of another one, and how many rows it lacks."""

    old_key: str
    new_key: str
    rows: int


@dataclass(frozen=True, slots=True)
class Deletion:
    """Where a deletion stands; times are epoch microseconds.

    It covers rows with start_us <= timestamp < end_us (either None: unbounded) that `query` matches and that lie below
    `cut`, which is None until everything before it is stored. `state` is `done` when no search finds them any more;
    `bytes_gone` then says whether objects that held them are deleted from the store, by `gone_by_us`. `pending` is
    written before a commit, so that a crash in it leaves no doubt of what was counted.
    """

    id: str
    tenant: str
    query: str
    start_us: int | None
    end_us: int | None
    created_us: int
    state: State = "running"
    cut: Cut | None = None
    pending: tuple[Swap, ...] = ()
    rows_deleted: int = 0
    objects_rewritten: int = 0
    objects_done: int = 0
    objects_total: int = 0
    incomplete: tuple[str, ...] = ()
    done_us: int | None = None
    gone_by_us: int | None = None
    bytes_gone: bool = False
    beyond: tuple[str, ...] = field(default=())
    """Where the rows may still be, out of reach, and until when."""

    @property
    def finished(self) -> bool:
        """Whether nothing is left to do."""
        return self.state == "failed" or self.bytes_gone

    def sought(self) -> Query:
        """Give the query whose rows are to go. Raises QueryError."""
        return Query(parse(self.query), self.start_us, self.end_us)


class DeletionBook:
    """The deletions in an object store. One process writes a record at a time: the one that carries it out."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self._finished: set[str] = set()
        self.unreadable: list[str] = []
        """What is wrong with each record that could not be read when it was looked last for what is to be done."""

    def create(self, tenant: str, query: str, start_us: int | None, end_us: int | None) -> Deletion:
        """Write down a wish; it is carried out whatever becomes of who asked. Raises QueryError, BadRequest."""
        check_tenant(tenant)
        now_us = self._store.now_us()
        wish = Deletion(secrets.token_hex(_ID_BYTES), tenant, query, start_us, end_us, now_us)
        wish.sought()
        self.write(wish)
        return wish

    def write(self, deletion: Deletion) -> None:
        """Keep where a deletion stands, durably."""
        record = orjson.dumps(asdict(deletion), option=orjson.OPT_NON_STR_KEYS)
        self._store.put(deletion.id + _RECORD, with_sum(record))

    def read(self, deletion_id: str) -> Deletion:
        """Raises NotFound, CorruptData."""
        place = deletion_id + _RECORD
        if _ID.fullmatch(deletion_id) is None or self._store.head(place) is None:
            raise NotFound(f"there is no deletion {deletion_id}")
        try:
            with reading_from(self._store, place):
                data = self._store.get_suffix(place, MAX_RECORD_BYTES)
        except CorruptData as error:
            raise CorruptData(
                f"deletions/{place} cannot be read, and waits: {error.message}; look at the disk and at the file's "
                "rights, or delete the file and ask for the deletion again",
                key=place,
            ) from error
        return _read(place, data)

    def ids(self) -> list[str]:
        """Name all deletions of which there is a record, whether or not it can be read."""
        return [info.key.removesuffix(_RECORD) for info in self._store.list("") if info.key.endswith(_RECORD)]

    def unfinished(self) -> list[Deletion]:
        """Give those with something left to do, the oldest first; those that cannot be read are then in `unreadable`.

        Those that were finished are not read again.
        """
        found: list[Deletion] = []
        unreadable: list[str] = []
        for info in self._store.list(""):
            deletion_id = info.key.removesuffix(_RECORD)
            if not info.key.endswith(_RECORD) or deletion_id in self._finished:
                continue
            try:
                one = self.read(deletion_id)
            except NotFound:
                continue  # it was deleted since
            except EssError as error:
                unreadable.append(error.message)
                continue
            if one.finished:
                self._finished.add(deletion_id)
            else:
                found.append(one)
        if unreadable != self.unreadable:
            _log.error("deletions that cannot be read: %s", "; ".join(unreadable) or "none any more")
        self.unreadable = unreadable
        return sorted(found, key=lambda one: (one.created_us, one.id))

    def are_answers_dropped(self, deletion_id: str) -> bool:
        """Tell whether the tenant's answers were dropped after this deletion."""
        return self._store.head(deletion_id + _ANSWERS) is not None

    def answers_dropped(self, deletion_id: str) -> None:
        """Keep that a tenant's answers were dropped after a deletion. Idempotent."""
        self._store.put(deletion_id + _ANSWERS, b"{}")


def _read(place: str, data: bytes) -> Deletion:
    try:
        told: dict[str, Any] = read_summed(data)
        cut = told.pop("cut")
        ends = None if cut is None else _ends(cut["ends"])
        swaps = tuple(Swap(**swap) for swap in told.pop("pending"))
        incomplete, beyond = tuple(told.pop("incomplete")), tuple(told.pop("beyond"))
        found = Deletion(**told, pending=swaps, incomplete=incomplete, beyond=beyond)
        check_tenant(found.tenant)
        if found.id + _RECORD != place or found.state not in ("running", "done", "failed"):
            raise ValueError("it is another one's")
        if not isinstance(found.created_us, int) or not isinstance(found.query, str):
            raise TypeError("it holds something else")
        if ends is None:
            return found
        before = {str(log_id): _ends(one) for log_id, one in cut.get("before", {}).items()}
        return replace(found, cut=Cut(str(cut["log_id"]), ends, before))
    except (ValueError, TypeError, KeyError, AttributeError, BadRequest) as error:
        raise CorruptData(
            f"deletions/{place} does not read as a deletion: what it was to delete is not known; delete the file and "
            "ask for the deletion again",
            key=place,
        ) from error


def _ends(told: Mapping[str, Any]) -> dict[int, int]:
    return {int(vnode): int(end) for vnode, end in told.items()}
