"""What is asked, on the command line: the query and the options that search, export and explain share.

May live here: these options, and the body that they make. May not: what is done with it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Concatenate, Final, ParamSpec

import click

from ess_ray.cli.client import Refused
from ess_ray.cli.options import executor_option
from ess_ray.cli.when import Range, with_range
from ess_ray.core.errors import BadRequest

P = ParamSpec("P")

NEWEST: Final = "newest"


@dataclass(frozen=True, slots=True)
class Asked:
    """A query as the command line gives it."""

    query: str
    range: Range
    order: str
    executor: str | None

    def body(self, **more: Any) -> dict[str, Any]:
        """Give the body that asks it, with `more` members."""
        executor = {} if self.executor is None else {"executor": self.executor}
        return {"query": self.query, "order": self.order, **self.range.bounds(), **executor, **more}

    def options(self) -> list[str]:
        """Give the options that ask so again, without the range."""
        order = [] if self.order == NEWEST else ["--order", self.order]
        return [*order, *([] if self.executor is None else ["--executor", self.executor])]


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
    click.option("--order", type=click.Choice([NEWEST, "oldest"]), default=NEWEST, show_default=True),
    executor_option,
)


def with_question(function: Callable[Concatenate[Asked, P], None]) -> Callable[..., None]:
    """Add QUERY and the options of what is asked, and call with the Asked first."""

    @functools.wraps(function)
    def ask(range_: Range, /, *args: P.args, **kwargs: P.kwargs) -> None:
        query, order, executor = (kwargs.pop(name) for name in ("query", "order", "executor"))
        function(Asked(query, range_, order, executor), *args, **kwargs)  # type: ignore[arg-type]

    run = with_range(ask)
    for option in reversed(_OPTIONS):
        run = option(run)
    return run
