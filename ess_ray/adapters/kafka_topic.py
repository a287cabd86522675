"""One Kafka topic: made when it is not there, described, its leaders known, its offsets asked for."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar
from uuid import UUID

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError
from aiokafka.protocol.offset import OffsetRequest

from ess_ray.adapters.kafka_requests import (
    FENCED_LEADER_EPOCH,
    INVALID_REPLICATION,
    NO_LEADER,
    TOPIC_EXISTS,
    UNKNOWN_TOPIC,
    DescribeTopic,
    Refused,
    check_code,
)
from ess_ray.adapters.kafka_settings import KafkaSettings
from ess_ray.adapters.kafka_wire import REACHING_ERRORS, Brokers
from ess_ray.core.errors import Conflict, DataLoss, Unavailable

_log = logging.getLogger(__name__)

START: Final = -2
END: Final = -1
"""Kafka's names for a partition's first offset, and for the one after the last that all in-sync replicas hold."""
RETRY_S: Final = 0.05
"""Pause before a request is tried again: short beside an election (1 s and more), long beside a round trip (1 ms)."""

T = TypeVar("T")


@dataclass(frozen=True)
class Description:
    """A topic's id, and per partition its leader (-1: none just now), the leader's epoch, the number of replicas."""

    topic_id: UUID
    leaders: Mapping[int, int]
    epochs: Mapping[int, int]
    replicas: Mapping[int, int]


@dataclass(frozen=True)
class TopicPlan:
    """What a topic is made with, and should have."""

    name: str
    partitions: int
    replication: int
    configs: Mapping[str, str]


class Topic:
    """A topic of a cluster. Its id and number of partitions are those found first, for the life of this object."""

    def __init__(self, brokers: Brokers, settings: KafkaSettings, plan: TopicPlan) -> None:
        self.brokers = brokers
        self.name = plan.name
        self._settings = settings
        self._plan = plan
        self._opened: Description | None = None
        self._now: Description | None = None
        self._described_s = float("-inf")
        self._describing = asyncio.Lock()

    # ------------------------------------------------------------------------------------------------------ describing
    async def opened(self) -> Description:
        """Describe the topic as it was found first; it is made if it is not there. Raises Unavailable."""
        if self._opened is None:
            await self.retried(f"open the topic {self.name}", self.refresh, self._settings.append_timeout_s)
        if self._opened is None:
            raise Unavailable(f"the topic {self.name} is not there just now: try again in a few seconds")
        return self._opened

    async def leader(self, partition: int) -> int:
        """Name the broker that leads a partition. Raises Refused (transient) while there is none."""
        leader = self._now.leaders.get(partition, -1) if self._now is not None else -1
        if leader < 0:
            await self.refresh()
            leader = self._now.leaders.get(partition, -1) if self._now is not None else -1
        if leader < 0:
            raise Refused(NO_LEADER)
        return leader

    async def refresh(self) -> None:
        """Describe the topic anew; calls at the same time share one request.

        Raises DataLoss when another topic has taken its name, Conflict when it has got more partitions (in both cases
        whoever holds this log must begin anew), Refused or REACHING_ERRORS.
        """
        loop = asyncio.get_running_loop()
        asked_s = loop.time()
        async with self._describing:
            if self._described_s >= asked_s:
                return
            now = await self._describe()
            if now is None and self._opened is None:
                await self._create()
                raise Refused(UNKNOWN_TOPIC)  # brokers hear of it one after the other: described when tried again
            if now is None:
                self._now = None
                raise Refused(UNKNOWN_TOPIC)
            self._opened = self._opened or now
            self._check(self._opened, now)
            self._now = now
            self._described_s = loop.time()

    async def _describe(self) -> Description | None:
        return self._read(await self.brokers.send_to_any(DescribeTopic(self.name)))

    def _read(self, response: Any) -> Description | None:
        ((code, _, topic_id, _, partitions, _, _),) = response.topics
        if code == UNKNOWN_TOPIC:
            return None
        check_code(code)
        leaders = {partition: leader for _, partition, leader, *_ in partitions}
        epochs = {partition: epoch for _, partition, _, epoch, *_ in partitions}
        replicas = {partition: len(nodes) for _, partition, _, _, nodes, *_ in partitions}
        return Description(topic_id, leaders, epochs, replicas)

    def _check(self, opened: Description, now: Description) -> None:
        if now.topic_id != opened.topic_id:
            raise DataLoss(
                f"the topic {self.name} was deleted and made anew while it was in use: what had not been stored yet is "
                "lost; restart the system to go on with the new topic",
                topic=self.name,
            )
        if len(now.leaders) != len(opened.leaders):
            raise Conflict(
                f"the topic {self.name} has {len(now.leaders)} partitions, but had {len(opened.leaders)}: the "
                "partitions of an event log are fixed for life; restart the system, so that the new ones are read",
                topic=self.name,
            )

    async def _create(self) -> None:
        """Make the topic; somebody else's being quicker is as good. Raises Refused, REACHING_ERRORS."""
        plan = self._plan
        admin = AIOKafkaAdminClient(**self._settings.client_options())
        try:
            await admin.start()
            topic = NewTopic(plan.name, plan.partitions, plan.replication, topic_configs=dict(plan.configs))
            response = await admin.create_topics([topic])
        finally:
            await admin.close()
        ((_, code, *told),) = response.topic_errors
        if code == INVALID_REPLICATION:
            _log.warning("the topic %s cannot be made with %d replicas yet: %s", plan.name, plan.replication, told)
            raise Refused(UNKNOWN_TOPIC)  # brokers may be joining
        if code != TOPIC_EXISTS:
            check_code(code)

    async def weaknesses(self) -> list[str]:
        """Tell where the topic keeps less than a log must (docs/virtual-nodes.md): for `ess doctor` and the status.

        Raises Unavailable.
        """
        opened = await self.opened()
        found = await self.retried("describe the topic's settings", self._configs, self._settings.read_timeout_s)
        told = []
        fewest = min(opened.replicas.values())
        if fewest < 3:
            told.append(
                f"topic {self.name}: {fewest} replicas instead of 3: a lost broker may lose acknowledged events"
            )
        if int(found.get("min.insync.replicas", "1")) < 2:
            told.append(f"topic {self.name}: min.insync.replicas is below 2: one broker's disk may hold the only copy")
        if found.get("unclean.leader.election.enable") == "true":
            told.append(f"topic {self.name}: unclean leader election is on: it gives up acknowledged events")
        if "compact" in found.get("cleanup.policy", ""):
            told.append(f"topic {self.name}: cleanup.policy holds compact: events with equal keys are removed")
        return told

    async def _configs(self) -> dict[str, str]:
        admin = AIOKafkaAdminClient(**self._settings.client_options())
        try:
            await admin.start()
            responses = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, self.name)])
        finally:
            await admin.close()
        ((code, _, _, _, entries),) = responses[0].resources
        check_code(code)
        return {name: value for name, value, *_ in entries}

    # --------------------------------------------------------------------------------------------------------- offsets
    async def offsets(self, when: int, partitions: Sequence[int]) -> dict[int, int]:
        """Ask the leaders for START or END of the partitions, one request to each, and witnesses that they still lead.

        A leader that was cut off or stood still, and has been replaced without its knowing, tells an old end: what its
        successor acknowledged meanwhile would silently be left out of a search. Raises Refused, REACHING_ERRORS.
        """
        by_node: dict[int, list[int]] = {}
        for partition in partitions:
            by_node.setdefault(await self.leader(partition), []).append(partition)
        asked = self._now
        responses = await asyncio.gather(
            *(
                self.brokers.send(node, OffsetRequest(-1, 0, [(self.name, [(partition, when) for partition in mine])]))
                for node, mine in by_node.items()
            )
        )
        found = {}
        for response in responses:
            for _, answers in response.topics:
                for partition, code, _, offset, *_ in answers:
                    check_code(code)
                    found[partition] = offset
        for response in await self.brokers.witnesses(DescribeTopic(self.name)):
            self._hear(self._read(response), asked, partitions)
        return found

    def _hear(self, now: Description | None, asked: Description | None, partitions: Sequence[int]) -> None:
        """Compare what a witness says with whom we asked. Raises Refused when a leader was replaced; see `refresh`."""
        if now is None or asked is None or self._opened is None:
            raise Refused(UNKNOWN_TOPIC)
        self._check(self._opened, now)
        if any(now.epochs[partition] > asked.epochs[partition] for partition in partitions):
            raise Refused(FENCED_LEADER_EPOCH)

    # -------------------------------------------------------------------------------------------------------- retrying
    async def retried(self, what: str, attempt: Callable[[], Awaitable[T]], timeout_s: float) -> T:
        """Try until it succeeds, with a fresh description after each failure; for requests that may be repeated.

        Raises Unavailable at the deadline, and at once when a broker's refusal will not go by itself.
        """
        loop = asyncio.get_running_loop()
        deadline_s = loop.time() + timeout_s
        trouble: Exception | None = None
        while True:
            try:
                async with asyncio.timeout_at(deadline_s):
                    if trouble is not None:
                        await asyncio.sleep(RETRY_S)
                        await self.refresh()
                    return await attempt()
            except Refused as error:
                trouble = error
                if not error.transient:
                    raise Unavailable(f"could not {what}: {error}; correct the broker's or our settings") from error
            except REACHING_ERRORS as error:
                # The deadline itself tells less than what went wrong before it.
                trouble = error if trouble is None or isinstance(error, KafkaError) else trouble
            if loop.time() >= deadline_s:
                raise Unavailable(
                    f"could not {what} within {timeout_s:g} s ({_told(trouble)}): is Kafka at {self._settings.brokers} "
                    "up, and does it take our credentials? Try again in a few seconds"
                ) from trouble


def _told(error: Exception) -> str:
    return str(error) or type(error).__name__
