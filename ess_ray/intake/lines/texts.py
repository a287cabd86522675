"""Lines to texts: decoded, and taken out of the envelopes in which container runtimes and the journal write them.

A runtime cuts long lines into parts, which are joined here; parts of standard output and of standard error may lie
between each other.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from ess_ray.core.event import MAX_EVENT_BYTES
from ess_ray.intake.lines.objects import load_object
from ess_ray.intake.lines.raw import Line
from ess_ray.intake.lines.text_format import Event

MAX_OPEN_BYTES: Final = 384 * 1024
"""Of parts that wait for their end, and of the lines of one event: an event has 512 KiB, with its attributes."""
MAX_OPEN_LINES: Final = 2_000
"""The same in lines: stack traces of thousands of frames are endless recursions."""


@dataclass(slots=True)
class Text:
    """What stands in one line, or in all parts of one. `lines` are those that are read once this is.

    `envelope` is what is known of it from around it: an event without its message, None without an envelope. `more`:
    lines of this one are those of the next, too, so that reading cannot stop between them. `is_broken`: not UTF-8.
    """

    text: str
    lines: list[Line] = field(default_factory=list)
    envelope: Event | None = None
    more: bool = False
    is_broken: bool = False
    is_too_long: bool = False


def decoded(content: bytes) -> tuple[str, bool]:
    """Give bytes as text, with U+FFFD in place of what is not UTF-8; and whether there was such."""
    try:
        return content.decode(), False
    except UnicodeDecodeError:
        return content.decode("utf-8", "replace"), True


def plain(lines: Iterable[Line], *, crlf: bool = False) -> Iterator[Text]:
    """Give each line as it is."""
    for line in lines:
        yield _plain(line, crlf)


def _plain(line: Line, crlf: bool) -> Text:
    if line.is_too_long:
        return Text("", [line], is_too_long=True)
    text, is_broken = decoded(line.content.removesuffix(b"\r") if crlf else line.content)
    return Text(text, [line], is_broken=is_broken)


@dataclass(frozen=True, slots=True)
class Opened:
    """An envelope's content; a part goes on in the next envelope of its stream."""

    text: str
    stream: str
    is_part: bool
    envelope: Event


Open = Callable[[str], Opened | None]


@dataclass(slots=True)
class _Parts:
    text: list[str]
    envelope: Event
    bytes: int


def contained(lines: Iterable[Line], opens: Open, *, crlf: bool = False, may_go_on: bool = False) -> Iterator[Text]:
    """Give what containers wrote; a line that is no envelope stands for itself. `may_go_on`: parts whose end is not
    there yet are kept back."""
    taken: list[Line] = []
    done: list[Text] = []
    parts: dict[str, _Parts] = {}
    taken_bytes = 0
    for line in lines:
        found = _plain(line, crlf)
        taken.append(line)
        taken_bytes += line.size
        opened = None if found.is_too_long else opens(found.text)
        if opened is None:
            found.lines = []
            done.append(found)
        else:
            done += _joined(parts, opened, found.is_broken)
        if len(taken) >= MAX_OPEN_LINES or taken_bytes >= MAX_OPEN_BYTES:
            done += _ends(parts)
        if not parts:
            yield from _whole(done, taken)
            done, taken, taken_bytes = [], [], 0
    if taken and not may_go_on:
        yield from _whole([*done, *_ends(parts)], taken)


def _joined(parts: dict[str, _Parts], opened: Opened, is_broken: bool) -> list[Text]:
    held = parts.setdefault(opened.stream, _Parts([], opened.envelope, 0))
    held.text.append(opened.text)
    held.bytes += len(opened.text)
    if opened.is_part and held.bytes < MAX_EVENT_BYTES:
        return []
    del parts[opened.stream]
    return [Text("".join(held.text), envelope=held.envelope, is_broken=is_broken)]


def _ends(parts: dict[str, _Parts]) -> list[Text]:
    held = [Text("".join(one.text), envelope=one.envelope) for one in parts.values()]
    parts.clear()
    return held


def _whole(done: list[Text], taken: list[Line]) -> list[Text]:
    """Give texts that have these lines in common: the last one has them."""
    for text in done[:-1]:
        text.more = True
    done[-1].lines = taken
    return done


_CRI: Final = re.compile(
    r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:Z|[+-]\d\d:\d\d)) (stdout|stderr) ([FP])(?::\S*)?(?: (.*))?",
    re.ASCII | re.DOTALL,
)


def open_cri(text: str) -> Opened | None:
    """Read a line of containerd or CRI-O: time, stream, F for a whole line or P for a part, and what was written."""
    match = _CRI.fullmatch(text)
    if match is None:
        return None
    at, stream, kind, content = match.groups()
    return Opened(content or "", stream, kind == "P", {"timestamp": at, "attributes": {"stream": stream}})


def open_docker(text: str) -> Opened | None:
    """Read a line of Docker's json-file driver: what has no newline at its end goes on."""
    event = load_object(text)
    if event is None or not is_docker(event):
        return None
    log, stream = event["log"], event["stream"]
    rest = {name: value for name, value in event.items() if name not in ("log", "time")}
    is_part = not log.endswith("\n")
    return Opened(
        log.removesuffix("\n").removesuffix("\r"), stream, is_part, {"timestamp": event["time"], "attributes": rest}
    )


def is_docker(event: dict[str, Any]) -> bool:
    """Tell whether an object is one of Docker's json-file driver."""
    return all(isinstance(event.get(name), str) for name in ("log", "stream", "time"))
