"""Tables of values: columns aligned on a terminal, else lines with tabs."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from typing import Any, Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ess_ray.cli.output import in_a_line, tell, visible, write
from ess_ray.cli.when import Zone

NOTHING: Final = "-"
"""Shown for what has no value."""
_SHOWN_DIGITS: Final = 6
"""Of numbers on a terminal: more than a quantile has."""
_BARS: Final = "▁▂▃▄▅▆▇█"
_WHOLE: Final = 2**53
"""Up to which every whole number is a double: these are written without a point."""


def print_table(columns: Sequence[Mapping[str, str]], rows: Sequence[Sequence[Any]], zone: Zone) -> None:
    """Print columns (`name`, `type`: `time`, `text`, `number`, `boolean` or `numbers`) and rows; times in a zone.

    Several numbers are a small chart. Lines with tabs have no head, all digits of numbers, and several with commas.
    """
    if not sys.stdout.isatty():
        lines = ("\t".join(in_a_line(_text(value)) for value in _zoned(columns, row, zone)) for row in rows)
        write("".join(line + "\n" for line in lines).encode("utf-8", "replace"))
        return
    table = Table(box=None, pad_edge=False)
    for column in columns:
        table.add_column(Text(visible(column["name"])), justify="right" if column["type"] == "number" else "left")
    for row in rows:
        values = (_for_people(value) for value in _zoned(columns, row, zone))
        table.add_row(*(Text(in_a_line(visible(value)), overflow="ellipsis", no_wrap=True) for value in values))
    Console().print(table)


def tell_ignored(page: Mapping[str, Any]) -> None:
    """Tell how many values were left out of statistics, as they are no numbers."""
    for name, count in page.get("ignored", {}).items():
        if count:
            left_out = "value is no number and was" if count == 1 else "values are no numbers and were"
            tell(f"{name}: {count:,} {left_out} left out")


def _zoned(columns: Sequence[Mapping[str, str]], row: Sequence[Any], zone: Zone) -> list[Any]:
    return [
        zone.rewritten(value) if column["type"] == "time" and value is not None else value
        for column, value in zip(columns, row, strict=True)
    ]


def _text(value: Any) -> str:
    if isinstance(value, float) and value.is_integer() and abs(value) < _WHOLE:
        return str(int(value))
    if isinstance(value, list):
        return ",".join(map(_text, value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    return NOTHING if value is None else str(value)


def _for_people(value: Any) -> str:
    if isinstance(value, list):
        return _chart(value)
    if isinstance(value, bool):
        return _text(value)
    whole = int(value) if isinstance(value, float) and value.is_integer() and abs(value) < _WHOLE else value
    if isinstance(whole, int):
        return f"{whole:,}"
    return f"{whole:,.{_SHOWN_DIGITS}g}" if isinstance(whole, float) else _text(whole)


def _chart(values: Sequence[float]) -> str:
    """Draw numbers that are not negative, from nothing to the largest; the least bar is for zero alone."""
    most = max(values, default=0)
    return "".join(_BARS[math.ceil(value / most * (len(_BARS) - 1)) if most else 0] for value in values)
