"""Receivers over HTTP: webhooks with Alertmanager's body of version 4, and Alertmanager's own API of version 2."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import httpx

from ess_ray.adapters.addresses import Allowed
from ess_ray.core.errors import BadRequest, Unavailable
from ess_ray.core.timestamps import format_timestamp
from ess_ray.ports import Bundle, Notice

TIMEOUT: Final = httpx.Timeout(10.0)
REPEAT_S: Final = 60.0
"""As Prometheus does: Alertmanager takes an alert for resolved that nobody tells of."""
HOLDS_US: Final = 240_000_000
"""How long Alertmanager takes an alert to fire unless it is told again: four times REPEAT_S, as Prometheus has it."""
NEVER_ENDED: Final = "0001-01-01T00:00:00Z"
"""What a webhook has as the end of what still fires."""
MAX_SHOWN_CHARS: Final = 200


class HttpSender:
    """One HTTP request, to the address that was looked at. Redirects are not followed, proxies are not used."""

    def __init__(self, url: str, allowed: Allowed, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self._url, self._allowed, self._transport = httpx.URL(url), allowed, transport

    async def post(self, body: Any, headers: Mapping[str, str]) -> None:
        """Send a body. Raises Unavailable, BadRequest for an address that is not allowed."""
        url = self._url
        port = url.port or (443 if url.scheme == "https" else 80)
        address = await self._allowed.resolve(url.host, port)
        sent = {**headers, "Host": url.netloc.decode("ascii"), "User-Agent": "ess_ray"}
        extensions = {"sni_hostname": url.host} if url.scheme == "https" else {}
        auth = (url.username, url.password) if url.username else None
        async with httpx.AsyncClient(timeout=TIMEOUT, trust_env=False, transport=self._transport, auth=auth) as client:
            try:
                target = url.copy_with(host=address, userinfo=b"")
                answer = await client.post(target, json=body, headers=sent, extensions=extensions)
            except httpx.HTTPError as error:
                raise Unavailable(f"{url.host} does not take it: {error or type(error).__name__}") from error
        if not answer.is_success:
            said = answer.text[:MAX_SHOWN_CHARS].strip()
            raise Unavailable(f"{url.host} answered {answer.status_code}{f': {said}' if said else ''}")


class WebhookReceiver:
    """Posts a bundle as Alertmanager's webhooks do. A repeat of the same has the same `Idempotency-Key`."""

    repeat_s = None

    def __init__(self, name: str, sender: HttpSender, page_url: str = "") -> None:
        self.name, self._sender, self._page_url = name, sender, page_url

    async def send(self, bundle: Bundle) -> None:
        """See `ports.Receiver`."""
        await self._sender.post(webhook_body(bundle, self.name, self._page_url), {"Idempotency-Key": bundle.key})


class AlertmanagerReceiver:
    """Posts alerts to an Alertmanager, which groups, silences and tells."""

    repeat_s = REPEAT_S

    def __init__(self, name: str, sender: HttpSender) -> None:
        self.name, self._sender = name, sender

    async def send(self, bundle: Bundle) -> None:
        """See `ports.Receiver`."""
        await self._sender.post([_alertmanager_alert(notice, bundle.now_us) for notice in bundle.notices], {})


def webhook_body(bundle: Bundle, receiver: str, page_url: str) -> dict[str, Any]:
    """Write a bundle as version 4 of Alertmanager's webhooks has it."""
    alerts = [_webhook_alert(notice) for notice in bundle.notices]
    firing = any(notice.status == "firing" for notice in bundle.notices)
    return {
        "version": "4",
        "groupKey": f"{{}}:{{tenant={bundle.tenant!r}, group={bundle.group!r}}}",
        "truncatedAlerts": 0,
        "status": "firing" if firing else "resolved",
        "receiver": receiver,
        "groupLabels": {},
        "commonLabels": _common([notice.labels for notice in bundle.notices]),
        "commonAnnotations": _common([notice.annotations for notice in bundle.notices]),
        "externalURL": page_url,
        "alerts": alerts,
    }


def _webhook_alert(notice: Notice) -> dict[str, Any]:
    return {
        "status": notice.status,
        "labels": dict(notice.labels),
        "annotations": dict(notice.annotations),
        "startsAt": format_timestamp(notice.starts_us),
        "endsAt": NEVER_ENDED if notice.ends_us is None else format_timestamp(notice.ends_us),
        "generatorURL": notice.url,
        "fingerprint": notice.fingerprint,
    }


def _alertmanager_alert(notice: Notice, now_us: int) -> dict[str, Any]:
    return {
        "labels": {name: value for name, value in notice.labels.items() if value},
        "annotations": dict(notice.annotations),
        "startsAt": format_timestamp(notice.starts_us),
        "endsAt": format_timestamp(now_us + HOLDS_US if notice.ends_us is None else notice.ends_us),
        "generatorURL": notice.url,
    }


def _common(mappings: list[Mapping[str, str]]) -> dict[str, str]:
    first, *others = mappings
    return {name: value for name, value in first.items() if all(one.get(name) == value for one in others)}


def check_http_url(url: str) -> str:
    """Give the address of an HTTP receiver back. Raises BadRequest."""
    try:
        parts = httpx.URL(url)
    except httpx.InvalidURL:
        parts = httpx.URL("")
    if parts.scheme not in ("http", "https") or not parts.host:
        raise BadRequest("an address of a receiver is webhook+https://HOST/PATH or alertmanager+https://HOST")
    return url
