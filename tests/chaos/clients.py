"""Clients that push without pause while a fault happens.

They do what real ones do: with a key or with ids they send again what was not acknowledged, and now and then what was;
without either they do not, since a repeat would be a second event. Each waits for its answer before it sends on, so
that together they take whatever rate the system gives.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from random import Random
from typing import Any, Final

import httpx

from tests.chaos.ledger import Batch, Kind, Ledger

KINDS: Final[tuple[Kind, ...]] = ("plain", "keyed", "ids")
BATCH_EVENTS: Final = (1_000, 5_000)
"""Events of a request at full pace: between these."""
REPEAT_EVERY: Final = 5
"""Every so many requests a client with a key or ids sends again what was acknowledged, as if the answer was lost."""
RETRY_S: Final = 0.2
REQUEST_TIMEOUT_S: Final = 15.0
LAST_TRIES_S: Final = 60.0
"""How long after the end a client goes on sending what was not acknowledged."""
MAY_BE_REFUSED: Final = (429, 500, 502, 503, 504)
"""What a push may be answered besides 202: of ours 429 and 503; 500 is what HAProxy says while a replica is gone."""
NDJSON: Final = {"Content-Type": "application/x-ndjson"}


@dataclass(frozen=True, slots=True)
class Attempt:
    """One request of a client: seconds of the monotonic clock, status (0: no answer)."""

    begun_s: float
    ended_s: float
    status: int


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast a client pushes: events of a request, between these, and how long it rests after each."""

    events: tuple[int, int] = BATCH_EVENTS
    pause_s: float = 0.0


FULL: Final = Pace()


class Threads:
    """Threads that run until the context ends; an exception in one of them is raised there."""

    def __init__(self, *targets: Callable[[], None]) -> None:
        self.stopping = threading.Event()
        self._errors: list[BaseException] = []
        self._threads = [threading.Thread(target=self._run, args=(target,), daemon=True) for target in targets]

    def _run(self, target: Callable[[], None]) -> None:
        try:
            target()
        except BaseException as error:  # noqa: BLE001 (raised where the threads are joined)
            self._errors.append(error)

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self.stopping.set()
        for thread in self._threads:
            thread.join()
        if self._errors:
            raise self._errors[0]


class Clients:
    """Push events until stopped, one client of each kind a tenant. `keys`: the API key of each tenant.

    `timed`: clients with a key or ids give their events a time, the others leave it to the system; False: none does.
    """

    def __init__(
        self, url: str, keys: Mapping[str, str], run: str, *, seed: int, timed: bool = True, pace: Pace = FULL
    ) -> None:
        self._url, self._keys, self._run_name, self.pace = url, keys, run, pace
        start_us = time.time_ns() // 1_000
        self.ledgers = [
            Ledger(kind, tenant, f"{kind}-{number}", run, start_us if timed and kind != "plain" else None)
            for number, tenant in enumerate(keys)
            for kind in KINDS
        ]
        self.begun_s = time.monotonic()
        self.attempts: list[Attempt] = []
        self.wrong: list[Any] = []
        self._randoms = [Random(f"{seed} {ledger.host}") for ledger in self.ledgers]
        self._threads = Threads(
            *(
                lambda ledger=ledger, random=random: self._run(ledger, random)  # type: ignore[misc]
                for ledger, random in zip(self.ledgers, self._randoms, strict=True)
            )
        )

    def __enter__(self) -> Clients:
        self._threads.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._threads.stop()

    @property
    def acknowledged(self) -> int:
        """Events that must be there."""
        return sum(ledger.acknowledged_events for ledger in self.ledgers)

    @property
    def unknown(self) -> int:
        """Events that were sent and not acknowledged: may be there once, or not at all."""
        return sum(ledger.sent_events for ledger in self.ledgers) - self.acknowledged

    def first_202_s(self, since_s: float) -> float | None:
        """Give the seconds from a moment to the first 202 of a request that began after it."""
        return min(
            (a.ended_s - since_s for a in list(self.attempts) if a.status == 202 and a.begun_s >= since_s), default=None
        )

    def statuses(self, since_s: float, until_s: float) -> Counter[int]:
        """Count the answers to requests that began within a time."""
        return Counter(a.status for a in list(self.attempts) if since_s <= a.begun_s < until_s)

    def _run(self, ledger: Ledger, random: Random) -> None:
        headers = NDJSON | {"Authorization": f"Bearer {self._keys[ledger.tenant]}"}
        with httpx.Client(base_url=self._url, timeout=REQUEST_TIMEOUT_S, headers=headers) as http:
            while not self._threads.stopping.is_set():
                batch = ledger.begin(random.randint(*self.pace.events))
                body = ledger.bodies.make(batch.number, batch.first, batch.count)
                key = {"Idempotency-Key": f"{self._run_name}-{ledger.host}-{batch.number}"}
                own = key if ledger.kind == "keyed" else {}
                if self._until_acknowledged(http, ledger, batch, body, own):
                    ledger.acknowledge(batch)
                    if ledger.kind != "plain" and batch.number % REPEAT_EVERY == 0:
                        self._post(http, batch, body, own)
                self._threads.stopping.wait(self.pace.pause_s)

    def _until_acknowledged(
        self, http: httpx.Client, ledger: Ledger, batch: Batch, body: bytes, headers: dict[str, str]
    ) -> bool:
        given_up_s: float | None = None
        while True:
            if self._post(http, batch, body, headers):
                return True
            if self._threads.stopping.is_set():
                given_up_s = given_up_s or time.monotonic() + LAST_TRIES_S
                if time.monotonic() > given_up_s:
                    self.wrong.append(("never acknowledged", ledger.host, batch))
                    return False
            time.sleep(RETRY_S)
            if ledger.kind == "plain":
                return False

    def _post(self, http: httpx.Client, batch: Batch, body: bytes, headers: dict[str, str]) -> bool:
        begun_s = time.monotonic()
        try:
            answer = http.post("/push/v1/events", content=body, headers=headers)
        except httpx.TransportError:
            status = 0
        else:
            status = answer.status_code
            if status == 202 and not _whole(answer.json(), batch):
                self.wrong.append(("half accepted", answer.text[:300]))
            elif status not in (202, *MAY_BE_REFUSED):
                self.wrong.append((status, answer.text[:300]))
        self.attempts.append(Attempt(begun_s, time.monotonic(), status))
        return status == 202


def _whole(told: dict[str, Any], batch: Batch) -> bool:
    return bool(told["accepted"] == batch.count and not told["rejected"] and not told.get("adjusted"))


def longest_without_s(moments_s: Sequence[float], since_s: float, until_s: float) -> float:
    """Give the longest time between two of these moments, of which the first and the last are bounds."""
    all_s = sorted([since_s, *(moment for moment in moments_s if since_s <= moment <= until_s), until_s])
    return max(later - earlier for earlier, later in pairwise(all_s))
