"""Writing a Ray dataset as events: each task pushes the blocks that it holds, with keys that repeat alike."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any, Final

import pyarrow as pa
from ray.data import Dataset, Datasink
from ray.data.block import BlockAccessor

from ess_ray import exact_json
from ess_ray.client import Client
from ess_ray.core.errors import BadRequest
from ess_ray.core.event import EVENT_SCHEMA, to_json_rows

PUSH_ROWS: Final = 2_000
"""Events in one push: some hundred kilobytes as a rule."""
PUSH_BYTES: Final = 8 * 1024 * 1024
"""Of one push, at most, unless a single event is larger: far below what a system takes."""
MAX_REASONS: Final = 5
"""Rejected events that an error tells of."""
_OURS: Final = ("log_id", "vnode", "offset", "row", "observed_timestamp")
"""What the system gives an event: a written one gets its own."""


class EventsDatasink(Datasink[dict[str, Any]]):  # type: ignore[misc]
    """Pushes blocks to a system."""

    def __init__(self, url: str, key: str | None, write_id: str) -> None:
        self._url, self._key, self._write_id = url, key, write_id
        self.accepted = 0
        self.rejected: list[str] = []

    def get_name(self) -> str:
        """Name it in Ray's dashboard."""
        return "Events"

    def write(self, blocks: Iterable[Any], ctx: Any) -> dict[str, Any]:
        """Push the blocks of one task. Run again, it sends the same bodies under the same keys."""
        accepted, rejected = 0, []
        with Client(self._url, self._key) as client:
            for number, body in enumerate(bodies_of(blocks)):
                done = client.push(body, idempotency_key=f"{self._write_id}-{ctx.task_idx}-{number}")
                accepted += done["accepted"]
                rejected += [str(one["reason"]) for one in done["rejected"]]
        return {"accepted": accepted, "rejected": rejected}

    def on_write_complete(self, write_result: Any) -> None:
        """Add up what the tasks did."""
        for told in write_result.write_returns:
            self.accepted += told["accepted"]
            self.rejected += told["rejected"]


def write(dataset: Dataset, url: str, key: str | None, write_id: str | None, **write_options: Any) -> int:
    """Push a dataset; see `datasets.write_events`."""
    sink = EventsDatasink(url, key, write_id if write_id is not None else secrets.token_hex(16))
    dataset.write_datasink(sink, **write_options)
    if sink.rejected:
        raise BadRequest(
            f"{len(sink.rejected):,} events were rejected, {sink.accepted:,} are stored: "
            + "; ".join(dict.fromkeys(sink.rejected[:MAX_REASONS])),
            accepted=sink.accepted,
            rejected=len(sink.rejected),
        )
    return sink.accepted


def bodies_of(blocks: Iterable[Any]) -> Iterator[bytes]:
    """Cut blocks into bodies of NDJSON: the same blocks give the same bodies."""
    for block in blocks:
        table = BlockAccessor.for_block(block).to_arrow()
        for at in range(0, len(table), PUSH_ROWS):
            lines, size = list[bytes](), 0
            for event in events_of(table.slice(at, PUSH_ROWS)):
                line = exact_json.dumps(event)
                if lines and size + len(line) > PUSH_BYTES:
                    yield b"\n".join(lines)
                    lines, size = [], 0
                lines.append(line)
                size += len(line)
            if lines:
                yield b"\n".join(lines)


def events_of(table: pa.Table) -> list[dict[str, Any]]:
    """Give rows as events to push; absent values are left out."""
    if set(EVENT_SCHEMA.names) <= set(table.schema.names):
        rows = to_json_rows(table)
        return [{name: value for name, value in row.items() if value is not None and name not in _OURS} for row in rows]
    return [_event(row) for row in table.to_pylist()]


def _event(row: Mapping[str, Any]) -> dict[str, Any]:
    event = {name: _json(value) for name, value in row.items() if value is not None}
    if "event_id" in event and "id" not in event:
        event["id"] = event.pop("event_id")
    pairs = event.get("attributes")
    if isinstance(pairs, list):  # a map, as Arrow and pandas give it
        event["attributes"] = {pair[0]: pair[1] for pair in pairs if isinstance(pair, list) and len(pair) == 2}
    return event


def _json(value: Any) -> Any:
    """Give a value of Arrow as one of JSON."""
    if isinstance(value, Mapping):
        return {str(name): _json(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_json(inner) for inner in value]
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, datetime):
        return value.isoformat()
    return value if isinstance(value, str | int | float | bool) or value is None else str(value)
