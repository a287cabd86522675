"""Which of the listener's doors are open: tenants, keys, ports that are taken."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest

from ess_ray.core.errors import Unavailable
from ess_ray.intake.listening.listening import BEYOND, KEYS, Listening
from ess_ray.limits import ListenAt
from tests.listening import Rig, at


class Keys:
    exist = False
    are_away = False

    def __call__(self) -> bool:
        if self.are_away:
            raise Unavailable("the store is away")
        return self.exist


@asynccontextmanager
async def listening(wanted: Sequence[ListenAt], keys: Keys, patience_s: float = 10.0) -> AsyncIterator[Listening]:
    made = Listening(wanted, Rig().around, keys, patience_s=patience_s)
    await made.look()
    try:
        yield made
    finally:
        await made.stop()


def states(made: Listening) -> list[tuple[str, str]]:
    return [(door["state"], door["why"]) for door in made.status()]


async def test_without_keys_the_default_tenant_may_push_from_this_machine() -> None:
    async with listening([at("syslog_tcp"), at("gelf_udp")], Keys()) as made:
        assert states(made) == [("on", ""), ("on", "")]
        told = made.status()[0]
        assert (told["tenant"], told["transport"], told["events"]) == ("default", "tcp", 0)
    assert [state for state, _ in states(made)] == ["off", "off"]


async def test_the_first_key_closes_what_has_no_tenant() -> None:
    keys = Keys()
    async with listening([at("syslog_tcp"), at("syslog_udp", tenant="acme")], keys) as made:
        keys.exist = True
        await made.look()
        assert states(made) == [("off", KEYS), ("on", "")]


async def test_beyond_loopback_a_tenant_is_named_or_nothing_opens() -> None:
    wanted = [ListenAt("syslog_tcp", "0.0.0.0", 0), ListenAt("syslog_udp", "0.0.0.0", 0, tenant="acme")]
    async with listening(wanted, Keys()) as made:
        assert states(made) == [("off", BEYOND), ("on", "")]


async def test_nothing_opens_while_nobody_can_say_whether_there_are_keys() -> None:
    keys = Keys()
    keys.are_away = True
    async with listening([at("syslog_tcp")], keys) as made:
        assert states(made) == [("starting", "")]
        keys.are_away = False
        await made.look()
        assert states(made) == [("on", "")]
        keys.are_away = True
        await made.look()
        assert states(made) == [("on", "")]


@pytest.mark.parametrize("is_explicit", [False, True])
async def test_a_port_that_is_taken(is_explicit: bool) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        wanted = [ListenAt("syslog_tcp", "127.0.0.1", port, is_explicit=is_explicit)]
        async with listening(wanted, Keys(), patience_s=0.0) as made:
            ((state, why),) = states(made)
            assert str(port) in why
            assert state == ("failed" if is_explicit else "off")
            assert bool(made.problems()) is is_explicit
            taken.close()
            await made.look()
            assert made.status()[0]["state"] == ("on" if is_explicit else "off")


async def test_a_usual_port_is_waited_for_a_while() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        async with listening([ListenAt("syslog_tcp", "127.0.0.1", port)], Keys()) as made:
            assert states(made)[0][0] == "starting"
            taken.close()
            await made.look()
            assert states(made) == [("on", "")]


async def test_two_systems_do_not_share_a_udp_port() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        wanted = [ListenAt("syslog_udp", "127.0.0.1", taken.getsockname()[1])]
        async with listening(wanted, Keys(), patience_s=0.0) as made:
            assert states(made)[0][0] == "off"


async def test_settings_that_cannot_be_used_are_a_problem() -> None:
    async with listening([at("syslog_tls")], Keys()) as made:
        assert "cert_file" in made.problems()[0]


async def test_it_runs_until_it_is_stopped() -> None:
    made = Listening([at("syslog_tcp")], Rig().around, Keys(), look_s=0.01)
    running = asyncio.create_task(made.run())
    await asyncio.sleep(0)
    await made.stop()
    await running
    assert states(made)[0][0] == "off"
