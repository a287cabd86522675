"""`python-logging-loki`, unmodified, pushes to the push application over a real socket."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterator
from typing import Any

import pytest
from logging_loki import LokiHandler

from deployments.ways.loki import LOKI_FIRST_PATH, LOKI_PATH
from ess_ray.core.errors import Unavailable
from tests.http_server import serving
from tests.loki import rows_of
from tests.pushing import World


class Served(World):
    """The push application on a port of its own; `refusals` are raised before anything is taken."""

    def __init__(self) -> None:
        super().__init__()
        self.refusals: list[Exception] = []
        self.keys: list[str | None] = []
        self.now_us = time.time_ns() // 1_000

    async def _tenant(self, request: Any) -> str:
        self.keys.append(request.headers.get("authorization"))
        if self.refusals:
            raise self.refusals.pop()
        return "default"


@pytest.fixture
def world() -> Served:
    return Served()


@pytest.fixture
def address(world: Served) -> Iterator[str]:
    with serving(world.app) as url:
        yield url


@pytest.fixture
def logger() -> Iterator[logging.Logger]:
    made = logging.getLogger("tests.loki")
    made.propagate = False
    yield made
    for handler in list(made.handlers):
        made.removeHandler(handler)
        handler.close()


def stored(world: Served) -> list[dict[str, Any]]:
    return [row for record in asyncio.run(world.records()) for row in rows_of(record.batch)]


@pytest.mark.parametrize("version", ["0", "1"])
@pytest.mark.parametrize("path", [LOKI_PATH, LOKI_FIRST_PATH])
def test_records_arrive_with_their_tags(
    world: Served, address: str, logger: logging.Logger, version: str, path: str
) -> None:
    tags = {"application": "shop", "app": "payments", "quoted": 'a "b"'}
    logger.addHandler(LokiHandler(f"{address}{path}", tags, auth=("ess", "ess_key"), version=version))
    logger.warning("card %s", "declined", extra={"tags": {"user-id": "7"}})
    (row,) = stored(world)
    assert (row["message"], row["level"], row["service"]) == ("card declined", "WARN", "payments")
    assert row["attributes"] == {
        "application": "shop",
        "quoted": 'a "b"',
        "logger": "tests.loki",
        "user_id": "7",
    }
    assert abs(int(row["timestamp"].timestamp() * 1_000_000) - world.now_us) < 600_000_000
    assert world.keys[0] is not None
    assert world.keys[0].startswith("Basic ")


def test_what_is_not_acknowledged_is_told_to_the_program(
    world: Served, address: str, logger: logging.Logger, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.refusals = [Unavailable("away")]
    handler = LokiHandler(f"{address}{LOKI_PATH}", version="1")
    failed: list[logging.LogRecord] = []
    monkeypatch.setattr(handler, "handleError", failed.append)
    logger.addHandler(handler)
    logger.error("first")
    logger.error("second")
    assert [record.getMessage() for record in failed] == ["first"]
    assert [row["message"] for row in stored(world)] == ["second"]
