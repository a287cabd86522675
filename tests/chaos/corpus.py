"""The events that clients push, from a seed: made as ready NDJSON bodies, and known again by their number alone.

An event is a function of its client and its number: a pool of made-up events is gone through over and over, each time
with another number. So whoever holds a stored row can tell what every value of it must be. Making a body costs about a
microsecond an event, so that clients leave the machine to the system.
"""

from __future__ import annotations

from functools import cache
from itertools import chain
from typing import Any, Final

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from ess_ray.generate import events

POOL_EVENTS: Final = 4096
"""Different events: more than the largest batch would need, few enough to compile in a moment."""
LARGE_BYTES: Final = (100_000, 400_000)
"""Messages of which each pool has one: an agent that sends whole heap dumps among its lines."""
MANY_ATTRIBUTES: Final = 200
WITH_MANY_ATTRIBUTES: Final = 2
SEED: Final = 13
NUMBER_DIGITS: Final = 9
"""A message begins with its number, so that two of one client are never alike."""
NUMBER: Final = "n"
BATCH: Final = "batch"
"""Attributes of every event: its number, and that of the request that brought it."""
TEXTS: Final = ("level", "service", "trace_id", "span_id")
COLUMNS: Final = ("timestamp", "host", "message", "event_id", "attributes", *TEXTS)
"""What is compared of a row; `host` names the client."""
_SEPARATOR: Final = "\x1f"
"""Between the values of a row that are compared as one text; no event holds it."""

Numbers = np.ndarray[Any, np.dtype[np.int64]]
Flags = np.ndarray[Any, np.dtype[np.bool_]]


@cache
def pool() -> tuple[dict[str, Any], ...]:
    """Give the made-up events without time, host and number."""
    made = [{**e, "attributes": dict(e["attributes"])} for e in events(POOL_EVENTS, SEED, 1_790_000_000_000_000)]
    for event in made:
        del event["timestamp"], event["host"]
    text = " ".join(event["message"] for event in made)
    rare = iter(range(POOL_EVENTS // 8, POOL_EVENTS, POOL_EVENTS // 4))
    for size in LARGE_BYTES:
        made[next(rare)]["message"] = text[:size]
    for _ in range(WITH_MANY_ATTRIBUTES):
        made[next(rare)]["attributes"] |= {f"label.{i:03d}": f"value {i * i}" for i in range(MANY_ATTRIBUTES)}
    return tuple(made)


class Bodies:
    """The bodies of one client. `host` names it; `run`, where ids are wanted, makes them unlike any other run's.

    `start_us`: the time of event 0, each later one is a microsecond later; None: events have no time of their own.
    """

    def __init__(self, host: str, run: str = "", start_us: int | None = None) -> None:
        self._start_us, self._ids = start_us, bool(run)
        once = [_template(event, host, run, start_us is not None) for event in pool()]
        self._lines = 3 * once  # the largest request begins in one round and ends two later

    def make(self, batch: int, first: int, count: int) -> bytes:
        """Encode the events first to first + count, which go in request number `batch`, as NDJSON."""
        assert count <= 2 * POOL_EVENTS
        numbers = range(first, first + count)
        columns: list[Any] = [numbers, numbers, (batch,) * count]
        if self._ids:
            columns.insert(0, numbers)
        if self._start_us is not None:
            columns.insert(0, range(self._start_us + first, self._start_us + first + count))
        at = first % POOL_EVENTS
        return b"\n".join(self._lines[at : at + count]) % tuple(chain.from_iterable(zip(*columns, strict=True)))


def _template(event: dict[str, Any], host: str, run: str, timed: bool) -> bytes:
    """Encode an event with `%d` where numbers come: time, id, message, number, batch, in this order."""
    attributes = {**event["attributes"], NUMBER: "NUMBER", BATCH: "BATCH"}
    event = {**event, "host": host, "message": "NUMBER " + event["message"], "attributes": attributes}
    text = orjson.dumps({k: event.pop(k) for k in ("message", "attributes")} | event).replace(b"%", b"%%")
    text = text.replace(b'"NUMBER ', b'"%%0%dd ' % NUMBER_DIGITS, 1)
    text = text.replace(b'"NUMBER"', b"%d", 1).replace(b'"BATCH"', b"%d", 1)
    own_id = f'"id":"{run}-{host}-%d",'.encode() if run else b""
    return b'{"timestamp":%d,' * timed + b"{" * (not timed) + own_id + text[1:]


class _Expected:
    """The pool as columns, to be taken by number."""

    def __init__(self) -> None:
        rows = pool()
        texts = {name: [row.get(name) for row in rows] for name in (*TEXTS, "message")}
        texts |= {
            "keys": [_SEPARATOR.join([*row["attributes"], NUMBER, BATCH]) for row in rows],
            "values": [_SEPARATOR.join(map(as_text, row["attributes"].values())) for row in rows],
        }
        self._columns = {name: pa.array(column, pa.string()) for name, column in texts.items()}

    def take(self, name: str, numbers: Numbers) -> pa.Array:
        return self._columns[name].take(pa.array(numbers % POOL_EVENTS))


def as_text(value: Any) -> str:
    """Give an attribute's value as it is stored."""
    return value if isinstance(value, str) else orjson.dumps(value).decode()


@cache
def _expected() -> _Expected:
    return _Expected()


def numbers_of(rows: pa.RecordBatch) -> Numbers:
    """Read the events' numbers from their messages; -1 where there is none."""
    text = pc.utf8_slice_codeunits(rows.column("message"), 0, NUMBER_DIGITS)
    sound = pc.match_substring_regex(text, rf"^\d{{{NUMBER_DIGITS}}}$")
    return np.asarray(pc.if_else(sound, text, "-1").cast(pa.int64()))


def altered(rows: pa.RecordBatch, start_us: int | None, run: str) -> Flags:
    """Tell which rows (COLUMNS, all of one client) hold anything else than what their number says was sent.

    `start_us` and `run` are those of the client's bodies.
    """
    numbers = numbers_of(rows)
    expected = _expected()
    wrong: Flags = numbers < 0
    for name in TEXTS:
        wrong |= _differ(rows.column(name), expected.take(name, numbers))
    rest = pc.utf8_slice_codeunits(rows.column("message"), NUMBER_DIGITS + 1)
    wrong |= _differ(rest, expected.take("message", numbers))
    if start_us is not None:
        wrong |= np.asarray(rows.column("timestamp").cast(pa.int64())) != start_us + numbers
    digits = pa.array(numbers).cast(pa.string())
    if run:
        wrong |= _differ(rows.column("event_id"), pc.binary_join_element_wise(run, rows.column("host"), digits, "-"))
    attributes = rows.column("attributes")
    keys, values = _joined(attributes, attributes.keys), _joined(attributes, attributes.items)
    wrong |= _differ(keys, expected.take("keys", numbers))
    # The last value is the batch's number, which is not known here.
    wrong |= ~np.asarray(pc.fill_null(pc.match_substring_regex(values, rf"{_SEPARATOR}\d+$"), False))
    own = pc.replace_substring_regex(values, rf"{_SEPARATOR}\d+$", "")
    return wrong | _differ(own, pc.binary_join_element_wise(expected.take("values", numbers), digits, _SEPARATOR))


def _joined(maps: pa.MapArray, side: pa.Array) -> pa.Array:
    """Give each row's keys, or values, as one text, in the order in which they stand."""
    return pc.binary_join(pa.ListArray.from_arrays(maps.offsets, side), _SEPARATOR)


def _differ(found: pa.Array, expected: pa.Array) -> Flags:
    same = pc.or_kleene(pc.equal(found, expected), pc.and_(pc.is_null(found), pc.is_null(expected)))
    return ~np.asarray(pc.fill_null(same, False))
