"""What Loki's read API says of itself in the OpenAPI document: parameters and answers of its endpoints.

Grafana and logcli know them below `/loki/api/v1` of the server itself. `tail` is a websocket, which OpenAPI has no word
for.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

from deployments.ways.describing import json_answer_of, text_answer

PARAMETERS: Final[dict[str, dict[str, Any]]] = {
    "query": {"type": "string", "description": 'LogQL: `{service_name="shop"} |= "timeout"`, or a metric of it'},
    "start": {"type": "string", "description": "From, inclusive: nanoseconds, seconds, or RFC 3339"},
    "end": {"type": "string", "description": "Until, exclusive: as `start`"},
    "since": {"type": "string", "description": "How long before `end` it begins, where `start` is not given: `1h`"},
    "time": {"type": "string", "description": "The moment that is asked for: as `start`, now if left out"},
    "step": {"type": "string", "description": "Between two points of a metric: `30s`, or seconds"},
    "limit": {"type": "integer", "minimum": 0, "description": "At most so many"},
    "direction": {"type": "string", "enum": ["backward", "forward"], "description": "Newest or oldest first"},
    "match[]": {"type": "string", "description": "A selector of streams; may come several times"},
    "targetLabels": {"type": "string", "description": "Labels by which volumes are summed, parted by commas"},
    "aggregateBy": {"type": "string", "enum": ["series", "labels"], "description": "What volumes are summed by"},
    "line_limit": {"type": "integer", "minimum": 0, "description": "The newest lines in which fields are looked for"},
}
RANGE: Final = ("start", "end", "since")
REQUIRED: Final = frozenset({"query"})
"""Of parameters that an endpoint cannot do without, where it says so."""
_IN_PATH: Final = re.compile(r"\{(\w+)\}")
ANSWERS: Final[dict[int | str, dict[str, Any]]] = {
    200: json_answer_of("What Loki answers. `warnings` says what an incomplete answer lacks", {"type": "object"}),
    400: text_answer("The query, or a parameter, is wrong: the text says what"),
    401: text_answer("A key is needed: send `Authorization: Bearer KEY`"),
    403: text_answer("The key is good, but not for this"),
    404: text_answer("No such thing"),
    410: text_answer("It is no longer kept"),
    413: text_answer("Over a limit, which the text names"),
    415: text_answer("A content type that is not spoken here"),
    422: text_answer("What was sent cannot be read"),
    429: text_answer("Too fast: ask again after Retry-After"),
    503: text_answer("No answer just now, or not in time: ask again after Retry-After"),
}
"""Errors are text, as Loki's."""


def parameters_of(path: str, asked: Sequence[str], required: bool) -> dict[str, Any]:
    """Describe the parameters of an endpoint: those in its path, and those that it is asked with; `required`: not
    without those of REQUIRED."""
    described = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in _IN_PATH.findall(path)
    ]
    for name in asked:
        schema = dict(PARAMETERS[name])
        text = schema.pop("description")
        is_required = required and name in REQUIRED
        described.append({"name": name, "in": "query", "required": is_required, "schema": schema, "description": text})
    return {"parameters": described}
