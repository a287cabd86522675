"""OTLP over gRPC with gRPC's own client over loopback: every status, what is stored, keys, limits, the end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest
import zstandard
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest, ExportLogsServiceResponse
from opentelemetry.proto.collector.logs.v1.logs_service_pb2_grpc import LogsServiceStub

from deployments.access import Access
from ess_ray.core.errors import CorruptData, Unavailable
from ess_ray.core.event import MAX_EVENT_BYTES
from ess_ray.intake.otlp_grpc import METHOD, GrpcLimits, OtlpGrpcServer
from ess_ray.keys import KeyBook
from ess_ray.testing import MemoryObjectStore
from tests.forward_listening import World
from tests.otlp import PROTOBUF, encoded, record, request_of
from tests.waiting import until

QUICK = GrpcLimits(ask_again_s=0.02, read_s=5.0)


def request_for(*texts: str) -> ExportLogsServiceRequest:
    return ExportLogsServiceRequest.FromString(encoded(request_of(*(record(text) for text in texts)), PROTOBUF))


class Served:
    """The listener over its parts, and a client."""

    def __init__(self, world: World, server: OtlpGrpcServer, channel: grpc.aio.Channel) -> None:
        self.world, self.server, self.channel = world, server, channel
        self.stub = LogsServiceStub(channel)

    async def export(self, *texts: str, **options: Any) -> ExportLogsServiceResponse:
        return await self.stub.Export(request_for(*texts), timeout=20, **options)

    async def send(self, data: bytes) -> bytes:
        """Send bytes as they are."""
        answer: bytes = await self.channel.unary_unary(METHOD)(data, timeout=20)
        return answer

    async def stored(self) -> list[str]:
        await self.world.write()
        return self.world.stored


async def everybody(_: str) -> str:
    return "default"


@asynccontextmanager
async def serving(world: World, limits: GrpcLimits = QUICK, tenant_of: Any = everybody) -> AsyncIterator[Served]:
    server = OtlpGrpcServer(storing=world.storing, tenant_of=tenant_of, limits=limits)
    await server.serve("127.0.0.1", 0)
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{server.ports[0]}") as channel:
            yield Served(world, server, channel)
    finally:
        await server.drain(5)
    assert server.calls == 0
    await until(lambda: not world.gatherer.gate.held_bytes, "nothing is held any more")


@pytest.fixture
async def world() -> AsyncIterator[World]:
    made = World()
    yield made
    await made.http.aclose()


@pytest.fixture
async def served(world: World) -> AsyncIterator[Served]:
    async with serving(world) as made:
        yield made


def is_refused(failure: grpc.aio.AioRpcError, code: grpc.StatusCode) -> str:
    """Check a refusal, whose details say the same as its status; gives its message."""
    assert failure.code() is code
    status = Status.FromString(dict(failure.trailing_metadata())["grpc-status-details-bin"])
    assert (status.code, status.message) == (code.value[0], failure.details())
    retry = RetryInfo()
    assert [detail.Unpack(retry) for detail in status.details] == [True] * (code is grpc.StatusCode.UNAVAILABLE)
    assert retry.retry_delay.seconds == (1 if status.details else 0)
    message: str = status.message
    assert message
    return message


async def test_records_are_answered_once_they_are_durable(served: Served) -> None:
    served.world.log.gate = asyncio.Event()
    call = asyncio.ensure_future(served.export("a", "b"))
    await until(lambda: served.world.log.tries, "it is appended")
    assert not call.done()
    served.world.log.gate.set()
    assert await call == ExportLogsServiceResponse()
    assert await served.stored() == ["a", "b"]


async def test_an_empty_request_is_a_valid_one(served: Served) -> None:
    assert await served.send(b"") == b""


@pytest.mark.parametrize("compression", [grpc.Compression.Gzip, grpc.Compression.Deflate])
async def test_compressed_calls(served: Served, compression: grpc.Compression) -> None:
    texts = [f"{number:04d}" + "x" * 100 for number in range(1_000)]
    await served.export(*texts, compression=compression)
    assert await served.stored() == texts


async def test_a_message_in_zstd(served: Served) -> None:
    await served.send(zstandard.compress(request_for("a").SerializeToString()))
    assert await served.stored() == ["a"]


async def test_records_that_can_never_be_stored_are_a_partial_success(served: Served) -> None:
    answer = await served.export("a", "x" * (MAX_EVENT_BYTES + 1), "b")
    assert answer.partial_success.rejected_log_records == 1
    assert "larger" in answer.partial_success.error_message
    assert await served.stored() == ["a", "b"]


async def test_a_large_call_is_more_than_the_libraries_take_by_default(served: Served) -> None:
    texts = [f"{number:06d}" + "x" * 500 for number in range(12_000)]
    assert await served.export(*texts) == ExportLogsServiceResponse()
    assert sorted(await served.stored()) == texts


@pytest.mark.parametrize("data", [b"\x0a\xff", b"\x1f\x8b no gzip", b"\x28\xb5\x2f\xfd no zstd"])
async def test_what_cannot_be_read_is_an_invalid_argument(served: Served, data: bytes) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await served.send(data)
    is_refused(caught.value, grpc.StatusCode.INVALID_ARGUMENT)


async def test_a_bomb_costs_no_more_than_the_limit(world: World) -> None:
    bomb = zstandard.compress(b"\0" * 200_000_000)
    async with serving(world) as served:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await served.send(bomb)
        assert "67108864" in is_refused(caught.value, grpc.StatusCode.INVALID_ARGUMENT)
    assert world.gatherer.gate.most_held() <= 2 * 64 * 1024 * 1024


async def test_while_the_log_is_away_calls_are_to_be_sent_again(served: Served) -> None:
    served.world.log.away = True
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await served.export("a")
    assert "away" in is_refused(caught.value, grpc.StatusCode.UNAVAILABLE)
    served.world.log.away = False
    await served.export("a")
    assert await served.stored() == ["a"]


@pytest.mark.parametrize("failure", [CorruptData("ours"), ZeroDivisionError("a bug")])
async def test_what_is_not_proven_to_be_the_calls_fault_is_to_be_sent_again(world: World, failure: Exception) -> None:
    async def fails(_: str) -> str:
        raise failure

    async with serving(world, tenant_of=fails) as served:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await served.export("a")
        is_refused(caught.value, grpc.StatusCode.UNAVAILABLE)


async def test_another_service_is_unimplemented(served: Served) -> None:
    traces = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await served.channel.unary_unary(traces)(b"", timeout=20)
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


# ---------------------------------------------------------------------------------------------------------------- keys
@pytest.fixture
def book() -> KeyBook:
    return KeyBook(MemoryObjectStore(lambda: 0))


def metadata(text: str) -> tuple[tuple[str, str], ...]:
    return (("authorization", f"Bearer {text}"),)


async def test_the_tenant_is_the_keys(world: World, book: KeyBook) -> None:
    _, push = book.create("acme", ["push"])
    _, search = book.create("acme", ["search"])
    async with serving(world, tenant_of=Access(book).tenant_by_authorization("push")) as served:
        await served.export("a", metadata=metadata(push))
        for given, code in (
            ((), grpc.StatusCode.UNAUTHENTICATED),
            (metadata("ess_wrong"), grpc.StatusCode.UNAUTHENTICATED),
            (metadata(search), grpc.StatusCode.PERMISSION_DENIED),
        ):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await served.export("b", metadata=given)
            is_refused(caught.value, code)
    assert [(found.tenant, len(found.batch)) for found in await world.write()] == [("acme", 1)]


@pytest.mark.parametrize("where", ["log", "message"])
async def test_a_call_ends_when_its_key_is_revoked(world: World, book: KeyBook, where: str) -> None:
    key, text = book.create("acme", ["push"])
    now_s = 0.0
    access = Access(book, clock_s=lambda: now_s)
    world.log.gate = asyncio.Event()
    async with serving(world, tenant_of=access.tenant_by_authorization("push")) as served:
        if where == "log":
            call = asyncio.ensure_future(served.export("a", metadata=metadata(text)))
            await until(lambda: world.log.tries, "it is appended")
        else:  # its message never comes
            call = served.channel.stream_unary(METHOD)(metadata=metadata(text), timeout=20)
            await until(lambda: served.server.calls, "it is under way")
        book.revoke(key.id)
        now_s += 2.0
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call
        is_refused(caught.value, grpc.StatusCode.UNAUTHENTICATED)
        await until(lambda: not served.server.calls, "it is over")
        world.log.gate.set()


# -------------------------------------------------------------------------------------------------------------- limits
@pytest.mark.parametrize("cap", ["max_calls", "max_calls_a_peer"])
async def test_calls_beyond_the_caps_are_to_be_sent_again(world: World, cap: str) -> None:
    limits = GrpcLimits(**{"max_calls": 4, "max_calls_a_peer": 4, cap: 2})
    world.log.gate = asyncio.Event()
    async with serving(world, limits) as served:
        async with grpc.aio.insecure_channel(
            f"127.0.0.1:{served.server.ports[0]}", options=[("grpc.use_local_subchannel_pool", 1)]
        ) as other:
            calls = [asyncio.ensure_future(served.export(text)) for text in "ab"]
            await until(lambda: served.server.calls == 2, "both are under way")
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await LogsServiceStub(other).Export(request_for("c"), timeout=20)
            is_refused(caught.value, grpc.StatusCode.UNAVAILABLE)
            world.log.gate.set()
            await asyncio.gather(*calls)
        await served.export("c")
    await world.write()
    assert sorted(world.stored) == ["a", "b", "c"]


async def test_a_message_that_does_not_come_holds_no_other_up(world: World) -> None:
    limits = GrpcLimits(read_s=0.1, max_reading=1)
    async with serving(world, limits) as served:
        silent = served.channel.stream_unary(METHOD)(timeout=20)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await silent
        is_refused(caught.value, grpc.StatusCode.UNAVAILABLE)
        await served.export("a")
        assert await served.stored() == ["a"]


async def test_a_call_that_its_client_gives_up_leaves_nothing_behind(served: Served) -> None:
    served.world.log.gate = asyncio.Event()
    call = served.stub.Export(request_for("a"), timeout=20)
    await until(lambda: served.world.log.tries, "it is appended")
    call.cancel()
    await until(lambda: not served.server.calls, "it is over")
    served.world.log.gate.set()


async def test_at_the_end_calls_under_way_are_answered_and_others_refused(served: Served) -> None:
    served.world.log.gate = asyncio.Event()
    call = asyncio.ensure_future(served.export("a"))
    await until(lambda: served.world.log.tries, "it is appended")
    draining = asyncio.ensure_future(served.server.drain(20))
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await served.export("b")
    # Both are to be sent again; which of them is a matter of how far the end is.
    assert caught.value.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)
    assert not draining.done()
    served.world.log.gate.set()
    assert await call == ExportLogsServiceResponse()
    await draining
    assert await served.stored() == ["a"]


async def test_a_taken_port_is_said(served: Served) -> None:
    with pytest.raises(Unavailable, match="port"):
        await served.server.serve("127.0.0.1", served.server.ports[0])
