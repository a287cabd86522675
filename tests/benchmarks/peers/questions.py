"""The questions of the comparison, in both query languages."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Question:
    """Rows, newest first, at most `limit`; or counts of everything over time by level, where there is no query."""

    what: str
    ours: str | None
    logs_ql: str
    limit: int = 1_000


def questions(trace_id: str) -> list[Question]:
    """Give them; `trace_id` is one of the events."""
    return [
        Question("a word that is nowhere", "kqxzvwjq", "kqxzvwjq"),
        Question("one trace id", f'trace_id:"{trace_id}"', f'trace_id:="{trace_id}"'),
        Question("two fields", "service:payments level:ERROR", "service:=payments level:=ERROR"),
        Question("a number", "http.status:500", "attributes.http.status:=500"),
        Question("a range of numbers", "duration_ms:>500", "attributes.duration_ms:>500"),
        Question("a regex in few rows", "/user=u-0012[0-9] bytes/", '~"user=u-0012[0-9] bytes"'),
        Question("a regex that is nowhere", "/upstream=[a-z]+-zq[0-9]/", '~"upstream=[a-z]+-zq[0-9]"'),
        Question("a substring within words", '"pstrea"', '~"pstrea"'),
        Question("newest 100 of a common term", '"HTTP/1.1"', '"HTTP/1.1"', limit=100),
        EVERYTHING,
    ]


EVERYTHING: Final = Question("counts of everything by minute and level", None, "*")
