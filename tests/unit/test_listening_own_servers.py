"""Protocols with a server of their own, as the listener holds them: stored, counted, keyed, drained."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import grpc
import msgpack
import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest, ExportLogsServiceResponse
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord, ResourceLogs, ScopeLogs

from ess_ray.intake.door import Door
from ess_ray.intake.listening.listening import BEYOND, Listening
from ess_ray.intake.listening.shapes import Meter, Surroundings
from ess_ray.intake.otlp_grpc import METHOD
from ess_ray.intake.storing import Storing
from ess_ray.keys import KeyBook
from ess_ray.limits import ListenAt
from ess_ray.runtime.environment import free_ports
from ess_ray.settings import Settings
from ess_ray.testing import MemoryObjectStore
from tests.listening import Rig, until

DEADLINE_S = 20.0


class OwnRig(Rig):
    """A log, and what protocols with a server of their own are given."""

    def __init__(self) -> None:
        super().__init__()
        self.book = KeyBook(MemoryObjectStore(lambda: 1))

        async def known_request(*_: object) -> None:
            return None

        def storing_for(meter: Meter) -> Storing:
            def count(events: int, size: int) -> None:
                meter.stored(events)
                meter.read(size)

            return Storing(self.gatherer, known_request, tally=self.tally, on_stored=count)

        door = Door(self.book)
        self.around: Surroundings = replace(
            self.around, storing_for=storing_for, tenant_of=door.tenant_by_authorization("push")
        )


@asynccontextmanager
async def listening(rig: OwnRig, *wanted: ListenAt) -> AsyncIterator[Listening]:
    made = Listening(wanted, rig.around, lambda: rig.book.look().closed)
    await made.look()
    try:
        yield made
    finally:
        await made.stop()


def there(protocol: str, **more: Any) -> ListenAt:
    return ListenAt(protocol, "127.0.0.1", free_ports(1)[0], **more)


def request(text: str) -> bytes:
    record = LogRecord()
    record.body.string_value = text
    logs = ResourceLogs(scope_logs=[ScopeLogs(log_records=[record])])
    return ExportLogsServiceRequest(resource_logs=[logs]).SerializeToString()


async def export(port: int, text: str, *metadata: tuple[str, str]) -> ExportLogsServiceResponse:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        call = channel.unary_unary(METHOD, response_deserializer=ExportLogsServiceResponse.FromString)
        answer: ExportLogsServiceResponse = await call(request(text), metadata=metadata, timeout=DEADLINE_S)
        return answer


async def test_a_chunk_of_forward_is_acknowledged_once_it_is_stored() -> None:
    rig, at = OwnRig(), there("forward")
    async with listening(rig, at) as made:
        reader, writer = await asyncio.open_connection("127.0.0.1", at.port)
        writer.write(msgpack.packb(["app", [[1_790_000_000, {"log": "hello"}]], {"chunk": "c1"}]))
        async with asyncio.timeout(DEADLINE_S):
            unpacker = msgpack.Unpacker()
            unpacker.feed(await reader.read(1_000))
        assert next(unpacker) == {"ack": "c1"}
        assert await rig.messages() == ["hello"]
        await made.look()
        told = made.status()[0]
        assert (told["state"], told["events"], told["connections"]) == ("on", 1, 1)
        assert told["bytes"] > 0
        writer.close()
        await writer.wait_closed()
    assert made.status()[0]["state"] == "off"


async def test_a_shared_key_tells_the_tenant_and_lets_nobody_else_in() -> None:
    rig, at = OwnRig(), there("forward", shared_keys=(("acme", "secret"),))
    rig.book.create("acme", ["push"])  # with keys it stays on: it asks for its own
    async with listening(rig, at) as made:
        assert made.status()[0]["state"] == "on"
        reader, writer = await asyncio.open_connection("127.0.0.1", at.port)
        async with asyncio.timeout(DEADLINE_S):
            unpacker = msgpack.Unpacker()
            unpacker.feed(await reader.read(1_000))
            assert next(unpacker)[0] == "HELO"
            writer.write(msgpack.packb(["app", [[1, {"log": "unasked"}]]]))
            unpacker.feed(await reader.read())
            assert next(unpacker)[:2] == ["PONG", False]
        writer.close()
        await writer.wait_closed()
    assert await rig.messages() == []


async def test_otlp_over_grpc_is_answered_once_it_is_stored() -> None:
    rig, at = OwnRig(), there("otlp_grpc")
    async with listening(rig, at) as made:
        assert await export(at.port, "hello") == ExportLogsServiceResponse()
        assert await rig.messages() == ["hello"]
        assert made.status()[0]["events"] == 1


async def test_with_keys_grpc_stays_on_and_asks_for_one() -> None:
    rig, at = OwnRig(), there("otlp_grpc")
    _, text = rig.book.create("acme", ["push"])
    async with listening(rig, at) as made:
        assert made.status()[0]["state"] == "on"
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await export(at.port, "without")
        assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED
        await export(at.port, "with", ("authorization", f"Bearer {text}"))
    assert [(row["message"], row["tenant"]) for row in await rig.rows()] == [("with", "acme")]


@pytest.mark.parametrize("protocol", ["forward", "otlp_grpc"])
async def test_beyond_loopback_nobody_pushes_without_a_key(protocol: str) -> None:
    rig = OwnRig()
    async with listening(rig, ListenAt(protocol, "0.0.0.0", free_ports(1)[0])) as made:
        assert (made.status()[0]["state"], made.status()[0]["why"]) == ("off", BEYOND)


@pytest.mark.parametrize("protocol", ["forward", "otlp_grpc"])
async def test_a_usual_port_that_is_taken_is_left_off_and_a_chosen_one_is_a_problem(protocol: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        rig = OwnRig()
        async with listening(rig, ListenAt(protocol, "127.0.0.1", port, is_explicit=True)) as made:
            assert (made.status()[0]["state"], len(made.problems())) == ("failed", 1)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"forward": {"tenant": "a", "shared_keys": {"b": "c"}}}, "name no tenant"),
        ({"forward": {"users": {"b": "c"}}}, "users need shared_keys"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(settings: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        Settings(listeners=settings)


def test_secrets_of_the_forward_protocol_are_handed_on_and_never_shown() -> None:
    settings = Settings(listeners={"forward": {"shared_keys": {"acme": "hush"}, "users": {"u": "hush2"}}})
    (at,) = [each for each in settings.listeners.wanted if each.protocol == "forward"]
    assert (at.shared_keys, at.users, at.port) == ((("acme", "hush"),), (("u", "hush2"),), 24_224)
    assert "hush" not in repr(at) + repr(settings)


@pytest.mark.parametrize("is_away", [False, True])
async def test_the_first_key_ends_connections_of_forward_that_need_none(is_away: bool) -> None:
    """One that says nothing, and one that never stops, be the log there or not."""
    rig, at = OwnRig(), there("forward")
    async with listening(rig, at) as made:
        idle, busy = [await asyncio.open_connection("127.0.0.1", at.port) for _ in range(2)]
        rig.log.is_away = is_away
        busy[1].write(msgpack.packb(["app", [[1_790_000_000, {"log": "before"}]]]))
        await until(lambda: rig.log.tries > 0)
        rig.book.create("acme", ["push"])
        await made.look()
        assert made.status()[0]["state"] == "off"

        async def go_on() -> None:
            with contextlib.suppress(ConnectionError):
                while not busy[1].is_closing():
                    busy[1].write(msgpack.packb(["app", [[1_790_000_000, {"log": "after"}]], {"chunk": "c2"}]))
                    await busy[1].drain()
                    await asyncio.sleep(0)

        going_on = asyncio.create_task(go_on())
        async with asyncio.timeout(DEADLINE_S):
            with contextlib.suppress(ConnectionError):
                await idle[0].read()
            with contextlib.suppress(ConnectionError):
                await busy[0].read()
        for _, writer in (idle, busy):
            writer.transport.abort()
        await going_on
        rig.log.is_away = False  # until now, so that nothing but the hanging up has ended them
    assert await rig.messages() == ["before"], "what was read is stored, and nothing more is read"
