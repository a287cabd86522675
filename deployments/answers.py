"""JSON answers, made in one way by every application.

May live here: how a value becomes an answer. May not: errors (`problem`), events (`sse`), what is answered.
"""

from __future__ import annotations

from typing import Any

from fastapi import Response

from ess_ray import exact_json


def json_answer(content: Any, status: int = 200) -> Response:
    """Make an answer of a JSON value; keys may be numbers, as those of virtual nodes are. A large one: `aside`."""
    return Response(exact_json.dumps(content), status, media_type="application/json")
