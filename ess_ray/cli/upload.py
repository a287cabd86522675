"""Sending many events: cut into batches, a few in flight, each sent until it is taken, and counted.

May live here: batching, keys, retries, the summary. May not: files, forms of input, printing.
"""

from __future__ import annotations

import hashlib
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Final

from ess_ray.cli.client import Client
from ess_ray.cli.inputs import Bad, Item
from ess_ray.core.errors import BadRequest, TooLarge

BATCH_EVENTS: Final = 1_000
"""Where log records are dense (about 70 B an event); a tenth of what a request may hold."""
BATCH_BYTES: Final = 1024 * 1024
"""JSON bytes in a request: about one log record, so that a request is usually atomic."""
IN_FLIGHT: Final = 4
"""Requests at a time: enough to keep one push replica busy."""
TOLD_REJECTIONS: Final = 100
"""Rejected events that are kept with their reasons; all are counted."""
NDJSON: Final = "application/x-ndjson"


@dataclass(frozen=True, slots=True)
class Batch:
    """One request: NDJSON, with the position of each event in the input."""

    body: bytes
    positions: tuple[int, ...]
    min_us: int | None
    max_us: int | None
    key: str


@dataclass
class Summary:
    """What became of the input. `rejections` are the first (position, reason)."""

    accepted: int = 0
    rejected: int = 0
    requests: int = 0
    min_us: int | None = None
    max_us: int | None = None
    rejections: list[tuple[int, str]] = field(default_factory=list)

    def reject(self, position: int, reason: str) -> None:
        self.rejected += 1
        if len(self.rejections) < TOLD_REJECTIONS:
            self.rejections.append((position, reason))

    def add(self, batch: Batch, answer: dict[str, Any]) -> None:
        """Count the answer of a batch."""
        self.requests += 1
        self.accepted += int(answer["accepted"])
        for refused in answer.get("rejected", ()):
            self.reject(batch.positions[int(refused["index"])], str(refused["reason"]))
        self.min_us = _pick(min, self.min_us, batch.min_us)
        self.max_us = _pick(max, self.max_us, batch.max_us)


def _pick(choose: Callable[[int, int], int], one: int | None, other: int | None) -> int | None:
    return choose(one, other) if one is not None and other is not None else one if other is None else other


def cut(
    items: Iterable[Item | Bad], summary: Summary, key_of: str, batch_events: int = BATCH_EVENTS
) -> Iterator[Batch]:
    """Cut items into batches of at most `batch_events` and BATCH_BYTES (one larger event goes alone).

    Items that are no events are counted at once. `key_of` tells inputs apart that may hold the same events on purpose
    (standard input twice); with the same `key_of`, the same input gives the same keys.
    """
    part: list[Item] = []
    size = 0
    for item in items:
        if isinstance(item, Bad):
            summary.reject(item.position, item.reason)
            continue
        if part and size + len(item.body) + 1 > BATCH_BYTES:
            yield _batch(part, key_of)
            part, size = [], 0
        part.append(item)
        size += len(item.body) + 1
        if len(part) >= batch_events:
            yield _batch(part, key_of)
            part, size = [], 0
    if part:
        yield _batch(part, key_of)


def _batch(part: list[Item], key_of: str) -> Batch:
    body = b"\n".join(item.body for item in part) + b"\n"
    times = [item.timestamp_us for item in part if item.timestamp_us is not None]
    # The position too: a file may hold the same thousand lines twice, and both count.
    key = hashlib.sha256(f"{key_of}\0{part[0].position}\0".encode() + body).hexdigest()
    positions = tuple(item.position for item in part)
    return Batch(body, positions, min(times, default=None), max(times, default=None), f"push-{key}")


def send(
    client: Client, batches: Iterable[Batch], summary: Summary, told: Callable[[Summary], None] = lambda _: None
) -> Summary:
    """Send batches, IN_FLIGHT at a time; each is repeated under its key until it is taken.

    A batch whose events are all refused is counted as rejected. Raises the EssError of the first batch that was
    not taken; what was acknowledged by then is in `summary`.
    """
    stop = threading.Event()
    waiting: deque[tuple[Batch, Future[dict[str, Any]]]] = deque()

    def settle() -> None:
        batch, future = waiting.popleft()
        summary.add(batch, future.result())
        told(summary)

    with ThreadPoolExecutor(IN_FLIGHT, "push") as pool:
        try:
            for batch in batches:
                waiting.append((batch, pool.submit(_send, client, batch, stop)))
                while len(waiting) > IN_FLIGHT or (waiting and waiting[0][1].done()):
                    settle()
            while waiting:
                settle()
        except BaseException:
            stop.set()
            for _, future in waiting:
                future.cancel()
            _settle_rest(waiting, summary)
            raise
    return summary


def _settle_rest(waiting: deque[tuple[Batch, Future[dict[str, Any]]]], summary: Summary) -> None:
    """After a failure: what is under way may still be acknowledged, and then it counts."""
    for batch, future in waiting:
        if not future.cancelled() and future.exception() is None:
            summary.add(batch, future.result())


def _send(client: Client, batch: Batch, stop: threading.Event) -> dict[str, Any]:
    headers = {"Content-Type": NDJSON, "Idempotency-Key": batch.key}
    try:
        answer: dict[str, Any] = client.call_patiently(
            "POST", "/push/v1/events", content=batch.body, headers=headers, stop=stop
        )
    except BadRequest as error:  # a 400: every event of it was invalid
        rejected = error.details.get("rejected")
        if not isinstance(rejected, list) or len(rejected) != len(batch.positions):
            rejected = [{"index": index, "reason": error.message} for index in range(len(batch.positions))]
        return {"accepted": 0, "rejected": rejected}
    except TooLarge as error:
        if len(batch.positions) > 1:
            raise
        return {"accepted": 0, "rejected": [{"index": 0, "reason": error.message}]}
    return answer
