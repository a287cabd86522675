"""What goes wrong while an object is read is told of that object, whatever it is."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from ess_ray.core.errors import CorruptData, EssError

_log = logging.getLogger(__name__)


@contextmanager
def reading(key: str) -> Iterator[None]:
    """Turn every exception into one that names the object `key`: EssError and OSError as they are, else CorruptData.

    Damaged bytes make libraries raise nearly anything, and one object must not take the answer of all others along. An
    error of our own would look alike, so its traceback goes into the log.
    """
    try:
        yield
    except (EssError, OSError):
        raise
    except Exception as error:
        _log.exception("%s cannot be read", key)
        raise CorruptData(f"{key} cannot be read: {type(error).__name__}: {error}") from error
