"""JSON answers, made in one way by every application, and Arrow ones for who asks for them."""

from __future__ import annotations

from typing import Any

from fastapi import Request, Response

from ess_ray import exact_json
from ess_ray.core import answer_stream


def json_answer(content: Any, status: int = 200) -> Response:
    """Make an answer of a JSON value; keys may be numbers, as those of virtual nodes are. A large one: `aside`."""
    return Response(exact_json.dumps(content), status, media_type="application/json")


def takes_arrow(request: Request) -> bool:
    """Tell whether a client asks for an Arrow stream: it names that type, and not as one that it refuses."""
    for accepted in ",".join(request.headers.getlist("accept")).split(","):
        kind, *parameters = (part.strip().lower() for part in accepted.split(";"))
        if kind == answer_stream.MEDIA_TYPE:
            return not any(parameter.replace(" ", "") in _REFUSED for parameter in parameters)
    return False


_REFUSED = frozenset({"q=0", "q=0.0", "q=0.00", "q=0.000"})
