"""The endpoint that tells whose a key is: for people, who else cannot tell why they do not see their events."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Literal

from fastapi import FastAPI, Request, Response
from pydantic import BaseModel

from deployments.answers import json_answer
from ess_ray.core.tenant import DEFAULT_TENANT
from ess_ray.keys import ApiKey

Holder = Callable[[Request], Awaitable[ApiKey | None]]
"""The key of a request; None while no key is needed. Raises Unauthenticated, Unavailable."""


class KeyTold(BaseModel):
    """A key without its secret."""

    id: str
    name: str
    scopes: list[Literal["push", "search", "admin"]]


class Whose(BaseModel):
    """Whose events a request pushes and finds."""

    tenant: str
    key: KeyTold | None
    """Null: no key is needed here."""


def route_whose(app: FastAPI, holder: Holder) -> None:
    """Add `GET /v1/key`, for any key."""

    async def get_key(request: Request) -> Response:
        """Tell which tenant the key of this request is for, and what it may do."""
        key = await holder(request)
        if key is None:
            return json_answer({"tenant": DEFAULT_TENANT, "key": None})
        told = {"id": key.id, "name": key.name, "scopes": list(key.scopes)}
        return json_answer({"tenant": key.tenant, "key": told})

    app.get("/v1/key", response_model=Whose)(get_key)
