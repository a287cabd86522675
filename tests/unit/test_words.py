"""What people are told of a query: its tree, and what is sought for it."""

from __future__ import annotations

import pytest

from ess_ray.core.query import Query
from ess_ray.language import parse
from ess_ray.search.words import prefilter_in_words, query_in_words


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("", "everything"),
        ("timeout", 'message contains "timeout" (any case)'),
        ('"a \\"b\\""', 'message contains "a \\"b\\""'),
        ("a b", 'message contains "a" (any case) AND message contains "b" (any case)'),
        (
            "level:ERROR (a OR -b)",
            'level is "ERROR" (any case) AND (message contains "a" (any case) OR NOT message contains "b" (any case))',
        ),
        ("region:eu-1 trace_id:*", 'attributes.region is "eu-1" AND trace_id is there'),
        (r"/user=\d+7/", r"message matches /user=\d+7/"),
        ("duration_ms:[100 TO 500]", "100 <= attributes.duration_ms <= 500"),
        ("severity_number:>=17", "severity_number >= 17"),
        ("NOT (a b)", 'NOT (message contains "a" (any case) AND message contains "b" (any case))'),
    ],
)
def test_a_query_in_words(query: str, words: str) -> None:
    assert query_in_words(parse(query)) == words


@pytest.mark.parametrize(
    ("query", "told"),
    [
        (
            "",
            [
                "skip index: of no use, as the query requires nothing that it knows",
                "messages: no text is sought in them before rows are tested",
            ],
        ),
        (
            'doc_root "Connection reset"',
            [
                'skip index (read first): row groups must hold the text "doc_root" and the text "connection reset"',
                'messages: rows must hold "Connection reset"',
                'messages: rows must hold "doc_root" (any case)',
            ],
        ),
        (
            "trace_id:4bf9 OR region:eu-1",
            [
                'skip index (read first): row groups must hold trace_id "4bf9" or attributes.region "eu-1"',
                "messages: no text is sought in them before rows are tested",
            ],
        ),
        (
            "a (warn OR error) level:INFO",
            [
                'skip index (read when the first row groups do not fill the limit): row groups must hold level "info"',
                'messages: rows must hold "warn" (any case) or "error" (any case)',
            ],
        ),
    ],
)
def test_what_is_sought_in_words(query: str, told: list[str]) -> None:
    assert prefilter_in_words(Query(parse(query))) == told
