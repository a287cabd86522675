"""Push requests of Loki's for tests, in both encodings."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import cramjam

from ess_ray.intake.formats.loki_protobuf import PushRequest

JSON, PROTOBUF = "application/json", "application/x-protobuf"
Entry = tuple[int, str] | tuple[int, str, Mapping[str, str]]
Streams = Sequence[tuple[Mapping[str, str], Sequence[Entry]]]


def label_text(labels: Mapping[str, str]) -> str:
    """Write labels as agents do: JSON quotes these values as Go does."""
    return "{" + ", ".join(f"{name}={json.dumps(value)}" for name, value in labels.items()) + "}"


def as_protobuf(streams: Streams) -> bytes:
    """Give a request, not packed."""
    request = PushRequest()
    for labels, entries in streams:
        stream = request.streams.add(labels=label_text(labels).encode())
        for ns, line, *metadata in entries:
            entry = stream.entries.add(line=line.encode())
            entry.time.seconds, entry.time.nanos = divmod(ns, 1_000_000_000)
            for name, value in [pair for each in metadata for pair in each.items()]:
                entry.metadata.add(name=name.encode(), value=value.encode())
    body: bytes = request.SerializeToString()
    return body


def as_json(streams: Streams) -> bytes:
    """Give a request."""
    made = [{"stream": labels, "values": [[str(ns), *more] for ns, *more in entries]} for labels, entries in streams]
    return json.dumps({"streams": made}).encode()


def encoded(streams: Streams, kind: str) -> bytes:
    """Give a request as an agent sends it: protobuf packed."""
    return packed(as_protobuf(streams)) if kind == PROTOBUF else as_json(streams)


def packed(body: bytes) -> bytes:
    """Give a block of snappy's."""
    return bytes(cramjam.snappy.compress_raw(body))


def rows_of(batch: Any) -> list[dict[str, Any]]:
    """Give rows with their attributes as an object."""
    return [{**row, "attributes": dict(row["attributes"] or [])} for row in batch.to_pylist()]
