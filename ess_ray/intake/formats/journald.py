"""Entries of systemd's journal to rows, and what its upload is told.

An entry's cursor identifies it: its hash is the event's id, so that what is uploaded again is stored once. Entries of
one machine go one way (`route_of`), or repeats would not meet them: an upload that begins again is cut elsewhere.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from typing import Any, Final

from ess_ray.intake.attributes import Reading
from ess_ray.intake.batches import odd_columns
from ess_ray.intake.columns import to_columns
from ess_ray.intake.decoded import Decoded
from ess_ray.intake.fields import FieldTable
from ess_ray.intake.formats.journal_export import Entry
from ess_ray.intake.limits import IntakeLimits
from ess_ray.intake.rows import FIELDS, Row, read_row
from ess_ray.problem import Answer, Refusal

CURSOR, TIME, MACHINE, HOST = "__CURSOR", "__REALTIME_TIMESTAMP", "_MACHINE_ID", "_HOSTNAME"
_ADDRESS: Final = "__"
"""What fields begin with that tell where an entry stood, and nothing of the event."""
_TOO_MANY: Final = 429
_TEXT: Final = "text/plain"
_ROUTES: Final = 64
"""Routes of all machines together: more than there are virtual nodes, usually, and few to append to at a time."""


@dataclass(frozen=True)
class JournalPiece:
    """Some entries, as the one piece of its kind. See `format.Pieces`."""

    entries: Sequence[Entry]
    body_hash: str = ""

    def __len__(self) -> int:
        return 1

    def size(self, number: int) -> int:
        """Give about how many bytes the entries have."""
        return sum(map(size_of, self.entries))

    def decode(self, number: int, table: FieldTable, now_us: int, limits: IntakeLimits) -> Decoded:
        """Read the entries, received at `now_us`."""
        reading = Reading(now_us, limits, exact=True, table=table)
        return to_columns(self.entries, self.size(0), reading, partial(odd_columns, read=_read), event_of)


def size_of(entry: Entry) -> int:
    """Give about how many bytes an entry takes."""
    return sum(map(len, entry)) + sum(map(len, entry.values()))


def route_of(entry: Entry) -> str:
    """Name the route of an entry: the same for all of one machine."""
    machine = entry.get(MACHINE) or entry.get(HOST) or ""
    return f"journald-{int.from_bytes(sha256(machine.encode()).digest()[:2], 'big') % _ROUTES}"


def by_route(entries: Sequence[Entry]) -> Mapping[str, list[Entry]]:
    """Part entries by their routes; mostly there is one."""
    parts: dict[str, list[Entry]] = {}
    routes: dict[tuple[str | None, str | None], str] = {}
    for entry in entries:
        machine = (entry.get(MACHINE), entry.get(HOST))
        if machine not in routes:
            routes[machine] = route_of(entry)
        parts.setdefault(routes[machine], []).append(entry)
    return parts


def event_of(entry: Entry) -> dict[str, Any]:
    """Give the event that an entry is."""
    event: dict[str, Any] = {name: text for name, text in entry.items() if name[:2] != _ADDRESS}
    if not FIELDS.isdisjoint(entry):  # journald writes capitals: somebody's own, which means nothing of ours
        others = {name: event.pop(name) for name in entry if name in FIELDS}
        event["attributes"] = others
    if cursor := entry.get(CURSOR):
        event["id"] = sha256(cursor.encode()).hexdigest()
    if time := entry.get(TIME):
        event["timestamp"] = int(time) if time.isascii() and time.isdigit() and len(time) < 20 else time
    return event


def _read(entry: Entry, reading: Reading) -> Row:
    return read_row(event_of(entry), reading)


class JournalWords:
    """What an upload is told: text, which its unit writes to its own journal."""

    def refused(self, refusal: Refusal, content_type: str | None) -> Answer:
        """Plain text. The unit fails with any of them, and begins again where it was acknowledged."""
        return said(503 if refusal.status == _TOO_MANY else refusal.status, refusal.message)


JOURNAL_WORDS: Final = JournalWords()


def said(status: int, message: str) -> Answer:
    """Give an answer."""
    return Answer(status, f"{message}\n".encode(), _TEXT)
