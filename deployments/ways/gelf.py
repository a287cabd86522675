"""Graylog's messages (GELF) over HTTP."""

from __future__ import annotations

from typing import Any, Final

from fastapi import FastAPI

from deployments.ways.describing import TEXT_REFUSALS, body_of, text_answer
from deployments.ways.way import Described, Parts, Way, describe_post
from ess_ray.intake.formats.gelf_http import GELF_HTTP, encoding_of

GELF_PATH: Final = "/gelf"
_ANSWERS: Final[Described] = {
    202: {"description": "Durable; messages that never can be are left out, and counted"},
    400: text_answer("This is no JSON, or holds no valid message: nothing is stored"),
    **TEXT_REFUSALS,
}
_MESSAGE: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["short_message"],
    "properties": {
        **{name: {"type": "string"} for name in ("version", "host", "short_message", "full_message")},
        "timestamp": {"type": "number", "description": "Seconds."},
        "level": {"type": "integer", "description": "Syslog's severity, 0 to 7."},
    },
    "additionalProperties": {"description": "`_x` is the attribute `x`."},
}


async def push_gelf() -> None:
    """Take messages of Graylog's clients, also at `/gelf` of this server. 202 once they are durable."""


def _describe(app: FastAPI, _: Parts) -> None:
    describe_post(app, GELF_PATH, push_gelf, 202, _ANSWERS, **body_of({"application/json": _MESSAGE}))


GELF: Final = Way(GELF_HTTP, {GELF_PATH: GELF_HTTP}, ("/gelf/",), _describe, encoding_of=encoding_of)
