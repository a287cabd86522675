"""What clients sent and what came of it: a few bytes a request while they run, and arrays over all events at the
end.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final, Literal

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from ess_ray.core.timestamps import format_timestamp
from tests.chaos.corpus import TEXTS, Bodies, Flags, Numbers, altered, as_text, numbers_of

Kind = Literal["plain", "keyed", "ids"]
"""With neither, with an Idempotency-Key, with an `id` in each event."""
MAX_COUNTED: Final = 255
"""Copies of one event that are counted: one is right, two are wrong."""
MAX_EXAMPLES: Final = 5

Copies = np.ndarray[Any, np.dtype[np.uint8]]


@dataclass(frozen=True, slots=True)
class Batch:
    """One request's events: `first` to `first + count` of its client."""

    number: int
    first: int
    count: int


class Ledger:
    """The books of one client, which alone writes in them; others may read at any time.

    `start_us`: the time of its first event; None: the time of receipt counts.
    """

    def __init__(self, kind: Kind, tenant: str, host: str, run: str, start_us: int | None) -> None:
        self.kind, self.tenant, self.host, self.run, self.start_us = kind, tenant, host, run, start_us
        self.bodies = Bodies(host, self.id_prefix, start_us)
        self._firsts, self._counts, self._acknowledged = array("q"), array("q"), array("q")
        self.sent_events = self.acknowledged_events = 0

    @property
    def id_prefix(self) -> str:
        """What the ids of its events begin with; empty where they have none."""
        return self.run if self.kind == "ids" else ""

    def begin(self, count: int) -> Batch:
        """Enter a request that is about to be sent: its events may be there once from now on."""
        batch = Batch(len(self._firsts), self.sent_events, count)
        self._firsts.append(batch.first)
        self._counts.append(count)
        self.sent_events += count
        return batch

    def acknowledge(self, batch: Batch) -> None:
        """Enter a 202: each of its events must be there once, for ever."""
        self._acknowledged.append(batch.number)
        self.acknowledged_events += batch.count

    def some_acknowledged(self, random: Random) -> Batch | None:
        """Give an acknowledged request: every other time the newest, else any."""
        if not (count := len(self._acknowledged)):
            return None
        number = self._acknowledged[count - 1 if random.random() < 0.5 else random.randrange(count)]
        return Batch(number, self._firsts[number], self._counts[number])

    def acknowledged(self) -> Flags:
        """Tell of each event that was sent whether it was acknowledged."""
        batches = np.zeros(len(self._firsts), dtype=bool)
        batches[np.asarray(self._acknowledged, dtype=np.int64)] = True
        return np.repeat(batches, np.asarray(self._counts))


@dataclass
class Tally:
    """What a table, or an answer, holds of the clients' events: rows are added, then it is compared with the books."""

    ledgers: Sequence[Ledger]
    found: int = 0
    """Different events that are there."""
    lost: int = 0
    """Acknowledged events that are not there."""
    doubled: int = 0
    """Events that are there more than once."""
    altered: int = 0
    """Rows with another value than was sent."""
    invented: int = 0
    """Rows that nobody sent."""
    examples: list[str] = field(default_factory=list)
    """Of what is wrong, for people; at most MAX_EXAMPLES."""

    def __post_init__(self) -> None:
        self._copies = [np.zeros(ledger.sent_events, dtype=np.uint8) for ledger in self.ledgers]

    def add(self, tenant: str, rows: pa.RecordBatch) -> None:
        """Count rows (`corpus.COLUMNS`) of a tenant."""
        known = np.zeros(len(rows), dtype=bool)
        for ledger, copies in zip(self.ledgers, self._copies, strict=True):
            if ledger.tenant != tenant:
                continue
            own = pc.fill_null(pc.equal(rows.column("host"), ledger.host), False)
            known |= np.asarray(own)
            self._count(ledger, copies, rows.filter(own))
        self.invented += int((~known).sum())

    def _count(self, ledger: Ledger, copies: Copies, rows: pa.RecordBatch) -> None:
        numbers = numbers_of(rows)
        sent = (numbers >= 0) & (numbers < len(copies))
        self.invented += int((~sent).sum())
        wrong = altered(rows, ledger.start_us, ledger.id_prefix)
        self.altered += int(wrong.sum())
        self._show("altered", ledger, numbers[wrong])
        found = np.bincount(numbers[sent], minlength=len(copies))
        copies[:] = np.minimum(found + copies, MAX_COUNTED)

    def _show(self, what: str, ledger: Ledger, numbers: Numbers) -> None:
        room = MAX_EXAMPLES - len(self.examples)
        self.examples += [f"{what}: {ledger.kind} {ledger.tenant} {ledger.host} {n}" for n in numbers[:room]]

    def close(self) -> None:
        """Compare with the books, once all rows are there."""
        for ledger, copies in zip(self.ledgers, self._copies, strict=True):
            lost, doubled = np.flatnonzero(ledger.acknowledged() & (copies == 0)), np.flatnonzero(copies > 1)
            self.found += int((copies > 0).sum())
            self.lost += len(lost)
            self.doubled += len(doubled)
            self._show("lost", ledger, lost)
            self._show("doubled", ledger, doubled)
        self._copies = []


def differences(sent: bytes, events: Sequence[Mapping[str, Any]], *, timed: bool) -> list[str]:
    """Compare the events of a JSON answer with the body that brought them: what is missing, doubled or altered."""
    expected = {event["message"]: event for event in map(orjson.loads, sent.splitlines())}
    found = Counter(event["message"] for event in events)
    wrong = [f"{found[message]} times: {message[:80]}" for message in expected if found[message] != 1]
    wrong += [f"not sent: {message[:80]}" for message in found.keys() - expected.keys()]
    for event in events:
        told = expected.get(event["message"])
        if told is not None and not _same(told, event, timed=timed):
            wrong.append(f"altered: {event} instead of {told}"[:1_000])
    return wrong[:MAX_EXAMPLES]


def _same(told: Mapping[str, Any], event: Mapping[str, Any], *, timed: bool) -> bool:
    """Compare what was pushed of an event with an answer's; an attribute may come back as text."""
    if any(event.get(name) != told.get(name) for name in ("id", "host", *TEXTS)):
        return False
    if timed and event["timestamp"] != format_timestamp(told["timestamp"]):
        return False
    return _as_texts(event["attributes"]) == _as_texts(told["attributes"])


def _as_texts(attributes: Mapping[str, Any]) -> dict[str, str]:
    return {name: as_text(value) for name, value in attributes.items()}
