"""Lines on their way through a pipeline, with the labels that they have so far."""

from __future__ import annotations

from typing import Final

ERROR: Final = "__error__"
DETAILS: Final = "__error_details__"


Place = tuple[int, ...]


class Entry:
    """A line. `stream` is shared by all lines of a stream until it is changed (`own_stream`)."""

    __slots__ = ("_owned", "line", "metadata", "parsed", "place", "stream", "us")

    def __init__(self, us: int, line: str, stream: dict[str, str], metadata: dict[str, str], place: Place = ()) -> None:
        """`place`: the event's identity, where somebody needs it."""
        self.us, self.line, self.stream, self.metadata, self.place = us, line, stream, metadata, place
        self.parsed: dict[str, str] = {}
        self._owned = False

    def get(self, name: str) -> str | None:
        """Give a label's value: what was parsed comes before metadata, and that before the stream's."""
        value = self.parsed.get(name)
        if value is None:
            value = self.metadata.get(name)
        return self.stream.get(name) if value is None else value

    def labels(self) -> dict[str, str]:
        """Give all labels."""
        return {**self.stream, **self.metadata, **self.parsed}

    def extract(self, name: str, value: str) -> None:
        """Take a value that a parser found; a stream's label of this name stays."""
        self.parsed[f"{name}_extracted" if name in self.stream else name] = value

    def remove(self, name: str) -> None:
        """Take a label away."""
        self.parsed.pop(name, None)
        self.metadata.pop(name, None)
        if name in self.stream:
            self.own_stream().pop(name)

    def put(self, name: str, value: str) -> None:
        """Set a label, wherever it was."""
        self.remove(name)
        if value:
            self.parsed[name] = value

    def own_stream(self) -> dict[str, str]:
        """Give the stream's labels as this line's own."""
        if not self._owned:
            self.stream, self._owned = dict(self.stream), True
        return self.stream

    def fail(self, kind: str, details: str) -> None:
        """Take note of what went wrong: the first error stays."""
        if ERROR not in self.parsed:
            self.parsed[ERROR], self.parsed[DETAILS] = kind, details
