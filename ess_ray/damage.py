"""Objects that cannot be read as they were written: told from a store that is away, and named.

Whoever reads many objects goes on without the one that is damaged; only where the store itself does not answer has it
to wait.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from ess_ray.core.chunk import reading
from ess_ray.core.errors import CorruptData, EssError, NewerFormat, NotFound
from ess_ray.ports import ObjectStore

MAX_NAMED: Final = 20
"""Damaged objects that one message or status names: a folder that was lost may have thousands. `ess verify` has all."""


@dataclass(frozen=True, slots=True)
class Damaged:
    """An object that is not as it was written, and what is wrong with it."""

    key: str
    reason: str

    def __str__(self) -> str:
        return self.reason if self.key in self.reason else f"{self.key}: {self.reason}"


@contextmanager
def reading_from(store: ObjectStore, key: str) -> Iterator[None]:
    """Have whatever reading this object raises be NotFound, CorruptData or NewerFormat; Unavailable only for the store.

    A store that cannot give the object, though it answers what is asked about it (a bad sector, rights, an archive), is
    no store that is away.
    """
    try:
        with reading(key):
            yield
    except (NotFound, CorruptData, NewerFormat):
        raise
    except (EssError, OSError) as error:
        store.head(key)  # raises when it is the store
        raise CorruptData(f"{key} cannot be read, though its store answers: {error}", key=key) from error


def named(damaged: Sequence[str]) -> str:
    """Put what is damaged into one line, the first MAX_NAMED by name."""
    more = f"; and {len(damaged) - MAX_NAMED:,} more: `ess verify` names all" if len(damaged) > MAX_NAMED else ""
    return "; ".join(damaged[:MAX_NAMED]) + more
