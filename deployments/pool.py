"""The endpoints of the pool: how large it is, and making it larger or smaller while it runs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated, Any

from fastapi import FastAPI, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from deployments.access import Tenant
from deployments.answers import json_answer
from ess_ray.pool import MAX_ACTORS

Show = Callable[[], Awaitable[dict[str, Any]]]
Resize = Callable[[int], Awaitable[dict[str, Any]]]


class PoolBody(BaseModel):
    """How many persist actors there are to be."""

    model_config = ConfigDict(extra="forbid", strict=True)

    actors: Annotated[int, Field(ge=1, le=MAX_ACTORS)]


def route_pool(app: FastAPI, admin: Tenant, show: Show, resize: Resize) -> None:
    """Add `GET` and `POST /v1/pool`, both for keys of scope admin."""

    async def get_pool(request: Request) -> Response:
        """Tell the wanted number of actors, and each one's virtual nodes and load."""
        await admin(request)
        return json_answer(await show())

    async def post_pool(request: Request, body: PoolBody) -> Response:
        """Have so many actors from now on; answers when every virtual node is where it belongs. Idempotent."""
        await admin(request)
        return json_answer(await resize(body.actors))

    app.get("/v1/pool")(get_pool)
    app.post("/v1/pool")(post_pool)
