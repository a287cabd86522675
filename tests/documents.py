"""Applications held against their own OpenAPI documents, with requests that Schemathesis makes up, right and wrong."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis.checks import not_a_server_error
from schemathesis.config import SchemathesisConfig
from schemathesis.generation import GenerationMode
from schemathesis.schemas import BaseSchema
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)


@schemathesis.serializer("application/vnd.fdo.journal")
def _journal(_: object, value: object) -> bytes:
    """Send what was made up for a journal as it is: any bytes are something to answer."""
    return value if isinstance(value, bytes) else str(value).encode("utf-8", "replace")


ENDLESS: Final = "/v1/tail$"
"""Server-sent events that do not end before their client goes: Schemathesis would wait for ever."""
Check = Callable[..., Any]
"""(context, response, case): fails, or not."""
CHECKS: Final[Sequence[Check]] = (
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
)


def schema_at(url: str, headers: Mapping[str, str] | None = None) -> BaseSchema:
    """Load the document of an application."""
    return schemathesis.openapi.from_url(
        f"{url}/openapi.json", config=SchemathesisConfig(), headers=dict(headers or {})
    )


def probe(
    schema: BaseSchema,
    chosen: settings,
    headers: Mapping[str, str] | None = None,
    checks: Sequence[Check] = CHECKS,
    **known: str,
) -> list[str]:
    """Send each route what its document allows and what it does not, as many as `chosen` says; gives the routes.

    `known`: path parameters that name something. Routes that have them are asked for it too, not only for nothing.
    """
    routes = []
    for found in schema.get_all_operations():
        operation = found.ok()
        there = {name: value for name, value in known.items() if f"{{{name}}}" in operation.path}
        for mode, named in itertools.product(GenerationMode, [{}, there] if there else [{}]):
            _ask(operation, mode, named, chosen, headers or {}, checks)
        routes.append(operation.label)
    return routes


def _ask(
    operation: schemathesis.APIOperation[Any, Any, Any],
    mode: GenerationMode,
    named: Mapping[str, str],
    chosen: settings,
    headers: Mapping[str, str],
    checks: Sequence[Check],
) -> None:
    @settings(chosen, suppress_health_check=list(HealthCheck))
    @given(case=operation.as_strategy(generation_mode=mode))
    def answers_as_documented(case: schemathesis.Case) -> None:
        case.path_parameters.update(named)
        case.call_and_validate(checks=list(checks), headers=dict(headers))

    with contextlib.suppress(Unsatisfiable):  # nothing that could be wrong: no parameters, no body
        answers_as_documented()
