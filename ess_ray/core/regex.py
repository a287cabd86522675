"""Regular expressions as Arrow's RE2 knows them: what is valid, what matches, how a literal is quoted.

One RE2 build decides validity (in `language`) and rows (in `filter`) alike, so nothing that parses can fail later, and
two builds never disagree on Unicode tables.
"""

from __future__ import annotations

import re

import pyarrow as pa
import pyarrow.compute as pc

from ess_ray.core.errors import BadRequest

_SPECIAL = re.compile(r"[^0-9A-Za-z_\u0080-\U0010ffff]")
"""RE2 takes a backslash before any ASCII punctuation as "the character itself", and needs none beyond ASCII."""
_REASON_PREFIX = "Invalid regular expression: "


def quote(text: str) -> str:
    """Write `text` as an RE2 pattern that matches exactly it, whatever stands around it (RE2's own QuoteMeta).

    Python's `re.escape` does not do: it leaves control characters bare and escapes NUL as backslash, NUL.
    """
    return _SPECIAL.sub(lambda found: "\\x00" if found[0] == "\0" else "\\" + found[0], text)


def invalid_reason(pattern: str, ignore_case: bool) -> str | None:
    """Tell why RE2 refuses the pattern (its syntax, or its size limit), or None when it is valid."""
    try:
        # Arrow compiles only when there is a value to match; an empty array would find every pattern valid.
        pc.match_substring_regex(pa.array([""]), pattern, ignore_case=ignore_case)
    except pa.ArrowInvalid as error:
        # RE2 repeats the pattern (or its rest) after the reason.
        return str(error).removeprefix(_REASON_PREFIX)[:200]
    except UnicodeEncodeError:
        return "it holds half of a surrogate pair"
    return None


def find(values: pa.StringArray, pattern: str, ignore_case: bool) -> pa.BooleanArray:
    """Tell for each value whether RE2 finds the pattern in it; null for null. No multiline, `.` is not newline.

    Raises BadRequest for a pattern that RE2 refuses.
    """
    try:
        return pc.match_substring_regex(values, pattern, ignore_case=ignore_case)
    except pa.ArrowInvalid as error:
        raise BadRequest(f"RE2 does not take this regular expression: {error}") from error
