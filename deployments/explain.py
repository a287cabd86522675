"""The endpoint that explains a query: its plan, without running it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict

from fastapi import FastAPI, Request, Response
from pydantic import BaseModel, Field

from deployments.access import Tenant
from deployments.answers import json_answer
from deployments.asked import QueryBody, to_query
from ess_ray.search.explain import Explainer


class LambdaPart(BaseModel):
    """What Lambda is likely to do of the search, and to bill."""

    invocations: int
    gb_seconds: float
    estimated_cost_usd: float


class Explained(BaseModel):
    """The plan of a search that has to read everything; one that fills its limit before reads less."""

    query: str = Field(description="The query as it was understood, in words.")
    start: str | None
    end: str | None
    objects_total: int
    objects_pruned: int
    objects: int
    bytes_total: int = Field(description="Stored bytes of the objects left after pruning.")
    bytes_to_read: int = Field(description="Of these, about what lies in the time asked for.")
    gets: int = Field(description="Requests to the store, an estimate.")
    in_flight_rows: int = Field(description="Buffered rows that may be looked at, in the time asked for.")
    executor: str
    tasks: int = Field(description="Those for the executor; 0: all is done where it is planned.")
    lambda_part: LambdaPart | None = Field(
        alias="lambda", description="Null without a function, or with executor ray; auto: up to its budget."
    )
    prefilter: list[str] = Field(description="What lets row groups and rows be left out untested.")
    complete: bool = Field(description="Whether the search could be complete now.")
    incomplete: list[str]


def route_explain(app: FastAPI, tenant: Tenant, executor: Callable[[str | None], str], explainer: Explainer) -> None:
    """Add `POST /v1/explain`. `executor` gives the one that a query asks for, or the usual one."""

    async def explain(request: Request, body: QueryBody) -> Response:
        """Tell what the same body sent to `/v1/queries` would do. Nothing is read of any object."""
        of = await tenant(request)
        told = await explainer.explain(of, to_query(body, time.time_ns() // 1000), executor(body.executor))
        content = asdict(told)
        content["lambda"] = content.pop("invocations")
        return json_answer(content)

    app.post("/v1/explain", response_model=Explained)(explain)
