"""A reader that asks without pause while a fault happens, and judges every answer.

It counts all events by client, and fetches single requests' events whole. What was acknowledged before a question was
asked must be in a complete answer; nothing may be there twice, or otherwise than it was sent.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle
from random import Random
from typing import Any, Final, Literal

import httpx

from tests.chaos.clients import BATCH_EVENTS, MAY_BE_REFUSED, REQUEST_TIMEOUT_S, RETRY_S, Clients, Threads
from tests.chaos.ledger import Batch, Ledger, differences

STUCK_S: Final = 60.0
"""A search that is still `running` after so long counts as one that runs for ever."""
POLL_S: Final = 0.1
PAUSE_S: Final = 0.1
"""Between two questions at least: the machine is to be used by pushes as well."""
PAGE: Final = 10_000

End = Literal["done", "incomplete", "failed", "gone", "refused", "unreachable"]
"""How a search ended. gone: its id was unknown (404). refused: not begun, or its page was refused (5xx)."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One question of the reader."""

    begun_s: float
    ended_s: float
    end: End
    told: str


class Reader:
    """Asks over and over what clients have pushed."""

    def __init__(self, url: str, keys: Mapping[str, str], clients: Clients, seed: int) -> None:
        self._url, self._keys, self._clients, self._random = url, keys, clients, Random(seed)
        self.asked: list[Asked] = []
        self.wrong: list[Any] = []
        self._pause_s = max(PAUSE_S, clients.pace.pause_s)
        self._threads = Threads(self._run)

    def __enter__(self) -> Reader:
        self._threads.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._threads.stop()

    def first_complete_s(self, since_s: float) -> float | None:
        """Give the seconds from a moment to the end of the first complete answer of a question asked after it."""
        return min(
            (a.ended_s - since_s for a in list(self.asked) if a.end == "done" and a.begun_s >= since_s), default=None
        )

    def ends(self, since_s: float = 0.0) -> Counter[End]:
        return Counter(a.end for a in list(self.asked) if a.begun_s >= since_s)

    def _run(self) -> None:
        with httpx.Client(base_url=self._url, timeout=REQUEST_TIMEOUT_S) as http:
            for tenant in cycle(self._keys):
                http.headers["Authorization"] = f"Bearer {self._keys[tenant]}"
                ledgers = [ledger for ledger in self._clients.ledgers if ledger.tenant == tenant]
                for ask in (self._count, self._fetch):
                    if self._threads.stopping.is_set():
                        return
                    begun_s = time.monotonic()
                    try:
                        end, told = ask(http, ledgers)
                    except httpx.TransportError as error:
                        end, told = "unreachable", repr(error)
                    self.asked.append(Asked(begun_s, time.monotonic(), end, told))
                    self._threads.stopping.wait(self._pause_s if end in ("done", "incomplete") else RETRY_S)

    def _count(self, http: httpx.Client, ledgers: Sequence[Ledger]) -> tuple[End, str]:
        """Count the events of each client."""
        due = {ledger.host: ledger.acknowledged_events for ledger in ledgers}
        asked = {"query": "*", "start": 0, "by": ["host"], "top": len(ledgers)}
        end, told, page = self._ask(http, "aggregations", asked)
        if end != "done":
            return end, told
        found = {bucket["by"]["host"]: bucket["count"] for bucket in page["buckets"]}
        for ledger in ledgers:
            count = found.pop(ledger.host, 0)
            if count < due[ledger.host]:
                self.wrong.append(("missing in a complete count", ledger.host, due[ledger.host] - count))
            if count > ledger.sent_events:
                self.wrong.append(("more than was sent", ledger.host, count - ledger.sent_events))
        if found:
            self.wrong.append(("not sent", found))
        return "done", ""

    def _fetch(self, http: httpx.Client, ledgers: Sequence[Ledger]) -> tuple[End, str]:
        """Search the events of one acknowledged request."""
        ledger = self._random.choice(ledgers)
        batch = ledger.some_acknowledged(self._random)
        if batch is None:
            return self._count(http, ledgers)
        asked = {"query": f"host:{ledger.host} batch:{batch.number}", "start": 0, "limit": 2 * BATCH_EVENTS[1]}
        end, told, page = self._ask(http, "queries", asked)
        if end == "done":
            self.wrong += [(told, ledger.tenant, ledger.host) for told in _judge(ledger, batch, page)]
        return end, told

    def _ask(self, http: httpx.Client, kind: str, asked: dict[str, Any]) -> tuple[End, str, dict[str, Any]]:
        created = http.post(f"/search/v1/{kind}", json=asked)
        if created.status_code != 201:
            return *self._refused(created), {}
        path = f"/search/v1/{kind}/{created.json()['id']}"
        deadline_s = time.monotonic() + STUCK_S
        while True:
            # Rows are fetched once, when all are there.
            answer = http.get(path, params={"limit": 1} if kind == "queries" else {})
            if answer.status_code == 200 and kind == "queries" and answer.json()["state"] != "running":
                answer = http.get(path, params={"limit": PAGE})
            if answer.status_code == 404:
                return "gone", "", {}
            if answer.status_code != 200:
                return *self._refused(answer), {}
            page = answer.json()
            if page["state"] != "running":
                return *self._end(page), page
            if time.monotonic() > deadline_s:
                self.wrong.append(("runs for ever", str(page)[:1_000]))
                return "incomplete", f"still {page['state']}", page
            time.sleep(POLL_S)

    def _refused(self, answer: httpx.Response) -> tuple[End, str]:
        if answer.status_code not in MAY_BE_REFUSED:
            self.wrong.append((answer.status_code, answer.text[:300]))
        return "refused", f"{answer.status_code} {answer.text[:300]}"

    def _end(self, page: dict[str, Any]) -> tuple[End, str]:
        reasons = "; ".join(page["incomplete"])
        if not page["complete"] and not reasons:
            self.wrong.append(("incomplete without a reason", str(page)[:1_000]))
        if page["state"] != "done":
            return "failed", reasons
        return ("done", "") if page["complete"] else ("incomplete", reasons)


def _judge(ledger: Ledger, batch: Batch, page: dict[str, Any]) -> list[str]:
    sent = ledger.bodies.make(batch.number, batch.first, batch.count)
    return differences(sent, page["events"], timed=ledger.start_us is not None)
