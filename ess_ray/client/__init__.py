"""Events for Python programs: ask a running ess_ray over HTTP, get dicts, Arrow, Polars or pandas.

    from ess_ray.client import Client

    with Client("http://127.0.0.1:8000") as client:
        for event in client.search("level:ERROR timeout", start="-1h", limit=100):
            print(event["timestamp"], event["message"])
        frame = client.search("service:api", start="-1d").to_polars()
        table = client.pipe("level:ERROR | stats count() as n by service | top 10 by n").to_arrow()

Importing this imports neither Ray nor what a server needs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ess_ray.core.later import loads_later

if TYPE_CHECKING:
    from ess_ray.client.answers import AsyncEvents, Events, Table
    from ess_ray.client.connection import AsyncClient, Client
    from ess_ray.client.shapes import IncompleteWarning
    from ess_ray.core.errors import EssError, Incomplete

__all__ = [
    "AsyncClient",
    "AsyncEvents",
    "Client",
    "EssError",
    "Events",
    "Incomplete",
    "IncompleteWarning",
    "Table",
]

# Loaded when they are asked for: the commands need HTTP alone, and no Arrow.
__getattr__ = loads_later(
    __name__,
    {
        "ess_ray.client.answers": ("AsyncEvents", "Events", "Table"),
        "ess_ray.client.connection": ("AsyncClient", "Client"),
        "ess_ray.client.shapes": ("IncompleteWarning",),
        "ess_ray.core.errors": ("EssError", "Incomplete"),
    },
)
