"""Lines of text that came over the network, read in a format: where a tenant's setting says so.

Without the setting each line is a message, and nothing else is said of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC
from typing import Any, Final

from ess_ray.core.errors import BadRequest
from ess_ray.intake.lines.catalog import ALSO_CALLED, names
from ess_ray.intake.lines.parser import Parser
from ess_ray.intake.lines.raw import cut_lines
from ess_ray.intake.lines.recognise import SAMPLE_LINES, recognise
from ess_ray.intake.lines.times import LineReader
from ess_ray.intake.rows import Broken

AUTO: Final = "auto"
_TOO_LONG: Final = Broken("the line is longer than an event may be")


def formats_of(named: Mapping[str, str]) -> dict[str, str]:
    """Give the formats of tenants' lines by what the setting calls them. Raises BadRequest for a name that none has."""
    known = {AUTO, *names()}
    for tenant, name in named.items():
        if name not in known:
            raise BadRequest(f"push.parse: {tenant} has {name!r}, which is no format: use {', '.join(sorted(known))}")
    return {tenant: ALSO_CALLED.get(name, name) for tenant, name in named.items()}


def read_text(text: bytes, form: str, now_us: int) -> list[Any]:
    """Read a text, received at `now_us`, as values that are each to be an event; `form` is AUTO or a name of `catalog`.

    Times without a zone are UTC: nobody knows where a client is. What the format does not understand is a message.
    """
    if form == AUTO:
        lines = text.split(b"\n", SAMPLE_LINES)[:SAMPLE_LINES]
        form = recognise([line.decode("utf-8", "replace") for line in lines], now_us)
    parser = Parser(form, LineReader(now_us, UTC, decided=True), crlf=True)
    values: list[Any] = []
    for group in parser.groups(cut_lines([text])):
        found = parser.read(group)
        if found.kind == "too long":
            values.append(_TOO_LONG)
        elif found.kind not in ("blank", "header"):
            values.append({**found.event, **(found.besides or {})})
    return values
