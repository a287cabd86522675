"""Sending many events: cut into batches, a few in flight, each sent until it is taken, and counted."""

from __future__ import annotations

import hashlib
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Final

from ess_ray.cli.client import Client
from ess_ray.cli.items import Bad, Item
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
REFUSALS: Final = (BadRequest, Forbidden, KeyConflict, NotFound, TooLarge, Unauthenticated, Unsupported)
"""What the same request meets again."""
AT_RECEIPT: Final = "stored at the time of receipt: "
"""What a system's reasons for that begin with."""
NDJSON: Final = "application/x-ndjson"


@dataclass(frozen=True, slots=True)
class Batch:
    """One request: NDJSON, with the position and the time (None: it has none that is known here) of each event."""

    body: bytes
    positions: tuple[int, ...]
    times_us: tuple[int | None, ...]
    key: str
    route: str | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """What a system has told of a batch, and between which times of this machine's clock it was received there."""

    told: Mapping[str, Any]
    sent_us: int
    answered_us: int


@dataclass
class Summary:
    """What became of the input. `rejections` and `adjustments` are the first (position, reason).

    `adjusted` counts events that are stored at the time of receipt, since theirs cannot be. `min_us` and `max_us` are
    the bounds of what is stored. `repeats` counts events that were known as stored before, None where the system does
    not tell.
    """

    accepted: int = 0
    rejected: int = 0
    adjusted: int = 0
    repeats: int | None = None
    requests: int = 0
    min_us: int | None = None
    max_us: int | None = None
    rejections: list[tuple[int, str]] = field(default_factory=list)
    adjustments: list[tuple[int, str]] = field(default_factory=list)

    def reject(self, position: int, reason: str) -> None:
        self.rejected += 1
        if len(self.rejections) < TOLD_REJECTIONS:
            self.rejections.append((position, reason))

    def adjusted_in_words(self) -> str:
        """Tell how many of the accepted ones have not the time that they came with; empty where all have."""
        return f", {self.adjusted:,} of them {AT_RECEIPT.rstrip(': ')}" if self.adjusted else ""

    def add(self, batch: Batch, answer: Answer) -> None:
        """Count the answer of a batch."""
        told = answer.told
        self.requests += 1
        self.accepted += int(told["accepted"])
        repeats = told.get("repeats")
        if isinstance(repeats, int):
            self.repeats = (self.repeats or 0) + repeats
        rejected, adjusted = (_named(told, name) for name in ("rejected", "adjusted"))
        for index, reason in rejected.items():
            self.reject(batch.positions[index], reason)
        self.rejected += max(0, int(told.get("rejected_total", 0)) - len(rejected))  # it names the first ones only
        self.adjusted += max(len(adjusted), int(told.get("adjusted_total", 0)))
        kept = [(batch.positions[index], reason) for index, reason in adjusted.items()]
        self.adjustments += kept[: max(0, TOLD_REJECTIONS - len(self.adjustments))]
        self._widen(_stored_us(batch, answer, rejected.keys(), adjusted.keys()))

    def add_up(self, other: Summary, where: str = "") -> None:
        """Add what became of another input; `where` goes before its reasons."""
        self.accepted += other.accepted
        self.rejected += other.rejected
        self.adjusted += other.adjusted
        self.requests += other.requests
        if other.repeats is not None:
            self.repeats = (self.repeats or 0) + other.repeats
        for ours, theirs in ((self.rejections, other.rejections), (self.adjustments, other.adjustments)):
            named = [(position, f"{reason}{f' ({where})' if where else ''}") for position, reason in theirs]
            ours.extend(named[: max(0, TOLD_REJECTIONS - len(ours))])
        self._widen(us for us in (other.min_us, other.max_us) if us is not None)

    def _widen(self, times_us: Iterable[int]) -> None:
        known = [*times_us, *(us for us in (self.min_us, self.max_us) if us is not None)]
        self.min_us, self.max_us = min(known, default=None), max(known, default=None)


def _named(told: Mapping[str, Any], name: str) -> dict[int, str]:
    return {int(one["index"]): str(one["reason"]) for one in told.get(name, ())}


def _stored_us(batch: Batch, answer: Answer, rejected: Set[int], adjusted: Set[int]) -> Iterator[int]:
    """Give the times that a batch's events are stored at; of those stored at their receipt, what it lies between."""
    if adjusted:
        yield from (answer.sent_us, answer.answered_us)
    # The first ones alone are named: of the others, what is as far off as one of them has met the same.
    off = [us for index in adjusted if (us := batch.times_us[index]) is not None]
    oldest = max((us for us in off if us < answer.sent_us), default=None)
    newest = min((us for us in off if us > answer.answered_us), default=None)
    all_named = len(adjusted) >= int(answer.told.get("adjusted_total", 0))
    last_named = len(batch.times_us) if all_named else max(adjusted, default=0)
    for index, us in enumerate(batch.times_us):
        if us is None or index in rejected or index in adjusted:
            continue
        if index > last_named and ((oldest is not None and us <= oldest) or (newest is not None and us >= newest)):
            continue
        yield us


@dataclass(frozen=True)
class Keys:
    """How the requests of one input are named. Where `of` and the input are the same, so are the keys."""

    of: str
    route: str | None = None

    def batch(self, part: Sequence[Item], stand: str = "") -> Batch:
        """Make a request; `stand`: where in the input it begins, since an input may hold the same lines twice."""
        body = b"\n".join(item.body for item in part) + b"\n"
        key = hashlib.sha256(f"{self.of}\0{stand}\0{part[0].position}\0".encode() + body).hexdigest()
        positions = tuple(item.position for item in part)
        return Batch(body, positions, tuple(item.timestamp_us for item in part), f"push-{key}", self.route)


def cut(items: Iterable[Item | Bad], summary: Summary, batch_events: int = BATCH_EVENTS) -> Iterator[list[Item]]:
    """Cut items into parts of `batch_events`, or of BATCH_BYTES and the event with which it has as many.

    Items of the same lines are in one part. When a part is given, nothing behind it has been taken from `items`. Items
    that are no events are counted at once. Where the input cannot be read further, what was read goes before the error;
    not so where it is refused.
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
            if not item.more and (len(part) >= batch_events or size >= BATCH_BYTES):
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
        self._under_way: tuple[Batch, Future[Answer]] | None = None

    def __enter__(self) -> Sender:
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._pool.shutdown()

    def send(self, batch: Batch, sent_us: int | None = None) -> None:
        """Begin with a request; the one before must have been settled. `sent_us`: when an earlier push sent it."""
        assert self._under_way is None
        self._retried.clear()
        self._under_way = (batch, self._pool.submit(_send, self._client, batch, self._stop, self._retried.set, sent_us))

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
        return isinstance(error, REFUSALS) and not self._retried.is_set()

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
    waiting: deque[tuple[Batch, Future[Answer]]] = deque()

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


def _settle_rest(waiting: deque[tuple[Batch, Future[Answer]]], summary: Summary) -> None:
    """After a failure: what is under way may still be acknowledged, and then it counts."""
    for batch, future in waiting:
        if not future.cancelled() and future.exception() is None:
            summary.add(batch, future.result())


def _send(
    client: Client,
    batch: Batch,
    stop: threading.Event,
    on_retry: Callable[[], None] = lambda: None,
    sent_us: int | None = None,
) -> Answer:
    """Send until it is taken; `sent_us`: when it was sent first, by an earlier push."""
    sent_us = _now_us() if sent_us is None else sent_us
    headers = {"Content-Type": NDJSON, "Idempotency-Key": batch.key}
    if batch.route is not None:
        headers["Ess-Route"] = batch.route
    told: Mapping[str, Any]
    try:
        told = client.call_patiently(
            "POST", "/push/v1/events", content=batch.body, headers=headers, stop=stop, on_retry=on_retry
        )
    except BadRequest as error:  # a 400: every event of it was invalid
        rejected = error.details.get("rejected")
        if not isinstance(rejected, list) or len(rejected) != len(batch.positions):
            rejected = [{"index": index, "reason": error.message} for index in range(len(batch.positions))]
        told = {"accepted": 0, "rejected": rejected}
    except TooLarge as error:
        if len(batch.positions) > 1:
            raise
        told = {"accepted": 0, "rejected": [{"index": 0, "reason": error.message}]}
    return Answer(told, sent_us, _now_us())


def _now_us() -> int:
    return time.time_ns() // 1000
