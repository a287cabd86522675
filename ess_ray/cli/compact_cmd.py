"""`ess compact`: merges small objects now, in as many requests as it takes."""

from __future__ import annotations

import sys
from typing import Any, Final

import click

from ess_ray.cli.client import Client, Target
from ess_ray.cli.options import json_option, with_target
from ess_ray.cli.output import print_json, progress, tell

TIMEOUT_S: Final = 660.0
"""A little more than the system allows one request."""
_SUMS: Final = (
    *("merged_objects", "new_objects", "rows", "bytes_before", "bytes_after"),
    *("expired_objects", "expired_rows", "expired_bytes"),
)


@click.command()
@json_option
@with_target
def compact(target: Target, as_json: bool) -> None:
    """Merge small stored objects into large ones, and take out what is older than its tenant's retention.

    The system does both by itself every few minutes; this does it at once, also for hours that are still written.
    Exit code 1 when something had to be left as it is.
    """
    done: dict[str, Any] = dict.fromkeys(_SUMS, 0)
    body: dict[str, int] = {}
    with Client(target) as client, progress("compacting", None) as bar:
        while True:
            answer = client.call("POST", "/search/v1/compact", json=body, timeout=TIMEOUT_S)
            done = {**answer, **{name: done[name] + answer[name] for name in _SUMS}}
            bar(0, f"{done['merged_objects']:,} objects became {done['new_objects']:,}")
            # The same moment in every request: what is flushed meanwhile must not keep us going for ever.
            body = {"before_us": answer["before_us"]}
            if not (answer["more"] and answer["new_objects"]):
                break
    if as_json:
        print_json(done)
    else:
        click.echo(
            f"{done['merged_objects']:,} objects became {done['new_objects']:,} "
            f"({done['rows']:,} events, {done['bytes_before']:,} bytes became {done['bytes_after']:,})"
        )
        if done["expired_objects"]:
            click.echo(f"{done['expired_objects']:,} objects ({done['expired_rows']:,} events) were too old and left")
    for one in done["skipped"]:
        tell(click.style(f"{one['partition']} was left as it is: {one['reason']}", fg="yellow"))
    if done["skipped"] or done["more"]:
        sys.exit(1)
