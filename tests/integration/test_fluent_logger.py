"""`fluent-logger`, unmodified, sends to the forward listener over a real socket."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from fluent import handler, sender

from ess_ray.intake.forward_server import ForwardServer
from ess_ray.metrics import PUSH_ACCEPTED
from tests.forward_listening import QUICK, World
from tests.loki import rows_of
from tests.waiting import until


class Served:
    """The listener on a loop and in a thread of its own, as its client is a blocking one."""

    def __init__(self) -> None:
        self.world = World()
        self.world.now_us = time.time_ns() // 1_000
        self.port = 0

    @contextmanager
    def running(self, events: int) -> Iterator[None]:
        """Serve until the context ends and so many events have come."""
        ready, over = threading.Event(), asyncio.Event()
        loop = asyncio.new_event_loop()

        async def serve() -> None:
            server = ForwardServer(storing=self.world.storing, tenant="default", limits=QUICK)
            await server.serve("127.0.0.1", 0)
            self.port = server.ports[0]
            ready.set()
            await over.wait()
            await until(lambda: self.world.counted(PUSH_ACCEPTED) >= events, "all that the client sent is stored")
            await server.drain(10)
            await self.world.http.aclose()

        thread = threading.Thread(target=lambda: loop.run_until_complete(serve()), name="the listener")
        thread.start()
        try:
            assert ready.wait(30)
            yield
        finally:
            loop.call_soon_threadsafe(over.set)
            thread.join(30)
            assert not thread.is_alive()
            loop.close()

    def rows(self) -> list[dict[str, Any]]:
        records = asyncio.run(self.world.write())
        return sorted((row for each in records for row in rows_of(each.batch)), key=lambda row: row["timestamp"])


@pytest.mark.parametrize("nanoseconds", [False, True])
def test_events_of_a_sender_arrive_with_their_times_and_tags(nanoseconds: bool) -> None:
    served = Served()
    at_s = time.time() - 5
    with served.running(100):
        client = sender.FluentSender("app", port=served.port, nanosecond_precision=nanoseconds)
        for number in range(100):
            assert client.emit_with_time("web", at_s + number / 100, {"message": f"{number:03d}", "level": "error"})
        client.close()
    found = served.rows()
    assert [row["message"] for row in found] == [f"{number:03d}" for number in range(100)]
    assert {(row["level"], row["attributes"]["tag"]) for row in found} == {("ERROR", "app.web")}
    gaps_s = [row["timestamp"].timestamp() - (at_s + number / 100) for number, row in enumerate(found)]
    assert max(map(abs, gaps_s)) < (0.001 if nanoseconds else 1.0)


def test_records_of_a_logging_handler_arrive_with_their_fields() -> None:
    served = Served()
    with served.running(2):
        made = handler.FluentHandler("app.py", port=served.port)
        made.setFormatter(
            handler.FluentRecordFormatter({"level": "%(levelname)s", "host": "%(hostname)s", "where": "%(module)s"})
        )
        logger = logging.Logger("shop")
        logger.addHandler(made)
        logger.warning({"message": "card declined", "user": {"id": 7}})
        logger.warning("plain text")
        made.close()
    first, second = served.rows()
    assert (first["message"], first["level"], bool(first["host"])) == ("card declined", "WARN", True)
    assert first["attributes"] == {"where": "test_fluent_logger", "user.id": "7", "tag": "app.py"}
    assert second["message"] == "plain text"
