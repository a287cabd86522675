"""The listener of OTLP over gRPC: log records in, answered once they are durable.

Needs no Ray: whoever holds it gives it what stores (`Storing`) and who knows keys, and asks it to `serve` and to
`drain`. Messages arrive as bytes and are read once, by the format that HTTP has, too; they are decompressed here, where
they are counted while they grow. A call is judged by its metadata before any of its message is read.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import DESCRIPTOR

from ess_ray.core.errors import EssError, Unauthenticated, Unavailable
from ess_ray.intake.formats.otlp import OTLP_LOGS
from ess_ray.intake.reading_places import ReadingPlaces, counted
from ess_ray.intake.storing import Storing, let_go
from ess_ray.problem import refusal_of

_log = logging.getLogger(__name__)

METHOD: Final = f"/{DESCRIPTOR.services_by_name['LogsService'].full_name}/Export"
PROTOBUF: Final = "application/x-protobuf"
DRAIN_S: Final = 10.0
"""How long calls may take to be stored and answered, at the end."""
_MIB: Final = 1024 * 1024
_RETRY_S: Final = 1
"""When a client may send again: clients give up at once where it is more than they have left, which may be seconds."""
_DETAILS: Final = "grpc-status-details-bin"
_MAGIC: Final = ((b"\x1f\x8b", "gzip"), (b"\x28\xb5\x2f\xfd", "zstd"))
"""How a compressed message begins. As protobuf these are fields that OTLP has none of."""
_ZLIB: Final = 0x78
_CODES: Final = {
    **dict.fromkeys((400, 404, 413, 415, 422), grpc.StatusCode.INVALID_ARGUMENT),
    401: grpc.StatusCode.UNAUTHENTICATED,
    403: grpc.StatusCode.PERMISSION_DENIED,
}
"""What is final, by the status that it has over HTTP. All else is UNAVAILABLE, which clients repeat."""

TenantOf = Callable[[str], Awaitable[str]]
"""Gives the tenant of a call by its metadata `authorization` (an empty text where it has none), as HTTP's header is
read. Raises Unauthenticated, Forbidden, Unavailable."""


@dataclass(frozen=True)
class GrpcLimits:
    """What one listener takes."""

    max_message_bytes: int = 64 * _MIB
    """A message, compressed or not: as much as over HTTP."""
    max_calls: int = 256
    """Under way at once; more are UNAVAILABLE, unread."""
    max_calls_a_peer: int = 128
    """The same, from one address: half, so that no host keeps all others out."""
    max_reading: int = 3
    """Messages that are read at once, of which no more than two from one address: nobody knows how long one is before
    it is there, so that these are what is held beyond the gate. What is not read is held up by its sender."""
    read_s: float = 30.0
    """How long a message may take to come: 64 MiB at 18 Mbit/s."""
    hurried_s: float = 3.0
    """The same while others wait to be read: few slow ones must not keep all others out."""
    ask_again_s: float = 1.0
    """Between two looks whether a call would still be let in: half of what a revoked key may go on."""
    keepalive_s: float = 60.0
    """Between two pings on a silent connection, so that dead ones are found."""


class OtlpGrpcServer:
    """One listener, on one event loop."""

    def __init__(self, *, storing: Storing, tenant_of: TenantOf, limits: GrpcLimits | None = None) -> None:
        self._storing, self._tenant_of, self._limits = storing, tenant_of, limits or GrpcLimits()
        self._servers: list[Any] = []
        self._calls: Counter[str] = Counter()
        self._places = ReadingPlaces(self._limits.max_reading, self._limits.hurried_s)
        self._drains = False
        self.ports: list[int] = []
        """The ports that are listened at."""

    @property
    def calls(self) -> int:
        """Calls under way."""
        return self._calls.total()

    async def serve(self, host: str, port: int, credentials: grpc.ServerCredentials | None = None) -> None:
        """Listen from now on; may be called for several places. Port 0 is any free one. Raises Unavailable."""
        server = grpc.aio.server(options=self._options())
        server.add_generic_rpc_handlers((_Handler(self._export),))
        address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        try:
            if credentials is None:
                bound = server.add_insecure_port(address)
            else:
                bound = server.add_secure_port(address, credentials)
        except RuntimeError as error:
            raise Unavailable(f"port {port} of {host} cannot be used ({error})", port=port) from error
        await server.start()
        self._servers.append(server)
        self.ports.append(bound)

    async def drain(self, within_s: float = DRAIN_S) -> None:
        """Take no more calls, answer those that are under way, close. Idempotent. After `within_s` the calls that are
        left end as UNAVAILABLE."""
        self._drains = True
        await asyncio.gather(*(server.stop(within_s) for server in self._servers))
        self.ports = []

    def _options(self) -> list[tuple[str, int]]:
        keepalive_ms = round(self._limits.keepalive_s * 1_000)
        return [
            ("grpc.max_receive_message_length", self._limits.max_message_bytes),
            ("grpc.per_message_decompression", 0),
            ("grpc.so_reuseport", 0),
            ("grpc.max_concurrent_streams", self._limits.max_calls),
            # Else it asks for ever more of messages that nobody reads yet, up to tens of MB of each.
            ("grpc.http2.bdp_probe", 0),
            ("grpc.keepalive_time_ms", keepalive_ms),
            ("grpc.keepalive_permit_without_calls", 1),
            ("grpc.http2.max_ping_strikes", 0),
        ]

    # ----------------------------------------------------------------------------------------------------------- calls
    async def _export(self, _: Any, context: Any) -> bytes:
        """Answer one call."""
        peer = _host_of(context.peer())
        try:
            with counted(self._calls, peer):
                self._check_room(peer)
                return await self._let_in_and_store(context, peer)
        except EssError as error:
            let_go(error)
            status = refusal_of(error, later=True)
            refused = status.status, status.message
        except Exception:  # noqa: BLE001 (logged; not proven to be the call's fault: clients repeat what is UNAVAILABLE)
            _log.exception("an OTLP call of %s failed", peer)
            refused = 503, "something is wrong here: nothing was acknowledged, send it again"
        await _refuse(context, *refused)
        raise AssertionError("a refused call is over")

    def _check_room(self, peer: str) -> None:
        """Raise Unavailable where there are too many calls."""
        if self._drains:
            raise Unavailable("this process ends: nothing was kept, send it again")
        if self.calls > self._limits.max_calls or self._calls[peer] > self._limits.max_calls_a_peer:
            raise Unavailable("too many calls are under way: nothing was kept, send it again in a second")

    async def _let_in_and_store(self, context: Any, peer: str) -> bytes:
        """Store a call's message for as long as its key is good."""
        authorization = _authorization(context)
        tenant = await self._tenant_of(authorization)
        storing = asyncio.create_task(self._store(context, peer, tenant), name="store an OTLP call")
        try:
            while not (await asyncio.wait([storing], timeout=self._limits.ask_again_s))[0]:
                if await self._tenant_of(authorization) != tenant:
                    raise Unauthenticated("this key is another tenant's by now: send the request again")
            return await storing
        finally:
            if not storing.done():
                storing.cancel()
                with suppress(asyncio.CancelledError, Exception):
                    await storing

    async def _store(self, context: Any, peer: str, tenant: str) -> bytes:
        message = await self._message(context, peer)
        encoding, claim = _encoding_of(message), self._storing.gate.claim(tenant)
        stored = await self._storing.store(tenant, OTLP_LOGS, message, claim, content_type=PROTOBUF, encoding=encoding)
        return OTLP_LOGS.accepted(stored, PROTOBUF).content

    async def _message(self, context: Any, peer: str) -> bytes:
        """Read a call's message, in its turn. Raises Unavailable where it does not come."""
        try:
            async with asyncio.timeout(self._limits.read_s), self._places.place(peer):
                message = await context.read()
        except TimeoutError as error:
            raise Unavailable("the message does not come: nothing was kept, send it again") from error
        if message is grpc.aio.EOF:
            raise Unavailable("the call ended before its message: nothing was kept, send it again")
        read: bytes = message
        return read


class _Handler(grpc.GenericRpcHandler):  # type: ignore[misc]
    """Routes the one method, whose handler reads its message: as a stream of one, which is the same on the wire."""

    def __init__(self, export: Callable[[Any, Any], Awaitable[bytes]]) -> None:
        self._handler = grpc.stream_unary_rpc_method_handler(export)

    def service(self, handler_call_details: Any) -> Any:
        """Give the handler of a method; None where there is none, which is UNIMPLEMENTED."""
        return self._handler if handler_call_details.method == METHOD else None


async def _refuse(context: Any, status: int, message: str) -> None:
    """End a call. What may be repeated says when."""
    code = _CODES.get(status, grpc.StatusCode.UNAVAILABLE)
    details = Status(code=code.value[0], message=message)
    if code is grpc.StatusCode.UNAVAILABLE:
        packed = AnyMessage()
        packed.Pack(RetryInfo(retry_delay=Duration(seconds=_RETRY_S)))
        details.details.append(packed)
    await context.abort(code, message, ((_DETAILS, details.SerializeToString()),))


def _authorization(context: Any) -> str:
    for name, value in context.invocation_metadata() or ():
        if name == "authorization":
            return value.decode("latin-1") if isinstance(value, bytes) else str(value)
    return ""


def _host_of(peer: str) -> str:
    """Give a peer's address (`ipv4:127.0.0.1:80`) without its port."""
    return peer.rpartition(":")[0]


def _encoding_of(message: bytes) -> str | None:
    """Tell how a message is compressed, by how it begins: clients leave small ones as they are."""
    for magic, encoding in _MAGIC:
        if message.startswith(magic):
            return encoding
    is_zlib = len(message) > 1 and message[0] == _ZLIB and int.from_bytes(message[:2], "big") % 31 == 0
    return "deflate" if is_zlib else None
