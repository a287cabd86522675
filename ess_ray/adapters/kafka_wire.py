"""How Kafka is reached: the settings, and connections to a cluster's brokers."""

from __future__ import annotations

import asyncio
import random
from typing import Any, Final

from aiokafka.client import AIOKafkaClient, CoordinationType
from aiokafka.errors import KafkaConnectionError, KafkaError

from ess_ray.adapters.kafka_settings import KafkaSettings
from ess_ray.core.errors import Unavailable

REACHING_ERRORS: Final = (KafkaError, OSError)
"""What a request may end with when nobody answered: its outcome is not known. (TimeoutError is an OSError.)"""

WITNESSES: Final = 2
"""Brokers that must agree on who leads: the leader that was asked is at the most one of them."""


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
