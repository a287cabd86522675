"""The client's events are those of the HTTP interface, whatever is in them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ess_ray.client import Client
from tests.clients import Exchanged, exchanged
from tests.examples import examples
from tests.exports import World, app_of

Tables = Callable[..., pa.Table]
VALUES = [("s", "text"), ("n", "1.50"), ("n", "9" * 30), ("n", "1e400"), ("b", "true"), ("z", "null"), ("j", "[1]")]
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)


@st.composite
def events(draw: st.DrawFn, make: Tables, t0_us: int) -> pa.Table:
    times = draw(st.lists(st.integers(t0_us, t0_us + 50), max_size=30))
    held = [draw(st.lists(st.sampled_from(VALUES), max_size=3)) for _ in times]
    return make(
        times,
        [draw(TEXTS) for _ in times],
        first=draw(st.integers(0, 5)) * 100,
        attributes=[[(f"k{n}", value) for n, (_, value) in enumerate(one)] for one in held],
        attribute_types=["".join(letter for letter, _ in one) for one in held],
        level=[draw(st.sampled_from([None, "ERROR", "INFO"])) for _ in times],
        event_id=[draw(st.sampled_from([None, "a", "b"])) for _ in times],
        event_hash=[b"0123456789abcdef" for _ in times],
    )


@pytest.fixture(scope="module")
def served() -> Iterator[tuple[str, Exchanged]]:
    with exchanged() as found:
        yield found


@given(data=st.data())
@settings(max_examples=examples(40))
def test_events_are_those_of_pages(
    data: st.DataObject, served: tuple[str, Exchanged], make_events: Tables, t0_us: int
) -> None:
    url, inside = served
    stored, buffered = (data.draw(events(make_events, t0_us)) for _ in range(2))
    buffered = buffered.set_column(
        buffered.schema.get_field_index("vnode"), "vnode", pa.array([1] * len(buffered), pa.int32())
    ).cast(stored.schema)
    inside.app = app_of(World([stored] if len(stored) else [], buffered))
    asked: dict[str, Any] = {
        "query": data.draw(st.sampled_from(["", "level:ERROR", "NOT k0:text", "a"])),
        "start": t0_us,
        "end": t0_us + data.draw(st.integers(0, 60)),
        "order": data.draw(st.sampled_from(["newest", "oldest"])),
    }
    page = httpx.post(f"{url}/search/v1/queries", json={**asked, "wait": 30, "page": 1_000}, trust_env=False).json()
    assert page["complete"], page
    with Client(url) as client:
        assert list(client.search(**asked)) == page["events"]
        assert list(client.search(**asked, limit=1_000)) == page["events"]
        assert client.search(**asked).to_arrow().column("message").to_pylist() == [e["message"] for e in page["events"]]
