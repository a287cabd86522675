"""Loki's read API over HTTP, beside its push (`deployments.ways.loki`): what Grafana and logcli ask.

- `asked`: parameters. `shapes`: answers. `reading`: queries; `exploring`: labels, series, statistics, fields; `tail`.
"""

from fastapi import FastAPI

from deployments.loki.exploring import Exploring, route_exploring
from deployments.loki.reading import Queries, Reader, route_nothing, route_queries
from deployments.loki.tail import LokiTail, route_loki_tail
from deployments.tail import TailApi

__all__ = ["Reader", "route_loki"]


def route_loki(app: FastAPI, reader: Reader, tails: TailApi) -> None:
    """Add all that Loki's clients ask."""
    route_queries(app, Queries(reader))
    route_exploring(app, Exploring(reader))
    route_loki_tail(app, LokiTail(reader, tails))
    route_nothing(app)
