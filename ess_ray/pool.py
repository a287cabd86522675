"""How many persist actors a system wants: the size asked for while it ran, kept beside the keys.

It lies in the store, not with Ray: a system that is brought down and up again, or whose head node is lost, has a new
Ray and the same data. The settings are the other place that says a size; of the two the later word counts. A wish is
kept with what the settings said then, and when they say something else at a later start, somebody changed them since.
"""

from __future__ import annotations

import logging
from typing import Final

import orjson

from ess_ray.core.errors import BadRequest, CorruptData
from ess_ray.core.summed import read_summed, with_sum
from ess_ray.damage import reading_from
from ess_ray.ports import ObjectStore

_log = logging.getLogger(__name__)

MAX_ACTORS: Final = 1024
"""As many as a log may have virtual nodes: an actor beyond their number would have nothing to do."""
SIZE_KEY: Final = "size.json"
_MAX_RECORD_BYTES: Final = 4096


def check_actors(actors: object) -> int:
    """Give the number of actors. Raises BadRequest for what cannot be one."""
    if not isinstance(actors, int) or isinstance(actors, bool) or not 1 <= actors <= MAX_ACTORS:
        raise BadRequest(f"the number of persist actors must be a whole number from 1 to {MAX_ACTORS}")
    return actors


class PoolSize:
    """The wanted number of persist actors, in an object store; `settings_actors` is what the settings say today."""

    def __init__(self, store: ObjectStore, settings_actors: int) -> None:
        self._store, self._settings_actors = store, settings_actors

    def read(self) -> int:
        """Give the number wanted last; the settings' when none was, they changed since, or it cannot be read."""
        try:
            told = _told(self._store)
        except CorruptData as error:
            _log.error("%s: the settings' number counts until `ess pool --actors N` writes it anew", error.message)
            told = None
        if told is None or told[1] != self._settings_actors:
            return self._settings_actors
        return told[0]

    def write(self, actors: int) -> None:
        """Keep the number durably. Idempotent. Raises BadRequest."""
        told = {"actors": check_actors(actors), "settings_actors": self._settings_actors}
        self._store.put(SIZE_KEY, with_sum(orjson.dumps(told)))


def size_flaw(store: ObjectStore) -> str | None:
    """Tell what is wrong with the number that is kept; None when it can be read, or none is."""
    try:
        _told(store)
    except CorruptData as error:
        return error.message
    return None


def _told(store: ObjectStore) -> tuple[int, object] | None:
    """Read the number wanted last, and what the settings said then. Raises CorruptData."""
    if store.head(SIZE_KEY) is None:
        return None
    try:
        with reading_from(store, SIZE_KEY):
            data = store.get_suffix(SIZE_KEY, _MAX_RECORD_BYTES)
        told = read_summed(data)
        return check_actors(told["actors"]), told["settings_actors"]
    except (ValueError, TypeError, KeyError, BadRequest) as error:
        raise CorruptData(f"{SIZE_KEY} does not read as a size of the pool") from error
