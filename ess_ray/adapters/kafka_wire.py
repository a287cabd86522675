"""How Kafka is reached: the settings, and connections to a cluster's brokers.

May live here: what any Kafka program needs. May not: topics of ours, retries, or the protocol's bytes.
"""

from __future__ import annotations

import asyncio
import random
import ssl
from dataclasses import dataclass, field
from typing import Any, Final

from aiokafka.client import AIOKafkaClient, CoordinationType
from aiokafka.errors import KafkaConnectionError, KafkaError

from ess_ray.core.errors import BadRequest, Unavailable

REACHING_ERRORS: Final = (KafkaError, OSError)
"""What a request may end with when nobody answered: its outcome is not known. (TimeoutError is an OSError.)"""

WITNESSES: Final = 2
"""Brokers that must agree on who leads: the leader that was asked is at the most one of them."""
PROTOCOLS: Final = ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")
MECHANISMS: Final = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")


@dataclass(frozen=True)
class KafkaSettings:
    """Where the event log lies and how it is reached. Times in seconds; `brokers` is `HOST:PORT,HOST:PORT`.

    `vnodes`, `replication`, `min_insync_replicas` and `retention_s` count when the topic is made; a topic that is
    there keeps its own. The log is safe from the loss of `replication - min_insync_replicas` brokers without pause.
    """

    brokers: str
    topic: str = "ess-events"
    vnodes: int = 64
    replication: int = 3
    min_insync_replicas: int = 2
    retention_s: int = 7 * 86_400
    """How long a stopped pool may be repaired before records that were not stored are lost."""
    group: str = "ess-ray"
    """The consumer group whose committed offsets tell lag tools how far the catalog is."""
    append_timeout_s: float = 10.0
    """An append that is not acknowledged by then is answered with Unavailable: an election takes a few seconds."""
    read_timeout_s: float = 5.0
    request_timeout_s: float = 5.0
    security_protocol: str = "PLAINTEXT"
    sasl_mechanism: str = "SCRAM-SHA-512"
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    ca_file: str | None = None
    """PEM; None: the system's authorities."""
    cert_file: str | None = None
    key_file: str | None = None

    def __post_init__(self) -> None:
        """Raise BadRequest for what can be seen to be wrong without a broker."""
        if self.security_protocol not in PROTOCOLS:
            raise BadRequest(
                f"the log's security protocol is one of {', '.join(PROTOCOLS)}, not {self.security_protocol}"
            )
        if self.security_protocol.startswith("SASL"):
            if self.sasl_mechanism not in MECHANISMS:
                raise BadRequest(
                    f"the log's SASL mechanism is one of {', '.join(MECHANISMS)}, not {self.sasl_mechanism}"
                )
            if self.username is None or self.password is None:
                raise BadRequest(
                    f"the log's security protocol {self.security_protocol} needs a username and a password"
                )

    def client_options(self) -> dict[str, Any]:
        """Give the arguments of aiokafka's clients. Raises BadRequest when a certificate cannot be read."""
        options: dict[str, Any] = {
            "bootstrap_servers": [broker.strip() for broker in self.brokers.split(",")],
            "client_id": "ess-ray",
            "request_timeout_ms": round(self.request_timeout_s * 1000),
            "security_protocol": self.security_protocol,
        }
        if self.security_protocol.startswith("SASL"):
            options["sasl_mechanism"] = self.sasl_mechanism
            options["sasl_plain_username"] = self.username
            options["sasl_plain_password"] = self.password
        if self.security_protocol.endswith("SSL"):
            try:
                context = ssl.create_default_context(cafile=self.ca_file)
                if self.cert_file is not None:
                    context.load_cert_chain(self.cert_file, self.key_file)
            except OSError as error:
                files = ", ".join(str(file) for file in (self.ca_file, self.cert_file, self.key_file) if file)
                raise BadRequest(f"the log's certificates cannot be read ({files}): {error}") from error
            options["ssl_context"] = context
        return options


class Brokers:
    """Connections to a cluster's brokers, made when first needed, in the event loop of the first call."""

    def __init__(self, settings: KafkaSettings) -> None:
        self._options = settings.client_options()
        self._client: AIOKafkaClient | None = None
        self._closed = False

    async def connect(self) -> None:
        """Find the brokers. Idempotent. Raises REACHING_ERRORS, Unavailable when closed for good."""
        if self._closed:
            raise Unavailable("the event log is closed: open it again")
        if self._client is not None:
            return
        client = AIOKafkaClient(**self._options)
        try:
            await client.bootstrap()
        except BaseException:
            await client.close()
            raise
        if self._client is None and not self._closed:
            self._client = client
        else:  # another call was quicker, or the log was closed meanwhile
            await client.close()

    async def send(self, node_id: int, request: Any) -> Any:
        """Send one request to one broker and give its response. Raises REACHING_ERRORS."""
        if self._client is None:
            raise KafkaConnectionError("not connected")
        return await self._client.send(node_id, request)

    async def send_to_any(self, request: Any) -> Any:
        """Send to the first broker that answers. Raises REACHING_ERRORS; then the brokers are looked up anew."""
        await self.connect()
        client = self._client
        if client is None:
            raise KafkaConnectionError("the connection was closed")
        nodes = [broker.nodeId for broker in client.cluster.brokers()]
        random.shuffle(nodes)
        trouble: Exception = KafkaConnectionError("the cluster names no brokers")
        for node_id in nodes:
            try:
                return await client.send(node_id, request)
            except REACHING_ERRORS as error:
                trouble = error
        if self._client is client:  # they may all have moved
            await self._forget()
        raise trouble

    async def witnesses(self, request: Any) -> list[Any]:
        """Ask some brokers and give the first WITNESSES answers (fewer only where the cluster is smaller).

        Raises REACHING_ERRORS when too few answer.
        """
        await self.connect()
        client = self._client
        if client is None:
            raise KafkaConnectionError("the connection was closed")
        nodes = [broker.nodeId for broker in client.cluster.brokers()]
        nodes = random.sample(nodes, min(len(nodes), WITNESSES + 1))  # one may hang
        asked = {asyncio.ensure_future(client.send(node_id, request)) for node_id in nodes}
        answers: list[Any] = []
        trouble: BaseException = KafkaConnectionError("the cluster names no brokers")
        pending = asked
        try:
            while pending:
                done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
                for each in done:
                    trouble = each.exception() or trouble
                answers += [each.result() for each in done if each.exception() is None]
                if len(answers) >= min(WITNESSES, len(nodes)):
                    return answers
            raise trouble
        finally:
            for each in pending:
                each.cancel()
            await asyncio.gather(*asked, return_exceptions=True)

    async def coordinator(self, group: str) -> int:
        """Name the broker that keeps a consumer group's offsets. Raises REACHING_ERRORS."""
        await self.connect()
        if self._client is None:
            raise KafkaConnectionError("the connection was closed")
        node_id: int = await self._client.coordinator_lookup(CoordinationType.GROUP, group)
        return node_id

    async def close(self) -> None:
        """Close all connections for good; what is under way ends with an error. Idempotent."""
        self._closed = True
        await self._forget()

    async def _forget(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            await client.close()
