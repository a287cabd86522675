"""What was asked, as text beside its answer, so that any replica can ask it again."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Final

from ess_ray.core.errors import CorruptData
from ess_ray.core.query import Query
from ess_ray.search.wire import decode_query, encode_query

NO_EVENTS: Final = ""
"""The question of an answer that has no events to ask for again: counts."""


@dataclass(frozen=True, slots=True)
class Question:
    """A query with its times resolved, and the executor that it names (None: the usual one)."""

    query: Query
    executor: str | None = None


def encode_question(question: Question) -> str:
    """Give a question as text."""
    return json.dumps({"query": encode_query(question.query), "executor": question.executor}, separators=(",", ":"))


def decode_question(text: str) -> Question:
    """Read what `encode_question` gave. Raises CorruptData for anything else."""
    try:
        value = json.loads(text)
        return Question(decode_query(value["query"]), value["executor"])
    except (KeyError, TypeError, ValueError, IndexError, RecursionError) as error:
        raise CorruptData(
            f"the question of this answer cannot be read ({type(error).__name__}): run the query again"
        ) from error
