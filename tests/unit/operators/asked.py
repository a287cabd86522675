"""Rows for the tests of operators: some of every kind of value, few enough to be counted by hand."""

from __future__ import annotations

import json
import pickle
from typing import Any

import pyarrow as pa

from ess_ray.core.event import EVENT_SCHEMA
from ess_ray.core.filter import filter_batch
from ess_ray.core.operators import decode_node
from ess_ray.core.operators.operator import Writing
from ess_ray.core.query import Node, Query

ROWS = [
    {
        "message": "GET /orders took 17 ms",
        "level": "INFO",
        "service": "api",
        "severity_number": 9,
        "trace_id": "ab12",
        "attributes": [("n", "1.50"), ("tags", '["a",2.0]')],
        "attribute_types": "nj",
    },
    {
        "message": "get /Orders timed out",
        "level": "ERROR",
        "service": None,
        "severity_number": 17,
        "trace_id": None,
        "attributes": [("n", "1.5"), ("k", None)],
        "attribute_types": "ss",
    },
    {
        "message": "",
        "level": None,
        "service": "API",
        "severity_number": None,
        "trace_id": None,
        "attributes": None,
        "attribute_types": None,
    },
]
TYPES = {name: EVENT_SCHEMA.field(name).type for name in ROWS[0]}


def rows_of(node: Node) -> list[int]:
    """Give the rows that match, from a batch of the columns alone that the operator names."""
    columns = {name: pa.array([row[name] for row in ROWS], TYPES[name]) for name in sorted(node.columns())}
    return filter_batch(pa.table(columns) if columns else pa.table({"message": [""] * 3}), Query(node)).to_pylist()


def sought(node: Node) -> list[tuple[list[bytes], bool]]:
    """Give what is sought for a node: literals, one of which a row holds, and whether any non-ASCII text does."""
    return [([choice.text for choice in one.choices], one.or_beyond_ascii) for one in node.conditions()]


def words(node: Node) -> str:
    """Give what people are told of a node."""
    return node.in_words(Writing(lambda field: field.name, lambda text: f"<{text}>"))


def travels_as(node: Node, values: list[Any]) -> bool:
    """Tell whether a node is these JSON values, and they the node; and whether it comes through a pickle."""
    read = decode_node(json.loads(json.dumps(values, allow_nan=False)))
    return node.encoded() == values and read == node == pickle.loads(pickle.dumps(node))
