"""Receivers by apprise: mail, Slack, Teams, PagerDuty and a hundred others, each by its own URL.

Each message is sent by a process of its own (`apprise_child`): what a service's plugin does to it, or how long it
takes, is nobody else's matter, and there every connection is looked at, whatever the plugin connects to.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Collection
from contextlib import suppress
from typing import Final

import orjson

from ess_ray.core.errors import Unavailable
from ess_ray.core.timestamps import format_timestamp
from ess_ray.ports import Bundle, Notice

TIMEOUT_S: Final = 60.0
"""A process starts in a second, on a busy machine in several; a mail server may greet late."""
MAX_TOLD: Final = 20
"""Alerts that one message tells of in full: more are counted."""
MAX_SAID_CHARS: Final = 500
_CHILD: Final = ("-m", "ess_ray.adapters.apprise_child")


class AppriseReceiver:
    """Tells by a URL of apprise. `allow_hosts`: what may be connected to though it is near (`addresses`)."""

    repeat_s = None

    def __init__(self, name: str, url: str, allow_hosts: Collection[str] = (), timeout_s: float = TIMEOUT_S) -> None:
        self.name, self._url, self._allow_hosts, self._timeout_s = name, url, sorted(allow_hosts), timeout_s

    async def send(self, bundle: Bundle) -> None:
        """See `ports.Receiver`."""
        kind = "failure" if any(one.status == "firing" for one in bundle.notices) else "success"
        title, body = title_of(bundle), "\n\n".join(body_of(bundle))
        job = {"url": self._url, "allow_hosts": self._allow_hosts, "title": title, "body": body, "kind": kind}
        # The URL has secrets: no argument of a process, which others can list.
        child = await asyncio.create_subprocess_exec(
            sys.executable,
            *_CHILD,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
        try:
            async with asyncio.timeout(self._timeout_s):
                said, _ = await child.communicate(orjson.dumps(job))
        except TimeoutError as error:
            raise Unavailable(f"it took longer than {self._timeout_s:g} s") from error
        finally:
            if child.returncode is None:
                with suppress(ProcessLookupError):
                    child.kill()
                await child.wait()
        if child.returncode:
            reason = said.decode("utf-8", "replace").strip()[-MAX_SAID_CHARS:]
            raise Unavailable(reason or f"the process that sends ended with {child.returncode}")


def title_of(bundle: Bundle) -> str:
    """Give a message's title: what fires, what is resolved."""
    firing = [one for one in bundle.notices if one.status == "firing"]
    first = (firing or list(bundle.notices))[0]
    more = len(bundle.notices) - 1
    summary = first.annotations.get("summary") or _labels(first)
    status = "FIRING" if firing else "RESOLVED"
    return f"[{status}] {first.labels.get('alertname', '')}: {summary}" + (f" (and {more} more)" if more else "")


def body_of(bundle: Bundle) -> list[str]:
    """Give a message's paragraphs: an alert each."""
    told = [_paragraph(notice) for notice in bundle.notices[:MAX_TOLD]]
    more = len(bundle.notices) - MAX_TOLD
    return [*told, f"... and {more} more"] if more > 0 else told


def _paragraph(notice: Notice) -> str:
    lines = [f"{notice.status.upper()} {notice.labels.get('alertname', '')} {_labels(notice)}"]
    lines += [f"{name}: {text}" for name, text in sorted(notice.annotations.items())]
    lines.append(f"since {format_timestamp(notice.starts_us)}")
    if notice.ends_us is not None:
        lines.append(f"until {format_timestamp(notice.ends_us)}")
    if notice.url:
        lines.append(f"rows: {notice.url}")
    return "\n".join(lines)


def _labels(notice: Notice) -> str:
    told = [f'{name}="{value}"' for name, value in sorted(notice.labels.items()) if name != "alertname" and value]
    return "{" + ", ".join(told) + "}"
