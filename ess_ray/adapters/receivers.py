"""Which receiver stands behind a URL."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Final

from ess_ray.adapters.addresses import Allowed
from ess_ray.adapters.apprise_receiver import AppriseReceiver
from ess_ray.adapters.http_receivers import AlertmanagerReceiver, HttpSender, WebhookReceiver, check_http_url
from ess_ray.core.errors import BadRequest
from ess_ray.ports import Receiver

WEBHOOK: Final = "webhook+"
ALERTMANAGER: Final = "alertmanager+"
_API: Final = "/api/v2/alerts"


@dataclass(frozen=True, slots=True)
class ReceiverAt:
    """A receiver's name and its URL, which may hold secrets."""

    name: str
    url: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class AlertSettings:
    """Who is told of alerts, where the web page is for links (empty: none), what may be connected to though it is
    near."""

    receivers: tuple[ReceiverAt, ...] = ()
    page_url: str = ""
    allow_hosts: tuple[str, ...] = ()


def receivers_of(settings: AlertSettings) -> list[Receiver]:
    """Make the receivers. Raises BadRequest for a URL that cannot be."""
    return [_receiver(one, settings.page_url, settings.allow_hosts) for one in settings.receivers]


def _receiver(at: ReceiverAt, page_url: str, allow_hosts: Collection[str]) -> Receiver:
    scheme, separator, _ = at.url.partition("://")
    if not separator:
        raise BadRequest(
            f"the receiver {at.name} has no URL: webhook+https://..., alertmanager+https://..., mailto://..."
        )
    try:
        if scheme.startswith(WEBHOOK):
            sender = HttpSender(check_http_url(at.url.removeprefix(WEBHOOK)), Allowed(allow_hosts))
            return WebhookReceiver(at.name, sender, page_url)
        if scheme.startswith(ALERTMANAGER):
            url = check_http_url(at.url.removeprefix(ALERTMANAGER)).rstrip("/")
            return AlertmanagerReceiver(
                at.name, HttpSender(url if url.endswith(_API) else url + _API, Allowed(allow_hosts))
            )
    except BadRequest as error:
        raise BadRequest(f"the receiver {at.name}: {error.message}") from None
    return AppriseReceiver(at.name, at.url, allow_hosts)
