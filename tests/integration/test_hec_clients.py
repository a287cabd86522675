"""`splunk_handler`, unmodified, sends to the push application over a real socket."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
from splunk_handler import SplunkHandler

from ess_ray.core.errors import Unauthenticated, Unavailable
from tests.http_server import serving
from tests.integration.test_loki_clients import Served, stored


@pytest.fixture
def world() -> Served:
    return Served()


@pytest.fixture
def handler(world: Served) -> Iterator[SplunkHandler]:
    with serving(world.app) as url:
        host, port = url.removeprefix("http://").split(":")
        made = SplunkHandler(
            *(host, port, "ess_key", "main"),
            hostname="web-1",
            source="payments",
            protocol="http",
            verify=False,
            flush_interval=0,
            retry_backoff=0.01,
        )
        yield made
        made.close()
        made.session.close()


def record_of(message: str) -> logging.LogRecord:
    return logging.LogRecord("shop", logging.WARNING, __file__, 1, message, (), None)


def test_records_arrive_with_their_fields(world: Served, handler: SplunkHandler) -> None:
    handler.emit(record_of("card declined"))
    (row,) = stored(world)
    assert (row["message"], row["host"], row["service"]) == ("card declined", "web-1", "payments")
    assert row["attributes"] == {"index": "main", "sourcetype": "text"}
    assert abs(int(row["timestamp"].timestamp() * 1_000_000) - world.now_us) < 600_000_000
    assert world.keys == ["Splunk ess_key"]


def test_what_is_to_be_sent_again_is_and_is_stored_once(world: Served, handler: SplunkHandler) -> None:
    world.refusals = [Unavailable("away"), Unavailable("away")]
    handler.emit(record_of("once"))
    assert [row["message"] for row in stored(world)] == ["once"]
    assert len(world.keys) == 3


def test_what_is_final_is_not_sent_again_and_the_handler_says_why(
    world: Served, handler: SplunkHandler, capsys: pytest.CaptureFixture[str]
) -> None:
    world.refusals = [Unauthenticated("this system wants a key")]
    handler.emit(record_of("lost"))
    assert stored(world) == []
    assert len(world.keys) == 1
    assert "403" in capsys.readouterr().out
