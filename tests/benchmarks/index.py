"""How the skip index was chosen: bytes, build time and wrongly kept row groups, by gram and by budget.

Two corpora: the generated one, and the same with each trace id in its message, since ids in text are what fills a text
filter. Needles by length and make, those that at most MAX_TRUE row groups really hold. Both corpora come from a seed.
"""

from __future__ import annotations

import random
import re
import time
from collections.abc import Iterator, Sequence

import pyarrow as pa

from ess_ray.core.chunk.write import ROWS_PER_GROUP
from ess_ray.core.fold import fold_text
from ess_ray.core.index import Index, build
from ess_ray.core.index.grams import CHOSEN, Choice
from ess_ray.core.literals import Holds, Text
from ess_ray.core.query import Field
from ess_ray.generate import events
from tests.benchmarks.report import Row

CHOICES = [Choice(n, budget) for n in (4, 5, 6, 7) for budget in (0.015, 0.025, 0.04)]
NEEDLES = 40
MAX_TRUE = 3
END_US = 1_790_000_000_000_000
WORDS = [
    "segfault",
    "deadlock",
    "outofmemory",
    "kerberos",
    "certificate",
    "handshake",
    "truncated",
    "permission",
    "quorum",
    "checksum",
    "tablespace",
    "corrupt",
    "rollback",
    "throttled",
    "overflow",
    "starvation",
]
COLUMNS = ("level", "service", "host", "message", "trace_id", "span_id")


def corpus(count: int, ids_in_text: bool) -> list[pa.Table]:
    """Make a corpus's row groups."""
    groups = []
    made = events(count, 7, END_US)
    for _ in range(0, count, ROWS_PER_GROUP):
        rows = [event for _, event in zip(range(ROWS_PER_GROUP), made, strict=False)]
        columns = {name: pa.array([row.get(name) for row in rows], pa.string()) for name in COLUMNS}
        if ids_in_text:
            messages = [f"{row['message']} trace={row.get('trace_id', '-')}" for row in rows]
            columns["message"] = pa.array(messages, pa.string())
        pairs = [[(key, str(value)) for key, value in row["attributes"].items()] for row in rows]
        columns["attributes"] = pa.array(pairs, pa.map_(pa.string(), pa.string()))
        columns["event_id"] = pa.nulls(len(rows), pa.string())
        groups.append(pa.table(columns))
    return groups


def needles(texts: Sequence[bytes], draw: random.Random) -> Iterator[tuple[str, bytes, int]]:
    """Give (kind, folded needle, row groups that hold it) with at most MAX_TRUE of these."""

    def rare(kind: str, candidates: Iterator[bytes]) -> Iterator[tuple[str, bytes, int]]:
        found = 0
        for _, needle in zip(range(NEEDLES * 40), candidates, strict=False):
            true = 0
            for text in texts:
                true += needle in text
                if true > MAX_TRUE:
                    break
            if true <= MAX_TRUE:
                yield kind, needle, true
                found += 1
            if found == NEEDLES:
                return

    def cut(length: int) -> Iterator[bytes]:
        while True:
            text = draw.choice(texts)
            at = draw.randrange(len(text) - length)
            if b"\n" not in text[at : at + length]:
                yield text[at : at + length]

    def tokens(length: int) -> Iterator[bytes]:
        while True:
            text = draw.choice(texts)
            at = draw.randrange(len(text) - 400)
            yield from re.findall(rb"\b[0-9a-z]{%d,}\b" % length, text[at : at + 400])[1:2]

    def made(form: str, low: int, high: int) -> Iterator[bytes]:
        while True:
            yield (form % draw.randrange(low, high)).encode()

    for length in (6, 8, 16, 32):
        yield from rare(f"any {length}", cut(length))
    yield from rare("token 8+", tokens(8))
    yield from rare("word", iter([word.encode() for word in WORDS]))
    for length in (6, 8, 16, 32):
        yield from rare(f"hex {length}", made(f"%0{length}x", 0, 16**length))
    for length in (6, 8, 10):
        yield from rare(f"number {length}", made("%d", 10 ** (length - 1), 10**length))


def measure(count: int = 1_000_000, choices: Sequence[Choice] = CHOICES) -> list[Row]:
    """Measure every choice: one row each and corpus, the row groups kept wrongly as means per needle."""
    rows = []
    for name, ids_in_text in (("generated", False), ("with ids in text", True)):
        groups = corpus(count, ids_in_text)
        texts = ["\n".join(group.column("message").to_pylist()) for group in groups]
        wanted = list(needles([fold_text(text).encode() for text in texts], random.Random(3)))
        for choice in choices:
            before = time.process_time()
            blob = build(groups, choice)
            seconds = time.process_time() - before
            mark = " (chosen)" if choice == CHOSEN else ""
            what = f"{name}: {choice.gram_bytes}-grams, budget {choice.budget:.1%}{mark}"
            size = f"{len(blob) / count:.2f} B an event, {seconds / count * 1e6:.2f} CPU-s per 1 M"
            rows.append(Row(what, size, f"of {len(groups)}: {wrong(blob, len(groups), wanted)}"))
        rows += lookups(name, build(groups), groups)
    return rows


def wrong(blob: bytes, groups: int, wanted: Sequence[tuple[str, bytes, int]]) -> str:
    index = Index(blob, groups)
    errors: dict[str, list[int]] = {}
    for kind, needle, true in wanted:
        errors.setdefault(kind, []).append(len(index.keep(Text(needle))) - true)
    return ", ".join(f"{kind} {sum(counts) / len(counts):.2f}" for kind, counts in errors.items())


def lookups(name: str, blob: bytes, groups: Sequence[pa.Table]) -> list[Row]:
    """Measure what asking costs: opening the index, asking once, asking again."""
    trace_id = next(value for value in groups[len(groups) // 2].column("trace_id").to_pylist() if value)
    rows = []
    for what, atom in (
        ("a trace id", Holds(Field("trace_id"), trace_id.encode())),
        ("an absent trace id", Holds(Field("trace_id"), b"0" * 32)),
        ("a needle of 16", Text(b"xq7zk connection")),
    ):
        times: list[tuple[float, float, float]] = []
        kept = 0
        for _ in range(20):
            start = time.perf_counter()
            index = Index(blob, len(groups))
            opened = time.perf_counter()
            kept = len(index.keep(atom))
            asked = time.perf_counter()
            index.keep(atom)
            times.append((opened - start, asked - opened, time.perf_counter() - asked))
        opening, first, again = (min(column) * 1e6 for column in zip(*times, strict=True))
        note = f"{kept} of {len(groups)} row groups kept"
        rows.append(
            Row(f"{name}: ask for {what}", f"open {opening:.0f}, first {first:.0f}, again {again:.0f} us", note)
        )
    return rows


if __name__ == "__main__":
    for row in measure():
        print(row.what, "|", row.value, "|", row.note, flush=True)
