"""What `make chaos` compares with: a loss, a double or another value must not escape it."""

from __future__ import annotations

from random import Random
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pytest

from ess_ray.core.timestamps import format_timestamp
from ess_ray.intake.formats.format import Body
from ess_ray.intake.formats.json_events import decode_events
from ess_ray.intake.limits import IntakeLimits
from tests.chaos.clients import longest_without_s
from tests.chaos.corpus import LARGE_BYTES, POOL_EVENTS, altered, numbers_of
from tests.chaos.ledger import Batch, Ledger, Tally, differences
from tests.chaos.memory import Series

START_US = 1_790_000_000_000_000
LATER_US = START_US + 60_000_000


def ledger(kind: Any = "ids") -> Ledger:
    return Ledger(kind, "shop", "client", "run", START_US)


def pushed(books: Ledger, batch: Batch) -> pa.RecordBatch:
    """Give the rows of a request, as the front door decodes it."""
    body = books.bodies.make(batch.number, batch.first, batch.count)
    decoded = decode_events(Body(body, "application/x-ndjson"), LATER_US, IntakeLimits())
    assert decoded.rejected == []
    return decoded.batch


def changed(rows: pa.RecordBatch, column: str, at: int) -> pa.RecordBatch:
    """Give the rows with another row's value in one of them."""
    values, index = rows.column(column), rows.schema.get_field_index(column)
    other = next(i for i in range(len(rows)) if values[i] != values[at])
    parts = [values.slice(0, at), values.slice(other, 1), values.slice(at + 1)]
    return rows.set_column(index, rows.schema.field(index), pa.concat_arrays(parts))


@pytest.mark.parametrize("column", ["timestamp", "level", "service", "message", "trace_id", "attributes", "event_id"])
def test_any_changed_value_is_seen(column: str) -> None:
    books = ledger()
    rows = pushed(books, books.begin(300))
    assert not altered(rows, START_US, "run").any()
    for number in (0, 17, 299):
        wrong = altered(changed(rows, column, number), START_US, "run")
        assert np.flatnonzero(wrong).tolist() == [number]


def test_events_go_through_the_whole_pool_and_on() -> None:
    books = ledger("plain")
    books.begin(POOL_EVENTS - 10)
    rows = pushed(books, books.begin(POOL_EVENTS + 20))
    assert numbers_of(rows).tolist() == list(range(POOL_EVENTS - 10, 2 * POOL_EVENTS + 10))
    assert not altered(rows, START_US, "").any()
    sizes = rows.column("message").to_pylist()
    assert sum(len(message) >= min(LARGE_BYTES) for message in sizes) == len(LARGE_BYTES)


def test_what_is_lost_doubled_or_invented_is_counted() -> None:
    books = ledger()
    first, second = books.begin(100), books.begin(50)
    rows = pushed(books, first)
    books.acknowledge(first)
    tally = Tally([books])
    tally.add("shop", rows.slice(3, 90))
    tally.add("shop", rows.slice(10, 5))
    tally.add("shop", pushed(books, second).slice(0, 20))  # not acknowledged: may be there, in part
    tally.add("shop", pushed(books, Batch(2, 150, 4)))  # never sent
    tally.close()
    assert (tally.found, tally.lost, tally.doubled, tally.altered, tally.invented) == (110, 10, 5, 0, 4)


def test_rows_of_nobody_and_of_other_tenants_are_invented() -> None:
    books = ledger()
    rows = pushed(books, books.begin(10))
    for tenant, host in (("bank", "client"), ("shop", "another")):
        tally = Tally([books])
        index = rows.schema.get_field_index("host")
        tally.add(tenant, rows.set_column(index, rows.schema.field(index), pa.array([host] * 10)))
        tally.close()
        assert (tally.found, tally.invented) == (0, 10)


def as_answered(event: dict[str, Any]) -> dict[str, Any]:
    return {**event, "timestamp": format_timestamp(event["timestamp"])}


def test_json_answers_are_compared_by_value() -> None:
    books = ledger()
    batch = books.begin(50)
    sent = books.bodies.make(batch.number, batch.first, batch.count)
    events = [as_answered(orjson.loads(line)) for line in sent.splitlines()]
    as_stored = [{**e, "attributes": {k: str(v) for k, v in e["attributes"].items()}} for e in events]
    assert differences(sent, events, timed=True) == []
    assert differences(sent, as_stored, timed=True) == []
    assert differences(sent, events[1:], timed=True) == [f"0 times: {events[0]['message'][:80]}"]
    assert differences(sent, [*events, events[4]], timed=True) == [f"2 times: {events[4]['message'][:80]}"]
    (told,) = differences(sent, [{**events[0], "level": "FATAL"}, *events[1:]], timed=True)
    assert told.startswith("altered")


def test_some_acknowledged_request_is_found_again() -> None:
    books = ledger("keyed")
    assert books.some_acknowledged(Random(1)) is None
    batches = [books.begin(10) for _ in range(5)]
    for batch in batches[:4]:
        books.acknowledge(batch)
    seen = {books.some_acknowledged(Random(seed)) for seed in range(50)}
    assert seen == set(batches[:4])
    assert books.acknowledged().sum() == books.acknowledged_events == 40


def test_the_longest_time_without_an_answer_reaches_from_the_beginning_to_the_end() -> None:
    assert longest_without_s([1.0, 2.5], 0.0, 3.0) == 1.5
    assert longest_without_s([1.0], 0.0, 9.0) == 8.0
    assert longest_without_s([], 2.0, 9.0) == 7.0


def test_a_thinned_series_keeps_its_first_and_last_sample_and_its_maximum() -> None:
    series = Series("raylet", 1)
    for minute, mib in enumerate([5.0, 9.0, 6.0, 7.0, 8.0]):
        series.add(minute, mib)
    series.thin()
    assert list(series.minutes) == [0, 2, 4]
    assert (series.mib[0], series.mib[-1], series.most_mib) == (5.0, 8.0, 9.0)
