"""What is asked, on the command line: the query and the options that search, export and explain share.

May live here: these options, and the body that they make. May not: what is done with it.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Concatenate, ParamSpec

import click

from ess_ray.cli.client import Refused
from ess_ray.cli.options import executor_option, since_option, until_option
from ess_ray.core.errors import BadRequest

P = ParamSpec("P")

_AGO = re.compile(r"-?(\d+(?:\.\d+)?(?:ms|[smhdw]))")


@dataclass(frozen=True, slots=True)
class Asked:
    """A query as the command line gives it."""

    query: str
    since: str
    until: str | None
    order: str
    executor: str | None

    def body(self, **more: Any) -> dict[str, Any]:
        """Give the body that asks it, with `more` members."""
        body = {"query": self.query, "start": moment(self.since), "order": self.order, **more}
        if self.executor is not None:
            body["executor"] = self.executor
        if self.until is not None:
            body["end"] = moment(self.until)
        return body


@contextmanager
def pointed_out(query: str) -> Iterator[None]:
    """Show where in the query it is that a BadRequest speaks of."""
    try:
        yield
    except BadRequest as error:
        position = error.details.get("position")
        if not isinstance(position, int) or not 0 <= position <= len(query):
            raise
        line_start = query.rfind("\n", 0, position) + 1
        line = query[line_start:].partition("\n")[0]
        pointed = f"{error.message}\n  {line}\n  {' ' * (position - line_start)}^"
        raise Refused(BadRequest(pointed)) from error


_OPTIONS = (
    click.argument("query", default="*"),
    since_option,
    until_option,
    click.option("--order", type=click.Choice(["newest", "oldest"]), default="newest", show_default=True),
    executor_option,
)


def with_question(function: Callable[Concatenate[Asked, P], None]) -> Callable[..., None]:
    """Add QUERY and the options of what is asked, and call with the Asked first."""

    @functools.wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        asked = {name: kwargs.pop(name) for name in ("query", "since", "until", "order", "executor")}
        function(Asked(**asked), *args, **kwargs)  # type: ignore[arg-type]

    for option in reversed(_OPTIONS):
        run = option(run)
    return run


def moment(text: str) -> str | int:
    """Read a time of the command line as the contract has it: `15m` is 15 minutes ago, `all` the beginning."""
    if text == "all":
        return 0
    ago = _AGO.fullmatch(text)
    return text if ago is None else f"-{ago[1]}"
