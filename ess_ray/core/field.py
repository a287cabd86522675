"""Fields: what a test looks at, and the columns that some of them are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

STRING_COLUMNS: Final = frozenset({"level", "service", "host", "message", "trace_id", "span_id", "event_id", "log_id"})
NUMBER_COLUMNS: Final = frozenset({"severity_number", "vnode", "offset", "row"})
TIME_COLUMNS: Final = frozenset({"timestamp", "observed_timestamp"})
COLUMNS: Final = STRING_COLUMNS | NUMBER_COLUMNS | TIME_COLUMNS
OWN_COLUMNS: Final = frozenset({"observed_timestamp", "event_id", "log_id", "vnode", "offset", "row"})
"""Columns that no client sends under their name: without OWN_PREFIX, such a name means an attribute of a client's."""
OWN_PREFIX: Final = "_ess."
"""What names of ours begin with (`_ess.offset`): an attribute's key never does."""

ATTRIBUTES_PREFIX: Final = "attributes."
"""What the full name of an attribute begins with: it is no part of its key, wherever the name is told."""


@dataclass(frozen=True, slots=True)
class Field:
    """What a test looks at: a stored column, or an attribute: one value that passes is enough.

    An attribute has the values of its key, and of those called `name#2`, ... (`attribute.keys_of`), since `name` was
    taken; of an array its text, and the values in it.
    """

    name: str
    attribute: bool = False


MESSAGE: Final = Field("message")
