"""The questions of the comparison, as values that every side puts into its own language, and the oracle.

The oracle reads every row of the corpus and tests it by Arrow's plain kernels.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ess_ray.core.event import EVENT_SCHEMA
from tests.benchmarks.corpus import END_US, SPAN_US, Corpus

MAX_NEEDLE_HITS: Final = 3
WINDOW_SHARE: Final = 20
"""The time window is this part of the corpus's span."""
_CONSUMED = re.compile(r"orders\.created-\d+@([1-9]\d{5}) in [\d.]+ ms, lag \d+")
_USER = re.compile(r"user=u-\d{5} bytes")


@dataclass(frozen=True)
class Shape:
    """One question: rows in which everything given holds, newest first, at most `limit`.

    `whole_tokens`: wherever `literal` stands, it begins and ends at the border of a word of letters and digits, and no
    other row holds its words in this order: then an engine of tokens must give the same rows.
    """

    name: str
    what: str
    literal: str | None = None
    ignore_case: bool = False
    whole_tokens: bool = False
    regex: str | None = None
    equals: tuple[tuple[str, str], ...] = ()
    start_us: int | None = None
    end_us: int | None = None
    limit: int = 1_000

    @property
    def ours(self) -> str:
        """Write it in our query language."""
        terms = [f'{name}:"{value}"' for name, value in self.equals]
        if self.literal is not None:
            if self.ignore_case and not re.fullmatch(r"[\w.@-]+", self.literal):
                raise ValueError(f"{self.literal} is not one word of the query language")
            terms.append(self.literal if self.ignore_case else f'"{self.literal}"')
        if self.regex is not None:
            terms.append("/" + self.regex.replace("/", r"\/") + "/")
        return " ".join(terms)

    @property
    def tokens(self) -> list[str]:
        """Cut the literal into its words of letters and digits."""
        return re.findall(r"[0-9A-Za-z]+", self.literal or "")


def shapes(corpus: Corpus) -> list[Shape]:
    """Give all questions. Those that need a value of the corpus take it from its middle."""
    trace_id, consumed, user = _drawn(corpus)
    middle_us = END_US - SPAN_US // 2
    return [
        Shape("trace", "one trace id", equals=(("trace_id", trace_id),)),
        *_needles(corpus, consumed),
        Shape("common", "newest 100 of a term in a quarter of the rows", "HTTP/1.1", whole_tokens=True, limit=100),
        Shape(
            "uncommon",
            "newest 100 of a phrase in 0.3 % of the rows",
            "Connection reset by peer",
            whole_tokens=True,
            limit=100,
        ),
        Shape("scattered", "one user: a few rows in nearly every row group", user, whole_tokens=True),
        Shape("prefixed", "a regex with a literal prefix that is common", regex=r"user=u-\d+7777\b"),
        Shape("unselective", "a regex that no index can help", regex=r"(401|503) in \d{4,}\.\d ms"),
        Shape(
            "window",
            f"two fields, a {WINDOW_SHARE}th of the time",
            equals=(("service", "payments"), ("level", "ERROR")),
            start_us=middle_us,
            end_us=middle_us + SPAN_US // WINDOW_SHARE,
        ),
        Shape("nowhere", "a word that is nowhere", "kqxzvwjq", whole_tokens=True),
        Shape("scan", "full scan: four characters that are nowhere, too short for our index", "qzx~"),
        Shape("scan-regex", "full scan: a regex that is nowhere", regex=r"upstream=[a-z]+-zq[0-9]"),
    ]


def _drawn(corpus: Corpus) -> tuple[str, list[re.Match[str]], str]:
    middle = pq.read_table(corpus.parquet[len(corpus.parquet) // 2], schema=EVENT_SCHEMA)
    rows = middle.slice(len(middle) // 2)
    trace_id = next(value for value in rows.column("trace_id").to_pylist() if value)
    messages = rows.column("message").to_pylist()
    consumed = [found for found in map(_CONSUMED.search, messages) if found]
    user = next(found[0] for found in map(_USER.search, messages) if found)
    return trace_id, consumed[:8], user


def _needles(corpus: Corpus, consumed: list[re.Match[str]]) -> Iterator[Shape]:
    """Give the needles of one row: a token, a part of one, a word in another case; of the first that is rare enough."""
    for found in consumed:
        token = Shape("token", "a rare phrase of whole words", f"@{found[1]} in", whole_tokens=True)
        if len(oracle(corpus, token)) > MAX_NEEDLE_HITS:
            continue
        yield token
        text = found[0][found.start(1) - found.start() + 1 :]
        yield replace(token, name="substring", what="a rare substring", literal=text, whole_tokens=False)
        word = found[0].split(" ")[0].upper()
        yield replace(token, name="fold", what="a rare word, ignoring case", literal=word, ignore_case=True)
        return
    raise ValueError("no number of the corpus's middle is rare: choose another seed")


def oracle(corpus: Corpus, shape: Shape) -> list[int]:
    """Give the timestamps of the right answer, in its order, by testing every row."""
    times: list[int] = []
    for table in corpus.tables({"timestamp", "message", *(name for name, _ in shape.equals)}):
        kept = table.select(["timestamp"]).filter(_mask(table, shape))
        times += kept.column("timestamp").cast(pa.int64()).to_pylist()
    return sorted(times, reverse=True)[: shape.limit]


def _mask(table: pa.Table, shape: Shape) -> pa.ChunkedArray:
    messages = table.column("message")
    tests = [pc.fill_null(pc.equal(table.column(name), value), False) for name, value in shape.equals]
    if shape.literal is not None:
        tests.append(pc.match_substring(messages, shape.literal, ignore_case=shape.ignore_case))
    if shape.regex is not None:
        tests.append(pc.match_substring_regex(messages, shape.regex))
    times, kind = table.column("timestamp"), EVENT_SCHEMA.field("timestamp").type
    if shape.start_us is not None:
        tests.append(pc.greater_equal(times, pa.scalar(shape.start_us, kind)))
    if shape.end_us is not None:
        tests.append(pc.less(times, pa.scalar(shape.end_us, kind)))
    mask = tests[0]
    for test in tests[1:]:
        mask = pc.and_(mask, test)
    return mask
