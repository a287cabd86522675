"""How many persist actors a system wants: the size asked for while it ran, kept beside the keys.

It lies in the store, not with Ray: a system that is brought down and up again, or whose head node is lost, has a new
Ray and the same data. The settings are the other place that says a size; of the two the later word counts. A wish is
kept with what the settings said then, and when they say something else at a later start, somebody changed them since.

May live here: keeping and reading that number. May not: the actors themselves (`runtime.supervisor`).
"""

from __future__ import annotations

from typing import Final

import orjson

from ess_ray.core.errors import BadRequest, CorruptData
from ess_ray.ports import ObjectStore

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
        """Give the number wanted last; the settings' when none was, or when they changed since. Raises CorruptData."""
        if self._store.head(SIZE_KEY) is None:
            return self._settings_actors
        try:
            told = orjson.loads(self._store.get_suffix(SIZE_KEY, _MAX_RECORD_BYTES))
            actors, settings_actors = check_actors(told["actors"]), told["settings_actors"]
        except (ValueError, TypeError, KeyError, BadRequest) as error:
            raise CorruptData(f"pool/{SIZE_KEY} does not read as a size of the pool: remove it") from error
        return actors if settings_actors == self._settings_actors else self._settings_actors

    def write(self, actors: int) -> None:
        """Keep the number durably. Idempotent. Raises BadRequest."""
        told = {"actors": check_actors(actors), "settings_actors": self._settings_actors}
        self._store.put(SIZE_KEY, orjson.dumps(told))
