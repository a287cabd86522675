"""Formats that a user says with a regular expression, whose named groups are fields.

RE2 takes time that grows with the text alone, whatever the pattern.
"""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from ess_ray.core.aliases import SENT_AS
from ess_ray.core.errors import BadRequest
from ess_ray.intake.lines.text_format import Event, TextFormat, number_or_text
from ess_ray.intake.lines.times import LineReader

_TIMES = ("timestamp", *SENT_AS["timestamp"])
_FIELDS = frozenset({*SENT_AS, *(name for names in SENT_AS.values() for name in names)})


class Custom:
    """A pattern with named groups, `(?P<name>...)`: names of the field table are fields, others attributes; without a
    message the whole text is it. Raises BadRequest for what RE2 does not take, and without a named group."""

    def __init__(self, pattern: str) -> None:
        self._pattern = pattern
        try:
            reason = None if pc.extract_regex(pa.array([""]), pattern).type.num_fields else "no group has a name"
        except pa.ArrowInvalid as error:
            reason = str(error)[:200]
        if reason is not None:
            raise BadRequest(
                f"{pattern!r} does not say what to take out of a line ({reason}): name each part, as in "
                r"'^(?P<timestamp>\S+) (?P<level>\w+) (?P<message>.*)$', in RE2's syntax"
            )

    def format(self) -> TextFormat:
        """Give it as a format."""
        return TextFormat("parse", self._read)

    def _read(self, text: str, times: LineReader) -> Event | None:
        found = pc.extract_regex(pa.array([text]), self._pattern)[0].as_py()
        if found is None:
            return None
        given = {name: value for name, value in found.items() if value}
        event: Event = {}
        for name in _TIMES:
            if name in given and (at_us := times.time_of(given[name])) is not None:
                del given[name]
                event["timestamp"] = at_us
                break
        event |= {name: value for name, value in given.items() if name in _FIELDS}
        rest = {name: number_or_text(value) for name, value in given.items() if name not in _FIELDS}
        return {**event, "attributes": rest} if rest else event
