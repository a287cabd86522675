"""A tenant's whole answer, fetched as Parquet and counted."""

from __future__ import annotations

import tempfile
from typing import Final

import httpx
import pyarrow.parquet as pq

from tests.chaos.corpus import COLUMNS
from tests.chaos.ledger import Tally

TIMEOUT_S: Final = 60.0
"""Without a byte."""


def count_export(url: str, tenant: str, key: str, into: Tally) -> None:
    """Count everything that a tenant has. Raises httpx.HTTPError where it is refused, or breaks off."""
    headers = {"Authorization": f"Bearer {key}"}
    with httpx.Client(base_url=url, timeout=TIMEOUT_S, headers=headers) as http, tempfile.TemporaryFile() as file:
        asked = http.post("/search/v1/queries", json={"query": "*", "start": 0, "limit": 1}).raise_for_status().json()
        path = f"/search/v1/queries/{asked['id']}/export"
        with http.stream("GET", path, params={"format": "parquet"}) as answer:
            answer.raise_for_status()
            for chunk in answer.iter_bytes():
                file.write(chunk)
        for rows in pq.ParquetFile(file).iter_batches(columns=list(COLUMNS)):
            into.add(tenant, rows)
