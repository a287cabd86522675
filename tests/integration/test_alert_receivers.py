"""Receivers on the real thing: an HTTP server, an SMTP server, an Alertmanager where there is one."""

from __future__ import annotations

import asyncio
import importlib.util
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import httpx
import pytest

from ess_ray.adapters.receivers import AlertSettings, ReceiverAt, receivers_of
from ess_ray.core.errors import BadRequest, Unavailable
from ess_ray.ports import Bundle, Notice, Receiver
from ess_ray.runtime.environment import free_ports
from tests.servers import needs
from tests.systems import wait_until
from tests.webhooks import Webhooks, webhooks

T0_US = 1_790_000_000_000_000
FIRING = Notice(
    "t/g/f/1/firing",
    "firing",
    {"alertname": "High", "service": "api", "severity": "page"},
    {"summary": "5 errors of api"},
    T0_US,
    None,
    "http://logs.example/?q=x",
    "0123456789abcdef",
)
RESOLVED = replace(
    FIRING,
    key="t/g/r/1/resolved",
    status="resolved",
    labels={**FIRING.labels, "service": "web"},
    ends_us=T0_US + 60_000_000,
)
BUNDLE = Bundle("t", "g", [FIRING, RESOLVED], T0_US)
needs_apprise = needs(importlib.util.find_spec("apprise") is not None, "apprise")


def receiver(url: str, *allowed: str) -> Receiver:
    (made,) = receivers_of(AlertSettings((ReceiverAt("it", url),), "http://logs.example", allowed))
    return made


@pytest.fixture
def hooks() -> Iterator[Webhooks]:
    with webhooks() as found:
        yield found


async def test_a_webhook_gets_alertmanagers_body_of_version_4(hooks: Webhooks) -> None:
    hook = receiver(f"webhook+{hooks.url}", "127.0.0.1")
    await hook.send(BUNDLE)
    await hook.send(BUNDLE)
    first, second = hooks.bodies
    assert first == second
    assert hooks.headers[0]["Idempotency-Key"] == hooks.headers[1]["Idempotency-Key"]
    assert {name: first[name] for name in ("version", "status", "receiver", "truncatedAlerts", "externalURL")} == {
        "version": "4",
        "status": "firing",
        "receiver": "it",
        "truncatedAlerts": 0,
        "externalURL": "http://logs.example",
    }
    assert first["commonLabels"] == {"alertname": "High", "severity": "page"}
    assert [(one["status"], one["startsAt"], one["endsAt"]) for one in first["alerts"]] == [
        ("firing", "2026-09-21T14:13:20.000000Z", "0001-01-01T00:00:00Z"),
        ("resolved", "2026-09-21T14:13:20.000000Z", "2026-09-21T14:14:20.000000Z"),
    ]
    assert first["alerts"][0]["generatorURL"] == FIRING.url


async def test_what_a_webhook_does_not_take_is_told_later(hooks: Webhooks) -> None:
    hook = receiver(f"webhook+{hooks.url}", "127.0.0.1")
    for hooks.status in (503, 404, 302):
        with pytest.raises(Unavailable, match=f"answered {hooks.status}"):
            await hook.send(BUNDLE)
    assert hooks.bodies == [], "a redirect is not followed"
    hooks.hang = True
    with pytest.raises(Unavailable):
        await hook.send(BUNDLE)


async def test_this_machine_is_refused_by_address_and_by_name(hooks: Webhooks) -> None:
    for url in (hooks.url, hooks.url.replace("127.0.0.1", "localhost"), hooks.url.replace("127.0.0.1", "127.1")):
        with pytest.raises(BadRequest, match="allow_hosts"):
            await receiver(f"webhook+{url}").send(BUNDLE)
    assert hooks.bodies == []
    await receiver(f"webhook+{hooks.url.replace('127.0.0.1', 'localhost')}", "localhost").send(BUNDLE)
    assert hooks.headers[0]["Host"].startswith("localhost:")


# ---------------------------------------------------------------------------------------------------------------- mail
class Mailbox:
    """Keeps mails; refuses them while `away`."""

    def __init__(self) -> None:
        self.mails: list[EmailMessage] = []
        self.away = False

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:
        if self.away:
            return "451 come again later"
        mail = message_from_bytes(envelope.content, policy=policy.default)
        assert isinstance(mail, EmailMessage)
        self.mails.append(mail)
        return "250 OK"


@pytest.fixture
def mail() -> Iterator[tuple[Mailbox, str]]:
    """A real SMTP server; gives its mailbox and its URL for apprise."""
    controllers = pytest.importorskip("aiosmtpd.controller")
    mailbox, (port,) = Mailbox(), free_ports(1)
    controller = controllers.Controller(mailbox, hostname="127.0.0.1", port=port)
    controller.start()
    try:
        yield mailbox, f"mailto://127.0.0.1:{port}/?from=ess@logs.example&to=you@logs.example&format=text&mode=insecure"
    finally:
        controller.stop()


@needs_apprise
async def test_a_mail_is_sent_and_again_when_it_was_refused(mail: tuple[Mailbox, str]) -> None:
    mailbox, url = mail
    sender = receiver(url, "127.0.0.1")
    mailbox.away = True
    with pytest.raises(Unavailable):
        await sender.send(BUNDLE)
    mailbox.away = False
    await sender.send(BUNDLE)
    (got,) = mailbox.mails
    assert got["To"] == "you@logs.example"
    assert "[FIRING] High: 5 errors of api (and 1 more)" in got["Subject"]
    body = got.get_body(("plain",))
    assert body is not None
    text = body.get_content()
    assert 'FIRING High {service="api", severity="page"}' in text
    assert "rows: http://logs.example/?q=x" in text


@needs_apprise
async def test_a_mail_to_this_machine_is_refused_unless_it_is_allowed(mail: tuple[Mailbox, str]) -> None:
    mailbox, url = mail
    for near in (url, url.replace("127.0.0.1", "localhost")):
        with pytest.raises(Unavailable, match="allow_hosts"):
            await receiver(near).send(BUNDLE)
    assert mailbox.mails == []
    with pytest.raises(Unavailable, match="does not know"):
        await receiver("nosuchscheme://x").send(BUNDLE)


# --------------------------------------------------------------------------------------------------------- alertmanager
PROGRAM = shutil.which("prometheus-alertmanager") or shutil.which("alertmanager")


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[str]:
    """A real Alertmanager; gives its address."""
    if PROGRAM is None:
        pytest.skip("there is no Alertmanager: apt-get install prometheus-alertmanager")
    config = tmp_path / "alertmanager.yml"
    config.write_text("route: {receiver: none}\nreceivers: [{name: none}]\n")
    (port,) = free_ports(1)
    url = f"http://127.0.0.1:{port}"
    command = [PROGRAM, f"--config.file={config}", f"--storage.path={tmp_path}", "--cluster.listen-address="]
    with (tmp_path / "log").open("wb") as log:
        server = subprocess.Popen([*command, f"--web.listen-address=127.0.0.1:{port}"], stdout=log, stderr=log)
    try:
        wait_until(lambda: _is_ready(url), (tmp_path / "log").read_text)
        yield url
    finally:
        server.terminate()
        server.wait(30)


def _is_ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/-/ready", trust_env=False).is_success
    except httpx.TransportError:
        return False


async def test_a_real_alertmanager_takes_alerts_and_their_ends(manager: str) -> None:
    def alerts() -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = httpx.get(f"{manager}/api/v2/alerts", trust_env=False).json()
        return found

    import time

    now_us = time.time_ns() // 1000
    fires = replace(FIRING, starts_us=now_us - 5_000_000)
    sender = receiver(f"alertmanager+{manager}", "127.0.0.1")
    assert sender.repeat_s is not None
    await sender.send(Bundle("t", "g", [fires], now_us))
    await sender.send(Bundle("t", "g", [fires], now_us))
    (one,) = await asyncio.to_thread(wait_until, alerts, "the alert is not there")
    assert one["labels"] == dict(FIRING.labels)
    assert one["annotations"] == dict(FIRING.annotations)
    assert one["generatorURL"] == FIRING.url
    ended = replace(fires, status="resolved", ends_us=now_us)
    await sender.send(Bundle("t", "g", [ended], now_us))
    await asyncio.to_thread(wait_until, lambda: not alerts(), "it is not resolved")
