"""What is told beside an answer: which range was looked at, whether there is more, and hints where there is nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ess_ray.cli.again import command_line
from ess_ray.cli.output import tell
from ess_ray.cli.question import query_words
from ess_ray.cli.when import Range


def tell_rows(page: Mapping[str, Any], rows: int, limit: int, range_: Range) -> None:
    """Tell how many rows a search has found, where, and whether these are all; `page` is its last one."""
    where = range_.in_words()
    if rows == 0:
        tell(f"nothing matches {where}" if page["complete"] else f"nothing was found {where}")
    elif rows >= limit:
        more = "there are more" if page["progress"].get("rows_matched", 0) > rows else "there may be more"
        tell(f"{_rows(rows)} {where}; {more}: raise --limit {limit}, narrow the query, or use ess count or ess export")
    else:
        tell(f"{_rows(rows)} {where}{', all that match' if page['complete'] else ''}")


def tell_hints(page: Mapping[str, Any], command: str, query: str, range_: Range, rest: Sequence[str]) -> None:
    """Tell the hints of an answer, each with the command that asks otherwise: `ess command` QUERY RANGE `rest`."""
    for hint in page.get("hints", ()):
        again = [command, *query_words(hint["query"] or query, *range_.arguments(hint["start"]), *rest)]
        other = hint["query"] is not None or hint["start"] is not None
        tell(f"hint: {hint['text']}" + (f"\n  {command_line(*again)}" if other else ""))


def tell_no_field(names: Iterable[str], range_: Range, *, complete: bool, query: str = "", prefix: str = "") -> None:
    """Tell that no event of the range has these fields: a name that is written wrong looks like an empty answer."""
    which = "" if query in ("", "*") else " that matches"
    value = f" with a value that begins with {prefix}" if prefix else ""
    for name in names:
        some = f"no event{which} {range_.in_words()} has a field {name}{value}"
        read = "" if complete else " in what could be read"
        tell(f"{some}{read}: `{command_line('fields', *range_.arguments())}` names those that there are")


def _rows(count: int) -> str:
    return f"{count:,} row" + ("" if count == 1 else "s")
