"""Lines of one input to events: texts are joined, and each is read by its format, or is a plain message.

Nothing is left out: every line is in a group, and a group is an event, empty, or a header. What a format does not
understand is stored as the message that it is, and said.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Literal

from ess_ray.core.timestamps import parse_timestamp_us
from ess_ray.intake.fields import FIELD_TABLE, find
from ess_ray.intake.lines.catalog import SPECS, Spec, inner_formats
from ess_ray.intake.lines.custom import Custom
from ess_ray.intake.lines.joining import Caps, Starts, join
from ess_ray.intake.lines.journal import entries
from ess_ray.intake.lines.objects import load_object, meant_by
from ess_ray.intake.lines.raw import Line
from ess_ray.intake.lines.tables import Table
from ess_ray.intake.lines.text_format import Event, TextFormat
from ess_ray.intake.lines.texts import Text, contained, plain
from ess_ray.intake.lines.times import LineReader

Kind = Literal["event", "plain", "object", "header", "blank", "too long"]
PARSE: Final = "parse"
"""The name of the format that a pattern of the user's is."""


@dataclass(frozen=True, slots=True)
class Group:
    """The texts of one event. `more`: reading cannot stop behind it, see `Text`."""

    texts: list[Text]

    @property
    def lines(self) -> list[Line]:
        return [line for text in self.texts for line in text.lines]

    @property
    def more(self) -> bool:
        return self.texts[-1].more

    @property
    def is_broken(self) -> bool:
        return any(text.is_broken for text in self.texts)

    @property
    def text(self) -> str:
        return self.texts[0].text if len(self.texts) == 1 else "\n".join(text.text for text in self.texts)


@dataclass(frozen=True, slots=True)
class Found:
    """What a group is. `plain`: an event of a text that the format does not understand. Of an `object` the event is
    what was written, and `besides` what it gets in place of its own members. An event's `timestamp` is in microseconds;
    without one its time is not known."""

    kind: Kind
    event: Event
    besides: Event | None = None


class Parser:
    """Reads one input of one format. `header`: of the part that was read before; `is_start`: none was."""

    def __init__(
        self,
        form: str,
        times: LineReader,
        *,
        pattern: str | None = None,
        multiline: str | None = None,
        header: str = "",
        is_start: bool = True,
        crlf: bool = False,
        caps: Caps | None = None,
    ) -> None:
        self._spec = SPECS[form] if pattern is None else Spec(PARSE, Custom(pattern).format())
        self._joiner: Callable[[], Any] = self._spec.joiner if multiline is None else partial(Starts, multiline)
        self._times, self._crlf, self._caps = times, crlf, caps or Caps()
        self.header, self._is_first = header, is_start

    def groups(self, lines: Iterable[Line], *, may_go_on: bool = False) -> Iterator[Group]:
        """Group lines. At most the line behind a group has been taken from `lines` when it is given, and those of
        groups that may yet go on. `may_go_on`: the input is longer than what is there of it."""
        spec, crlf = self._spec, self._crlf
        if spec.envelope == "journal":
            texts = entries(lines, may_go_on=may_go_on)
        elif spec.opens is not None:
            texts = contained(lines, spec.opens, crlf=crlf, may_go_on=may_go_on)
        else:
            texts = plain(lines, crlf=crlf)
        return (Group(group) for group in join(texts, self._joiner(), self._caps, may_go_on=may_go_on))

    def read(self, group: Group) -> Found:
        """Read a group; they come in their order. Raises NoZone at a time whose zone nobody can tell."""
        first, text = group.texts[0], group.text
        if first.is_too_long:
            return Found("too long", {})
        if not text and first.envelope is None:
            return Found("blank", {})
        was_first, self._is_first = self._is_first, False
        if first.envelope is not None:
            return Found("event", self._enveloped(text, first.envelope))
        if self._spec.envelope == "object":
            event = load_object(text)
            return self._plain(text) if event is None else Found("object", event, meant_by(event))
        return self._formatted(text, was_first)

    def _formatted(self, text: str, is_first: bool) -> Found:
        reads = self._spec.read
        if reads is None:
            return Found("event", self._facts(text)) if self._spec.envelope == "none" else self._plain(text)
        if isinstance(reads, Table):
            if reads.is_header(text, is_first):
                header = reads.header_of(text)
                self.header = self.header if header is None else header
                return Found("header", {})
            event = reads.read(text, self._times, self.header)
        else:
            event = reads.read(text, self._times)
        return self._plain(text) if event is None else Found("event", _with_message(event, text))

    def _plain(self, text: str) -> Found:
        return Found("plain", self._facts(text))

    def _facts(self, text: str) -> Event:
        facts = self._times.read(text)
        event = {
            "timestamp": facts.timestamp_us,
            "message": text,
            "level": facts.level,
            "service": facts.service,
            "host": facts.host,
        }
        return {name: value for name, value in event.items() if value is not None}

    def _enveloped(self, text: str, envelope: Event) -> Event:
        if self._spec.envelope == "journal":
            event = {**envelope, **meant_by(envelope)}
            return {name: value for name, value in event.items() if value is not None}
        event = self._inner(text)
        attributes = {**event.get("attributes", {}), **envelope["attributes"]}
        if time_of(event) is None or not isinstance(event.get("timestamp"), str | float):
            event["timestamp"] = parse_timestamp_us(envelope["timestamp"])
        return {**event, "attributes": attributes}

    def _inner(self, text: str) -> Event:
        """Read what a container wrote: an object, or a line of any format. Its time without a zone is not known."""
        if (given := load_object(text)) is not None and not isinstance(given.get("attributes", {}), str | list):
            return {**given, **meant_by(given)}
        for one in _INNER:
            if (event := one.read(text, _ZONELESS)) is not None:
                return _with_message(event, text)
        level = _ZONELESS.read(text).level
        return {"message": text} if level is None else {"message": text, "level": level}


_INNER: Final[tuple[TextFormat, ...]] = tuple(inner_formats())
_ZONELESS: Final = LineReader(now_us=0, decided=True)
"""Times within envelopes are not taken: the envelope's has a zone."""


def _with_message(event: Event, text: str) -> Event:
    """Have a text be the message of an event that has none, under whichever name."""
    names = FIELD_TABLE.names["message"]
    has_one = any((found := find(event, name)) is not None and isinstance(found.value, str) for name in names)
    return event if has_one else {"message": text, **event}


def time_of(event: Event) -> int | None:
    """Give the time of an event as a system will read it, None where it has none that can be read."""
    for name in FIELD_TABLE.names["timestamp"]:
        found = find(event, name)
        if found is not None:
            try:
                return parse_timestamp_us(found.value)
            except (ValueError, OverflowError):
                continue
    return None
