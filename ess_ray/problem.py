"""Why a request is not taken, and problem documents (RFC 9457): how that is said unless a protocol has its own way."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import orjson

from ess_ray.core.errors import EssError

MEDIA_TYPE: Final = "application/problem+json"
_STANDARD: Final = ("status", "title", "detail", "type", "headers", "kind")
_WORD: Final = re.compile(r"(?<!^)(?=[A-Z])")


@dataclass(frozen=True, slots=True)
class Answer:
    """What a client is told: a status of HTTP, and a body in the words of its protocol."""

    status: int
    content: bytes
    media_type: str


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a request is not taken: `status` is HTTP's, `kind` the same for all of one reason, `message` for a person."""

    status: int
    title: str
    message: str
    kind: str = "about:blank"
    details: Mapping[str, Any] = field(default_factory=dict)
    """Further members of a problem document; they never replace the standard ones."""


Write = Callable[[Refusal], Answer]
"""Puts a refusal into the words of a protocol."""


def as_problem(refusal: Refusal) -> Answer:
    """Write a problem document."""
    document = {
        **{name: value for name, value in refusal.details.items() if name not in _STANDARD},
        "type": refusal.kind,
        "title": refusal.title,
        "status": refusal.status,
        "detail": refusal.message,
    }
    content = orjson.dumps(document, default=str, option=orjson.OPT_NON_STR_KEYS)
    return Answer(refusal.status, content, MEDIA_TYPE)


def refusal_of(error: EssError, later: bool = False) -> Refusal:
    """Tell what an error means to a client. `later`: what is our own fault is 503, to be repeated."""
    status = 503 if later and error.http_status >= 500 else error.http_status
    return Refusal(status, error.title, error.message, kind_of(error), error.details)


def kind_of(error: EssError) -> str:
    """Give the `type` of an error's problem document: the same for every error of its class."""
    return "urn:ess-ray:" + _WORD.sub("-", type(error).__name__).lower()
