"""Parts of a query, written so that they read back as what they were: the counterpart of the scanner."""

from __future__ import annotations

import re

from ess_ray.core.field import Field
from ess_ray.language.names import is_bare_name, name_of

_ESCAPED = re.compile(r'\\(["\\])')
# Values that may stand without quotes: nothing in them means anything to the language.
_BARE_VALUE = re.compile(r"\w[\w.:@#%&+,;=/-]*")


def quoted(text: str) -> str:
    """Write a text as a phrase, which contains exactly this."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def unquoted(phrase: str) -> str:
    """Read what `quoted` wrote: the two escapes, and no other."""
    return _ESCAPED.sub(r"\1", phrase[1:-1])


def regex_term(pattern: str) -> str:
    """Write a term of a regex in which every slash is escaped."""
    return f"/{pattern}/"


def written_name(name: str) -> str:
    """Write a field's name as it stands before a colon: in quotes where it needs them."""
    return name if is_bare_name(name) else quoted(name)


def field_term(field: Field, value: str) -> str:
    """Write FIELD:value, which finds the events whose field equals `value`."""
    return f"{written_name(name_of(field))}:{value if _BARE_VALUE.fullmatch(value) else quoted(value)}"
