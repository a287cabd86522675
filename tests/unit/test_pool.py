"""The wanted size of the pool: the later word counts, the settings' or the one asked for."""

from __future__ import annotations

from pathlib import Path

import pytest

from ess_ray.adapters.object_store import LocalObjectStore
from ess_ray.core.errors import BadRequest, Unavailable
from ess_ray.pool import MAX_ACTORS, SIZE_KEY, PoolSize, size_flaw
from ess_ray.settings import load
from tests.stores import AilingStore


def test_without_a_wish_the_settings_count(tmp_path: Path) -> None:
    assert PoolSize(LocalObjectStore(tmp_path), 3).read() == 3


def test_a_wish_outlives_a_restart_until_the_settings_change(tmp_path: Path) -> None:
    PoolSize(LocalObjectStore(tmp_path), 2).write(5)
    assert PoolSize(LocalObjectStore(tmp_path), 2).read() == 5
    assert PoolSize(LocalObjectStore(tmp_path), 3).read() == 3


@pytest.mark.parametrize("actors", [0, -1, MAX_ACTORS + 1, True, 1.5, "2"])
def test_a_number_that_cannot_be_is_refused_and_nothing_is_kept(tmp_path: Path, actors: int) -> None:
    size = PoolSize(LocalObjectStore(tmp_path), 2)
    with pytest.raises(BadRequest, match="from 1 to"):
        size.write(actors)
    assert size.read() == 2


@pytest.mark.parametrize("text", [b"", b"[]", b'{"actors": 0, "settings_actors": 2}', b"{"])
def test_what_does_not_read_as_a_size_is_named_and_the_settings_count(
    tmp_path: Path, text: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    store = LocalObjectStore(tmp_path)
    store.put(SIZE_KEY, text)
    assert PoolSize(store, 2).read() == 2
    assert "ess pool --actors" in caplog.text
    assert SIZE_KEY in str(size_flaw(store))
    PoolSize(store, 2).write(3)
    assert size_flaw(store) is None


def test_a_size_that_the_disk_does_not_give_is_named_and_the_settings_count() -> None:
    """A pool that waited for it would store nothing for anybody."""
    store = AilingStore(lambda: 0)
    PoolSize(store, 2).write(5)
    store.unreadable = {SIZE_KEY}
    assert PoolSize(store, 2).read() == 2
    assert "Input/output error" in str(size_flaw(store))
    store.away = True
    with pytest.raises(Unavailable):
        PoolSize(store, 2).read()


def test_replicas_of_settings_are_in_order_and_several_for_search_need_redis(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert (load().push.most_replicas, load().search.most_replicas) == (2, 1)
    monkeypatch.setenv("ESS_PUSH__MAX_REPLICAS", "1")
    with pytest.raises(BadRequest, match="at least replicas"):
        load()
    monkeypatch.setenv("ESS_PUSH__MAX_REPLICAS", "8")
    assert load().push.most_replicas == 8
    monkeypatch.setenv("ESS_SEARCH__MAX_REPLICAS", "2")
    with pytest.raises(BadRequest, match=r"results\.redis_url"):
        load()
    monkeypatch.setenv("ESS_RESULTS__REDIS_URL", "redis://127.0.0.1:6379/0")
    assert load().search.most_replicas == 2
    monkeypatch.setenv("ESS_SEARCH__REPLICAS", "3")
    with pytest.raises(BadRequest, match="at least replicas"):
        load()
