"""Sending many events: cut into batches, a few in flight, each sent until it is taken, and counted.

May live here: batching, keys, retries, the summary. May not: files, forms of input, printing.
"""

from __future__ import annotations

import hashlib
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Final

from ess_ray.cli.client import Client
from ess_ray.cli.inputs import Bad, Item
from ess_ray.core.errors import (
    BadRequest,
    EssError,
    Forbidden,
    KeyConflict,
    NotFound,
    TooLarge,
    Unauthenticated,
    Unsupported,
)

BATCH_EVENTS: Final = 1_000
"""Where log records are dense (about 70 B an event); a tenth of what a request may hold."""
BATCH_BYTES: Final = 1024 * 1024
"""JSON bytes in a request, from which on it is sent: about one log record, so that a request is usually atomic."""
IN_FLIGHT: Final = 4
"""Requests at a time where no order is to be kept: enough to keep one push replica busy."""
TOLD_REJECTIONS: Final = 100
"""Rejected events that are kept with their reasons; all are counted."""
_REFUSALS: Final = (BadRequest, Forbidden, KeyConflict, NotFound, TooLarge, Unauthenticated, Unsupported)
NDJSON: Final = "application/x-ndjson"


@dataclass(frozen=True, slots=True)
class Batch:
    """One request: NDJSON, with the position of each event in the input."""

    body: bytes
    positions: tuple[int, ...]
    min_us: int | None
    max_us: int | None
    key: str
    route: str | None = None


@dataclass
class Summary:
    """What became of the input. `rejections` are the first (position, reason).

    `repeats` counts events that were known as stored before, None where the system does not tell.
    """

    accepted: int = 0
    rejected: int = 0
    repeats: int | None = None
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
        repeats = answer.get("repeats")
        if isinstance(repeats, int):
            self.repeats = (self.repeats or 0) + repeats
        named = answer.get("rejected", ())
        for refused in named:
            self.reject(batch.positions[int(refused["index"])], str(refused["reason"]))
        self.rejected += max(0, int(answer.get("rejected_total", 0)) - len(named))  # it names the first ones only
        self.min_us = _pick(min, self.min_us, batch.min_us)
        self.max_us = _pick(max, self.max_us, batch.max_us)


def _pick(choose: Callable[[int, int], int], one: int | None, other: int | None) -> int | None:
    return choose(one, other) if one is not None and other is not None else one if other is None else other


@dataclass(frozen=True)
class Keys:
    """How the requests of one input are named. Where `of` and the input are the same, so are the keys."""

    of: str
    route: str | None = None

    def batch(self, part: Sequence[Item], stand: str = "") -> Batch:
        """Make a request; `stand`: where in the input it begins, since an input may hold the same lines twice."""
        body = b"\n".join(item.body for item in part) + b"\n"
        times = [item.timestamp_us for item in part if item.timestamp_us is not None]
        key = hashlib.sha256(f"{self.of}\0{stand}\0{part[0].position}\0".encode() + body).hexdigest()
        positions = tuple(item.position for item in part)
        bounds = min(times, default=None), max(times, default=None)
        return Batch(body, positions, *bounds, f"push-{key}", self.route)


def cut(items: Iterable[Item | Bad], summary: Summary, batch_events: int = BATCH_EVENTS) -> Iterator[list[Item]]:
    """Cut items into parts of `batch_events`, or of BATCH_BYTES and the event with which it has as many.

    When a part is given, nothing behind it has been taken from `items`. Items that are no events are counted at once.
    Where the input cannot be read further, what was read goes before the error; not so where it is refused.
    """
    part: list[Item] = []
    size = 0
    try:
        for item in items:
            if isinstance(item, Bad):
                summary.reject(item.position, item.reason)
                continue
            part.append(item)
            size += len(item.body) + 1
            if len(part) >= batch_events or size >= BATCH_BYTES:
                yield part
                part, size = [], 0
    except (OSError, EOFError):
        if part:
            yield part
        raise
    if part:
        yield part


class Sender:
    """Sends one request at a time, while the next one is made; each is repeated under its key until it is taken."""

    def __init__(self, client: Client, summary: Summary, told: Callable[[Summary], None] = lambda _: None) -> None:
        self._client, self._summary, self._told = client, summary, told
        self._stop, self._retried = threading.Event(), threading.Event()
        self._pool = ThreadPoolExecutor(1, "push")
        self._under_way: tuple[Batch, Future[dict[str, Any]]] | None = None

    def __enter__(self) -> Sender:
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._pool.shutdown()

    def send(self, batch: Batch) -> None:
        """Begin with a request; the one before must have been settled."""
        assert self._under_way is None
        self._retried.clear()
        self._under_way = (batch, self._pool.submit(_send, self._client, batch, self._stop, self._retried.set))

    def settle(self) -> None:
        """Wait for the request that is under way, if there is one, and count it. Raises its EssError."""
        if self._under_way is None:
            return
        batch, future = self._under_way
        try:
            answer = future.result()
        except Exception:
            self._under_way = None
            raise
        self._under_way = None
        self._summary.add(batch, answer)
        self._told(self._summary)

    def is_refused(self, error: EssError) -> bool:
        """Tell whether this error of `settle` means that surely nothing was stored: at once, and by a refusal."""
        return isinstance(error, _REFUSALS) and not self._retried.is_set()

    def stop(self) -> None:
        """Try no longer: `settle` then tells what became of the request."""
        self._stop.set()


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


def _send(
    client: Client, batch: Batch, stop: threading.Event, on_retry: Callable[[], None] = lambda: None
) -> dict[str, Any]:
    headers = {"Content-Type": NDJSON, "Idempotency-Key": batch.key}
    if batch.route is not None:
        headers["Ess-Route"] = batch.route
    try:
        answer: dict[str, Any] = client.call_patiently(
            "POST", "/push/v1/events", content=batch.body, headers=headers, stop=stop, on_retry=on_retry
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
