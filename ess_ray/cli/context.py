"""What stands around each row of an answer in its own stream: the events of the same service and host."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from ess_ray.cli.client import Client
from ess_ray.cli.follow import asking
from ess_ray.client.endpoints import reasons_of
from ess_ray.core.field import Field
from ess_ray.core.timestamps import format_timestamp, parse_timestamp_us
from ess_ray.language import field_term

REACH_US: Final = 86_400 * 1_000_000
"""How far before and after a row its neighbours may lie: else all that is stored would be read for a quiet stream."""
SAME_TIME_ROWS: Final = 10_000
"""Rows of one timestamp among which a row's place is looked for: a file whose times are whole seconds."""

Event = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Group:
    """Neighbouring events of one stream, in the answer's order; `hits`: the identities of those that match."""

    events: list[Event]
    hits: frozenset[tuple[Any, ...]]

    def marked(self) -> Iterator[tuple[Event, bool]]:
        """Give each event, and whether it is a hit."""
        return ((event, identity(event) in self.hits) for event in self.events)


def identity(event: Event) -> tuple[Any, ...]:
    """Tell events apart."""
    return (event["log_id"], event["vnode"], event["offset"], event["row"])


class Surroundings:
    """Finds the rows before and after each hit, as many on either side."""

    def __init__(self, client: Client, rows: int, executor: str | None) -> None:
        self._client, self._rows = client, rows
        self._executor = {} if executor is None else {"executor": executor}
        self.incomplete: list[str] = []
        self._done = 0

    def groups(self, hits: Sequence[Event], order: str, on_progress: Callable[[int], object]) -> list[Group]:
        """Give the groups in the order of their first hits; those of one stream that overlap are one."""
        streams: dict[str, list[Event]] = {}
        for hit in hits:
            streams.setdefault(stream_of(hit), []).append(hit)
        found = []
        for stream, mine in streams.items():
            found += self._of_stream(stream, mine, on_progress)
        place = {identity(hit): at for at, hit in enumerate(hits)}
        found.sort(key=lambda group: min(place[hit] for hit in group.hits))
        return found if order == "oldest" else [Group(group.events[::-1], group.hits) for group in found]

    def _of_stream(self, stream: str, hits: list[Event], on_progress: Callable[[int], object]) -> list[Group]:
        groups: list[Group] = []
        for hit in sorted(hits, key=_order):
            events, hit_alone = self._around(stream, hit), frozenset([identity(hit)])
            last = groups[-1] if groups else None
            if last is not None and _order(events[0]) <= _order(last.events[-1]):
                united = {identity(event): event for event in (*last.events, *events)}
                groups[-1] = Group(sorted(united.values(), key=_order), last.hits | hit_alone)
            else:
                groups.append(Group(events, hit_alone))
            self._done += 1
            on_progress(self._done)
        return groups

    def _around(self, stream: str, hit: Event) -> list[Event]:
        at_us = parse_timestamp_us(hit["timestamp"])
        earlier = {"start": format_timestamp(at_us - REACH_US), "end": hit["timestamp"], "order": "newest"}
        before = self._ask(stream, limit=self._rows, **earlier)[::-1] if self._rows else []
        later = {"start": hit["timestamp"], "end": format_timestamp(at_us + REACH_US), "order": "oldest"}
        for limit in (self._rows + 1, SAME_TIME_ROWS + self._rows):
            after = self._ask(stream, limit=limit, **later)
            at = next((at for at, event in enumerate(after) if _is_same(event, hit)), None)
            if len(after) < limit or (at is not None and at + self._rows < limit):
                break
        if at is None:  # too many events share its time
            return [hit]
        events = [*before, *after[:at], hit, *after[at + 1 :]]
        middle = len(before) + at
        return events[max(0, middle - self._rows) : middle + self._rows + 1]

    def _ask(self, query: str, **body: Any) -> list[Event]:
        asked = {"query": query, **self._executor, **body}
        events: list[Event] = []
        with asking(self._client, "/search/v1/queries", asked) as pages:
            for page in pages:
                events += page["events"]
        self.incomplete += [reason for reason in reasons_of(page) if reason not in self.incomplete]
        return events


def stream_of(event: Event) -> str:
    """Write the query of an event's stream: those of the same service and host, or of as little as it names."""
    return " ".join(
        f"-{name}:*" if event[name] is None else field_term(Field(name), event[name]) for name in ("service", "host")
    )


def _order(event: Event) -> tuple[Any, ...]:
    return (event["timestamp"], *identity(event))


def _is_same(event: Event, hit: Event) -> bool:
    """Tell whether it is the hit, or the copy of it that another search has given."""
    return identity(event) == identity(hit) or (hit["id"] is not None and event["id"] == hit["id"])
