"""`ess push --dry-run`: the first events of each file as they would be stored, without a system."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Sequence
from typing import BinaryIO, Final, cast

import click
import pyarrow as pa

from ess_ray.cli.content import Content
from ess_ray.cli.file_push import Asked, reading_of
from ess_ray.cli.inputs import read_items
from ess_ray.cli.items import Bad, Item
from ess_ray.cli.output import print_json, tell, visible
from ess_ray.cli.position import Position
from ess_ray.cli.push_files import STDIN, Found
from ess_ray.core.errors import BadRequest
from ess_ray.core.event import IDENTITY_FIELDS, to_json_rows
from ess_ray.intake.formats.format import Body
from ess_ray.intake.formats.json_events import decode_events
from ess_ray.intake.limits import IntakeLimits
from ess_ray.record import identified

SHOWN_EVENTS: Final = 10
"""Of each file: they fit on a screen or two."""
LOOKED_AT: Final = 10_000
"""Events of each file that are read for what is said of it: a second's work."""
_OF_THE_LOG: Final = frozenset({"id", "observed_timestamp", *(field.name for field in IDENTITY_FIELDS)})
"""What only a system can tell."""


def show(files: Sequence[Found], asked: Asked) -> None:
    """Show each file's first events as JSON, one a line, and say on standard error how it was read.

    Raises BadRequest for a file that cannot be pushed, unless nobody named it.
    """
    for found in files:
        with click.open_file(found.path, "rb") as raw:
            try:
                _show(found, Content(cast(BinaryIO, raw), asked.encoding), asked)
            except ValueError as error:
                if not found.in_folder:
                    raise BadRequest(f"{found.path}: {error}") from error
                tell(f"left out: {found.path}: {str(error).partition(';')[0]}")


def _show(found: Found, content: Content, asked: Asked) -> None:
    path = None if found.path == STDIN else os.path.abspath(found.path)
    options = asked.options(content, asked.form, path)
    now_us, position = time.time_ns() // 1000, Position()
    read = read_items(content.pieces(), reading_of(options, now_us), position)
    items = list(itertools.islice(read, LOOKED_AT))
    for item in items[:SHOWN_EVENTS]:
        _show_item(item, now_us)
    more = "the first " if len(items) == LOOKED_AT else ""
    tell(f"{found.path}: {asked.told_form(options)}, {more}{len(items):,} events; nothing was sent")
    unread = position.unread
    if unread.count_of:
        tell(f"  {unread.count_of:,} of them are not as this format has them, and would be plain messages, such as")
        for example in unread.examples:
            tell(f"  line {example.position:,}: {visible(example.line)}")
    untimed, first = position.untimed.told()
    if first is not None:
        tell(f"  no time was found in {untimed:,}, such as line {first.position:,}: {visible(first.line)}")


def _show_item(item: Item | Bad, now_us: int) -> None:
    if isinstance(item, Bad):
        tell(f"  would be rejected: {item.position}: {item.reason}")
        return
    try:
        decoded = decode_events(Body(item.body), now_us, IntakeLimits())
    except BadRequest as error:
        tell(f"  would be rejected: {item.position}: {error.message}")
        return
    table = pa.Table.from_batches([identified(decoded.batch, "", 0, 0)])
    for row in to_json_rows(table):
        print_json({name: value for name, value in row.items() if name not in _OF_THE_LOG and value is not None})
    for _, reason in decoded.adjusted:
        tell(f"  {item.position}: {reason}")
