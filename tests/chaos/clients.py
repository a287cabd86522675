"""What goes on while a fault happens: clients that push without pause, and a reader that searches without pause.

Clients do what real ones do: with a key or with ids they send again what was not acknowledged, and now and then what
was; without either they do not, since a repeat would be a second event. May live here: the load, and a record of
every request. May not: faults, or how a system is made.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Literal

import httpx

from tests.systems import System

BATCH: Final = 10
KINDS: Final = ("plain", "keyed", "ids")
"""One client each: with neither, with an Idempotency-Key, with an `id` in each event."""
BATCHES_PER_S: Final = 5.0
"""Of each client: enough that every virtual node gets some each second, few enough that a search brings all."""
REPEAT_EVERY: Final = 5
"""Every so many batches a client with a key or ids sends again what was acknowledged, as if the answer was lost."""
RETRY_S: Final = 0.2
REQUEST_TIMEOUT_S: Final = 15.0
LAST_TRIES_S: Final = 60.0
"""How long after the end a client goes on sending what was not acknowledged."""
STUCK_S: Final = 60.0
"""A search that is still `running` after so long counts as one that runs for ever."""
MAY_BE_REFUSED: Final = (429, 500, 502, 503, 504)
"""What a push may be answered besides 202: of ours 429 and 503; 500 is what HAProxy says while a replica is gone."""

End = Literal["done", "incomplete", "failed", "gone", "refused", "unreachable"]
"""How a search ended. gone: its id was unknown (404). refused: not begun, or its page was refused (5xx)."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One request of a client: seconds of the monotonic clock, status (0: no answer)."""

    begun_s: float
    ended_s: float
    status: int


@dataclass(frozen=True, slots=True)
class Asked:
    """One search of the reader."""

    begun_s: float
    ended_s: float
    end: End
    told: str


class _Threads:
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
    """Push events of one service until stopped; `acknowledged` and `attempts` only grow."""

    def __init__(self, system: System, service: str) -> None:
        self._system, self._service = system, service
        self.acknowledged: list[str] = []
        self.unknown: set[str] = set()
        """Sent without an acknowledgement: may be there once, or not at all."""
        self.attempts: list[Attempt] = []
        self.wrong: list[Any] = []
        self._threads = _Threads(*(lambda kind=kind: self._run(kind) for kind in KINDS))  # type: ignore[misc]

    def __enter__(self) -> Clients:
        self._threads.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._threads.stop()

    def first_202_s(self, since_s: float) -> float | None:
        """Give the seconds from a moment to the first 202 of a request that began after it."""
        return min(
            (a.ended_s - since_s for a in self.attempts if a.status == 202 and a.begun_s >= since_s), default=None
        )

    def statuses(self, since_s: float, until_s: float) -> Counter[int]:
        """Count the answers to requests that began within a time."""
        return Counter(a.status for a in list(self.attempts) if since_s <= a.begun_s < until_s)

    def _run(self, kind: str) -> None:
        with httpx.Client(base_url=self._system.url, timeout=REQUEST_TIMEOUT_S) as http:
            number = 0
            while not self._threads.stopping.is_set():
                due_s = time.monotonic() + 1 / BATCHES_PER_S
                self._batch(http, kind, number)
                number += 1
                self._threads.stopping.wait(max(0.0, due_s - time.monotonic()))

    def _batch(self, http: httpx.Client, kind: str, number: int) -> None:
        names = [f"{self._service} {kind} {number} {i}" for i in range(BATCH)]
        events = [{"message": name, "service": self._service} for name in names]
        headers = {"Idempotency-Key": f"{self._service}-{number}"} if kind == "keyed" else {}
        if kind == "ids":
            events = [{**event, "id": event["message"]} for event in events]
        self.unknown.update(names)
        if self._until_acknowledged(http, kind, events, headers):
            self.unknown.difference_update(names)
            self.acknowledged += names
            if kind != "plain" and number % REPEAT_EVERY == 0:
                self._post(http, events, headers)

    def _until_acknowledged(
        self, http: httpx.Client, kind: str, events: list[dict[str, str]], headers: dict[str, str]
    ) -> bool:
        given_up_s: float | None = None
        while True:
            if self._post(http, events, headers):
                return True
            if kind == "plain":
                return False
            if self._threads.stopping.is_set():
                given_up_s = given_up_s or time.monotonic() + LAST_TRIES_S
                if time.monotonic() > given_up_s:
                    self.wrong.append(("never acknowledged", kind, events[0]["message"]))
                    return False
            time.sleep(RETRY_S)

    def _post(self, http: httpx.Client, events: list[dict[str, str]], headers: dict[str, str]) -> bool:
        begun_s = time.monotonic()
        try:
            answer = http.post("/push/v1/events", json=events, headers=headers)
        except httpx.TransportError:
            status = 0
        else:
            status = answer.status_code
            if status == 202 and answer.json() != {"accepted": len(events), "rejected": [], "adjusted": []}:
                self.wrong.append(("half accepted", answer.text))
            elif status not in (202, *MAY_BE_REFUSED):
                self.wrong.append((status, answer.text))
        self.attempts.append(Attempt(begun_s, time.monotonic(), status))
        return status == 202


class Reader:
    """Search over and over. What was acknowledged before a search began must be in a complete answer, and once."""

    def __init__(self, system: System, service: str, clients: Clients) -> None:
        self._system, self._service, self._clients = system, service, clients
        self.asked: list[Asked] = []
        self.wrong: list[Any] = []
        self._threads = _Threads(self._run)

    def __enter__(self) -> Reader:
        self._threads.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._threads.stop()

    def first_complete_s(self, since_s: float) -> float | None:
        """Give the seconds from a moment to the end of the first complete answer of a search that began after it."""
        return min((a.ended_s - since_s for a in self.asked if a.end == "done" and a.begun_s >= since_s), default=None)

    def ends(self, since_s: float = 0.0) -> Counter[End]:
        return Counter(a.end for a in list(self.asked) if a.begun_s >= since_s)

    def _run(self) -> None:
        with httpx.Client(base_url=self._system.url, timeout=REQUEST_TIMEOUT_S) as http:
            while not self._threads.stopping.is_set():
                due = set(self._clients.acknowledged)
                begun_s = time.monotonic()
                try:
                    end, told = self._ask(http, due)
                except httpx.TransportError as error:
                    end, told = "unreachable", repr(error)
                self.asked.append(Asked(begun_s, time.monotonic(), end, told))
                self._threads.stopping.wait(0.05 if end in ("done", "incomplete") else RETRY_S)

    def _ask(self, http: httpx.Client, due: set[str]) -> tuple[End, str]:
        query = {"query": f"service:{self._service}", "start": 0, "limit": 200_000}
        created = http.post("/search/v1/queries", json=query)
        if created.status_code != 201:
            return self._refused(created)
        query_id, cursor, events = created.json()["id"], "", []
        deadline_s = time.monotonic() + STUCK_S
        while True:
            answer = http.get(f"/search/v1/queries/{query_id}", params={"cursor": cursor, "limit": 10_000})
            if answer.status_code == 404:
                return "gone", ""
            if answer.status_code != 200:
                return self._refused(answer)
            page = answer.json()
            events += page["events"]
            cursor = page["cursor"]
            if page["state"] != "running" and not page["events"]:
                return self._judge(due, events, page)
            if time.monotonic() > deadline_s:
                self.wrong.append(("runs for ever", page))
                return "incomplete", f"still {page['state']}"

    def _refused(self, answer: httpx.Response) -> tuple[End, str]:
        if answer.status_code not in MAY_BE_REFUSED:
            self.wrong.append((answer.status_code, answer.text))
        return "refused", f"{answer.status_code} {answer.text[:300]}"

    def _judge(self, due: set[str], events: list[dict[str, Any]], page: dict[str, Any]) -> tuple[End, str]:
        found = Counter(event["message"] for event in events)
        self.wrong += [("doubled", name) for name, times in found.items() if times > 1][:5]
        reasons = "; ".join(page["incomplete"])
        if not page["complete"] and not reasons:
            self.wrong.append(("incomplete without a reason", {**page, "events": []}))
        if page["state"] != "done":
            return "failed", reasons
        if not page["complete"]:
            return "incomplete", reasons
        if missing := due - found.keys():
            self.wrong.append(("missing in a complete answer", len(missing), sorted(missing)[:5]))
        return "done", ""
