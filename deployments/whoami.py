"""The endpoint that tells whose events a push would be, and the name of the log that they go to."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final

from fastapi import FastAPI, Request, Response

from deployments.problem import refusal

WHOAMI_PATH: Final = "/v1/whoami"
WHOAMI: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "description": "Whose events a push with this key would be, and the name of the log that they go to",
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "required": ["tenant", "log_id"],
                    "properties": {"tenant": {"type": "string"}, "log_id": {"type": "string"}},
                }
            }
        },
    },
    503: refusal("The log or the keys are not there just now"),
}


def route_whoami(app: FastAPI, whoami: Callable[[Request], Awaitable[Response]]) -> None:
    """Add `GET /v1/whoami`, which `whoami` answers."""
    app.get(WHOAMI_PATH, responses=WHOAMI)(whoami)
