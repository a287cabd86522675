"""What messages may be sent to: nothing near, unless it is allowed by its name or its address."""

from __future__ import annotations

import pytest

from ess_ray.adapters.addresses import Allowed
from ess_ray.adapters.receivers import AlertSettings, ReceiverAt, receivers_of
from ess_ray.core.errors import BadRequest, Unavailable
from ess_ray.settings import load

NEAR = [
    "127.0.0.1",
    "127.8.8.8",
    "0.0.0.0",
    "::1",
    "::",
    "::ffff:127.0.0.1",
    "::ffff:169.254.169.254",
    "64:ff9b::a9fe:a9fe",
    "2002:7f00:1::",
    "169.254.169.254",
    "169.254.1.1",
    "fe80::1",
    "fe80::1%eth0",
    "fd00:ec2::254",
    "100.100.100.200",
    "192.0.0.192",
    "168.63.129.16",
    "224.0.0.1",
    "255.255.255.255",
    "no address",
]
FAR = ["10.0.0.5", "192.168.1.7", "172.16.0.1", "8.8.8.8", "2001:4860:4860::8888", "fd12::1", "::ffff:10.0.0.5"]


@pytest.mark.parametrize("address", NEAR)
def test_what_is_near_is_refused(address: str) -> None:
    assert Allowed().flaw(address) is not None
    assert Allowed([address]).flaw(address) is None


@pytest.mark.parametrize("address", FAR)
def test_what_is_far_is_not(address: str) -> None:
    assert Allowed().flaw(address) is None


async def test_names_are_looked_at_by_what_they_resolve_to() -> None:
    with pytest.raises(BadRequest, match=r"alerts\.allow_hosts"):
        await Allowed().resolve("localhost", 80)
    with pytest.raises(BadRequest, match="is this machine"):
        await Allowed().resolve("127.1", 80)
    assert await Allowed(["LOCALHOST."]).resolve("localhost", 80) in ("127.0.0.1", "::1")
    assert await Allowed(["127.0.0.1", "::1"]).resolve("localhost", 80) in ("127.0.0.1", "::1")
    with pytest.raises(Unavailable, match="cannot be resolved"):
        await Allowed().resolve("no-such-host.invalid", 80)


@pytest.mark.parametrize("url", ["webhook+ftp://x", "webhook+https://", "alertmanager+http:///x", "nothing"])
def test_a_url_that_cannot_be_is_refused_without_being_printed(url: str) -> None:
    with pytest.raises(BadRequest, match="receiver one"):
        receivers_of(AlertSettings((ReceiverAt("one", url),)))


def test_settings_hide_urls_and_refuse_what_cannot_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ESS_ALERTS__RECEIVERS", '[{"name": "a", "url": "slack://secret-token"}]')
    found = load().alerts
    assert "secret-token" not in repr(found)
    assert found.receivers[0].url.get_secret_value() == "slack://secret-token"
    for wrong in ('[{"name": "a b", "url": "x://y"}]', '[{"name": "a", "url": "secret-token"}]'):
        monkeypatch.setenv("ESS_ALERTS__RECEIVERS", wrong)
        with pytest.raises(BadRequest) as refused:
            load()
        assert "secret-token" not in refused.value.message
