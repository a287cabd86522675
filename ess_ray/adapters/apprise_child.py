"""The process that sends one message by apprise: a job as JSON on standard input, why it failed on standard output.

Every connection that anything here makes is looked at, with the address that its name was resolved to: an audit hook
sees them all, and cannot be taken away again.
"""

from __future__ import annotations

import json
import logging
import socket
import sys
from collections.abc import Collection
from io import StringIO
from typing import Any, Final

from ess_ray.adapters.addresses import Allowed, refusal

_CONNECTS: Final = frozenset({"socket.connect", "socket.sendto", "socket.sendmsg"})
MAX_SAID_CHARS: Final = 500


class Refused(OSError):
    """An address that may not be connected to."""


def guard(allow_hosts: Collection[str]) -> list[str]:
    """Refuse connections from here on to what is near and not allowed; gives the list that refusals are added to."""
    allowed = Allowed(allow_hosts)
    names: dict[str, str] = {}
    refused: list[str] = []
    plain = socket.getaddrinfo

    def getaddrinfo(host: Any, *arguments: Any, **more: Any) -> Any:
        """Remember which name an address is of: names are what people allow."""
        found = plain(host, *arguments, **more)
        if host is not None:
            text = host.decode() if isinstance(host, bytes) else str(host)
            names.update((str(one[4][0]), text) for one in found)
        return found

    def look(event: str, arguments: tuple[Any, ...]) -> None:
        if event not in _CONNECTS:
            return
        address = arguments[1]
        if not isinstance(address, tuple):  # a Unix socket, or none
            return
        where = str(address[0])
        name = names.get(where, where)
        flaw = None if allowed.names(name) else allowed.flaw(where)
        if flaw is not None:
            refused.append(refusal(name, flaw))
            raise Refused(refused[-1])

    socket.getaddrinfo = getaddrinfo
    sys.addaudithook(look)
    return refused


def send(job: dict[str, Any]) -> str | None:
    """Send a message; gives why it was not."""
    refused = guard(job["allow_hosts"])
    import apprise

    said = StringIO()
    handler = logging.StreamHandler(said)
    logger = logging.getLogger("apprise")
    logger.addHandler(handler)
    logger.setLevel(logging.WARNING)
    # No file of this machine is attached or read for a message.
    sender = apprise.Apprise(asset=apprise.AppriseAsset(async_mode=False, plugin_paths=[]))
    if not sender.add(job["url"]):
        return "apprise does not know this URL: its scheme, or what must stand in it"
    if sender.notify(title=job["title"], body=job["body"], notify_type=job["kind"]):
        return None
    if refused:
        return refused[-1]
    return " ".join(said.getvalue().split())[-MAX_SAID_CHARS:] or "it was not taken, and nobody says why"


def main() -> None:
    """Send what standard input says."""
    reason = send(json.load(sys.stdin))
    if reason is not None:
        print(reason)
        sys.exit(1)


if __name__ == "__main__":
    main()
