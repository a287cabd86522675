"""A text without a pipe means what it meant; whatever else a text is, reading it ends in a pipe or a QueryError."""

from __future__ import annotations

import re
from contextlib import suppress

from hypothesis import given, settings
from hypothesis import strategies as st

from ess_ray.core.errors import QueryError
from ess_ray.core.query import Node
from ess_ray.language import Pipe, parse, parse_pipe
from ess_ray.language.grammar import parse_terms
from ess_ray.language.names import without_surrogates
from ess_ray.language.scanner import STAGES
from tests.examples import examples

MANY = settings(max_examples=examples(500))
PARTS = [
    "|",
    "||",
    " ",
    "  ",
    "\n",
    '"',
    '\\"',
    "/",
    "(",
    ")",
    ":",
    "a",
    "level:ERROR",
    "AND",
    "NOT",
    "-",
    "f:[1 TO 2]",
]
STAGE_PARTS = [
    "stats",
    "sort",
    "top",
    "limit",
    "fields",
    "patterns",
    "count()",
    "p95(f)",
    "by",
    "as",
    "every",
    "5m",
    ",",
]
TEXTS = st.text(max_size=30) | st.lists(st.sampled_from(PARTS + STAGE_PARTS), max_size=14).map("".join)
SPACED = st.lists(st.sampled_from(PARTS + STAGE_PARTS), max_size=14).map(" ".join)
WORDS = re.compile(rf"\|\s+(?:{'|'.join(STAGES)})")


def outcome(text: str) -> Node | tuple[str, int]:
    try:
        return parse(text)
    except QueryError as error:
        return error.message, error.position


def before(text: str) -> Node | tuple[str, int]:
    """Read a text as it was read when there were no pipes."""
    try:
        return parse_terms(without_surrogates(text))
    except QueryError as error:
        return error.message, error.position


def piped(text: str) -> Pipe | int | None:
    """Read a pipe, or give where it is wrong; a text that has no stage's name behind a bar cannot be a wrong one."""
    try:
        return parse_pipe(text)
    except QueryError as error:
        return error.position


@MANY
@given(TEXTS | SPACED)
def test_a_text_without_a_pipe_means_what_it_meant(text: str) -> None:
    pipe = piped(text)
    if isinstance(pipe, int):
        assert 0 <= pipe <= len(text)
        assert WORDS.search(text)
    elif pipe is None:
        assert outcome(text) == before(text)
    else:
        assert WORDS.search(text)
        assert parse(pipe.query) == pipe.root


@MANY
@given(SPACED, st.sampled_from(['"', "/"]))
def test_what_is_quoted_is_no_pipe(text: str, quote: str) -> None:
    inside = text.replace('"', "").replace("/", "").replace("\\", "")
    whole = f"{quote}{inside}{quote}"
    assert parse_pipe(whole) is None
    assert outcome(whole) == before(whole)


@given(st.lists(st.sampled_from(STAGE_PARTS), max_size=12).map(" ".join))
def test_stages_are_read_or_refused(text: str) -> None:
    with suppress(QueryError):
        assert parse_pipe(f"a | stats {text}") is not None
