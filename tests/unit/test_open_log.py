"""Which log a process opens."""

from __future__ import annotations

from pathlib import Path

from ess_ray.adapters.dead_letters import StoredDeadLetters
from ess_ray.adapters.kafka_log import KafkaLog
from ess_ray.adapters.kafka_settings import KafkaSettings
from ess_ray.adapters.places import Places
from ess_ray.runtime.log import RemoteLog, open_dead_letters, open_log
from ess_ray.runtime.wiring import System


async def test_with_brokers_it_is_kafka_and_so_are_its_dead_letters(tmp_path: Path) -> None:
    system = System(Places(tmp_path), "test", kafka=KafkaSettings("127.0.0.1:1"))
    assert isinstance(open_log(system), KafkaLog)
    assert isinstance(open_dead_letters(system), KafkaLog)


def test_without_it_is_the_log_actor_and_dead_letters_lie_beside_the_events(tmp_path: Path) -> None:
    system = System(Places(tmp_path), "test")
    assert isinstance(open_log(system), RemoteLog)
    assert isinstance(open_dead_letters(system), StoredDeadLetters)
