"""What is asked, on the command line: the query and the options that search, export and explain share."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Concatenate, Final, NoReturn, ParamSpec

import click

from ess_ray.cli.again import command_line
from ess_ray.cli.group import Refused
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


class QueryCommand(click.Command):
    """A command with a QUERY, which may begin with `-`: that is no option, and says how it is written."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read the words. Raises UsageError at one that is a query rather than an option."""
        if ctx.resilient_parsing:  # a shell asks how a word may end
            return super().parse_args(ctx, args)
        takes_value = self._options(ctx, with_value=True)
        flags = self._options(ctx, with_value=False)
        words = iter(args)
        for word in words:
            if word == "--":
                break
            if word in takes_value:
                next(words, None)
            elif _is_negation(word) and word not in flags and not _has_number(word, takes_value):
                self._refuse(ctx, word)
        return super().parse_args(ctx, args)

    def _options(self, ctx: click.Context, *, with_value: bool) -> set[str]:
        options = (option for option in self.get_params(ctx) if isinstance(option, click.Option))
        return {
            name
            for option in options
            if option.is_flag != with_value
            for name in (*option.opts, *option.secondary_opts)
        }

    def _refuse(self, ctx: click.Context, word: str) -> NoReturn:
        name = ctx.info_name or ""
        raise click.UsageError(
            f"{word} is taken for an option, and is none: a query that begins with - stands behind -- and all options, "
            f"`{command_line(name, '--', word)}`, or is written with NOT, `{command_line(name, f'NOT {word[1:]}')}`",
            ctx,
        )


def _is_negation(word: str) -> bool:
    return len(word) > 1 and word[0] == "-" and word[1] != "-"


def _has_number(word: str, short: Iterable[str]) -> bool:
    """Tell whether a word is a short option with its number, as in -C5."""
    return word[:2] in short and word[2:].isdigit()


def query_words(query: str, *options: str) -> list[str]:
    """Give the words that ask a query with options, so that one that begins with `-` is not taken for an option."""
    return [*options, "--", query] if query.startswith("-") else [query, *options]


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
