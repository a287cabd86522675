"""A query with stages behind it, asked on the command line: `ess search 'level:ERROR | stats count() by service'`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from ess_ray.cli.client import Client
from ess_ray.cli.follow import asking, end, show_progress
from ess_ray.cli.output import print_json, progress
from ess_ray.cli.question import Asked
from ess_ray.cli.tables import print_table, tell_ignored
from ess_ray.core.errors import QueryError

PIPE: Final = "|"


def is_pipe(query: str) -> bool:
    """Tell whether a text has stages; of one that is wrong before them the server says what is wrong."""
    if PIPE not in query:
        return False
    from ess_ray.language import pipe_in  # only here: reading terms takes a tenth of a second to import

    try:
        return pipe_in(query) is not None
    except QueryError:
        return False


def search_table(client: Client, asked: Asked, *, as_json: bool) -> None:
    """Ask for a table, print it when it is there (`as_json`: the whole answer as one object), and end the command."""
    body: dict[str, Any] = {"query": asked.query, **asked.range.bounds()}
    if asked.range.zone.given is not None:
        body["time_zone"] = asked.range.zone.told
    if asked.executor is not None:
        body["executor"] = asked.executor
    page = table_page(client, "/search/v1/pipes", body)
    if as_json:
        print_table_json(page)
    else:
        print_table(page.get("columns", []), page.get("rows", []), asked.range.zone)
        tell_ignored(page)
    end(page)


def table_page(client: Client, root: str, body: Mapping[str, Any]) -> dict[str, Any]:
    """Ask for what is answered as a table, and wait for it; gives its last page."""
    page: dict[str, Any] = {}
    with asking(client, root, body) as pages, progress("counting", None) as bar:
        for page in pages:
            show_progress(bar, page)
    return page


def print_table_json(page: Mapping[str, Any]) -> None:
    """Print a table's answer as one object."""
    print_json({name: value for name, value in page.items() if name not in ("events", "cursor")})
