"""`ess mcp`: lets assistants ask this system, by the Model Context Protocol."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from importlib import metadata
from typing import Final

import click
from pydantic import SecretStr

from ess_ray.cli.client import Client, Target
from ess_ray.cli.options import with_target
from ess_ray.core.errors import Unsupported

PORT: Final = 8765
HOST: Final = "127.0.0.1"
"""What listens elsewhere is for a proxy that speaks TLS: keys would go over the wire as they are."""
_INSTALL: Final = "the package `mcp` is missing: pip install 'ess_ray[mcp]'"


@click.command()
@click.option("--http", "over_http", is_flag=True, help="Answer over HTTP, at /mcp, not on standard output.")
@click.option("--port", type=click.IntRange(1, 65_535), default=PORT, show_default=True, help="With --http.")
@with_target
def mcp(target: Target, /, *, over_http: bool, port: int) -> None:
    """Let an assistant search, count and watch events, never change them.

    An assistant that starts programs runs `ess mcp` and talks to its standard input and output; the key is ESS_KEY.
    With --http it asks http://127.0.0.1:8765/mcp, and where the system has keys each request carries one of its own,
    `Authorization: Bearer KEY`: whoever asks sees what that key sees.

    \b
    claude mcp add ess -- ess mcp --url http://127.0.0.1:8000
    {"mcpServers": {"ess": {"command": "ess", "args": ["mcp"]}}}
    """
    try:
        from ess_ray.cli.assistants.questions import Questions
        from ess_ray.cli.assistants.server import make_server
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] not in ("mcp", "mcp_types"):
            raise
        raise Unsupported(_INSTALL) from error

    @contextmanager
    def questions(headers: Mapping[str, str] | None) -> Iterator[Questions]:
        with Client(_as_asked(target, headers) if over_http else target) as client:
            yield Questions(client)

    server = make_server(questions, metadata.version("ess_ray"))
    if over_http:
        server.run("streamable-http", host=HOST, port=port, stateless_http=True, json_response=True)
    else:
        server.run()


def _as_asked(target: Target, headers: Mapping[str, str] | None) -> Target:
    """Give the target with the key of a request, or none: never our own, which is not theirs who reach our port."""
    scheme, _, key = (headers or {}).get("authorization", "").partition(" ")
    own = SecretStr(key.strip()) if scheme.lower() == "bearer" and key.strip() else None
    return replace(target, settings=target.settings.model_copy(update={"key": own}))
