"""What `ess up` tells once a system is ready: where its parts are, and lines to copy that work there."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ess_ray.cli.again import command_line

HELLO: Final = '[{"message": "hello", "level": "info", "service": "demo"}]'


@dataclass(frozen=True, slots=True)
class Ready:
    """A system that is ready. `token`: the file with the secret of Ray's dashboard."""

    url: str
    dashboard_url: str
    token: Path
    data_dir: Path
    closed: bool
    """Whether requests need a key."""
    has_key: bool
    """Whether one is set here, as ESS_KEY."""
    has_page: bool
    demo_events: int = 0
    took_s: float = 0.0


def told_where(ready: Ready) -> str:
    """Write where everything is."""
    page = f"{ready.url}/" if ready.has_page else "not built: `make web` in a checkout does it"
    return f"""ess_ray is ready, after {ready.took_s:.0f} s.
  page       {page}
  push       {ready.url}/push/v1/events
             (docs: {ready.url}/push/docs)
  search     {ready.url}/search/v1/queries
             (docs: {ready.url}/search/docs)
  dashboard  {ready.dashboard_url} (Ray's), its token is in
             {ready.token}
  data       {ready.data_dir}"""


def commands_to_try(ready: Ready) -> Iterator[str]:
    """Give commands for a shell that work as they stand, in this order; where keys are wanted, with ESS_KEY set."""
    where = ("--url", ready.url)
    if ready.demo_events:
        yield command_line("search", "level:ERROR", "--limit", "5", *where)
        yield command_line("count", "--by", "service", *where)
    key = ' \\\n    -H "Authorization: Bearer $ESS_KEY"' if ready.closed else ""
    yield (
        f"curl -sS {ready.url}/push/v1/events{key} \\\n    -H 'Content-Type: application/json' \\\n"
        f"    -d {shlex.quote(HELLO)}"
    )
    yield command_line("search", "hello", *where)


def told_to_try(ready: Ready) -> str:
    """Write what to try, and before it how to get the key that it needs."""
    lines = []
    if ready.closed and not ready.has_key:
        scopes = ("--scope", "push", "--scope", "search")
        create = command_line("keys", "create", *scopes, "--data-dir", str(ready.data_dir))
        lines += ["this system wants a key: use one that you have, or make one", f"  export ESS_KEY=$({create})"]
    lines += ["try:", *(f"  {command}" for command in commands_to_try(ready))]
    return "\n".join(lines)
