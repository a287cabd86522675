"""Whom the forward listener lets in, and how much and how long."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from ess_ray.core.errors import BadRequest, Unauthenticated, Unavailable
from ess_ray.intake.forward_server import ForwardServer
from ess_ray.metrics import FORWARD_REFUSED, PUSH_ACCEPTED
from tests.forward import message, pack, ping
from tests.forward_listening import QUICK, World, client, entries, world
from tests.waiting import until

__all__ = ["world"]

# ------------------------------------------------------------------------------------------------------ who is let in
KEYS = {"acme": "secret one", "shop": "secret two"}


async def test_with_shared_keys_each_client_is_the_tenant_whose_key_it_knows(world: World) -> None:
    async with world.served(shared_keys=KEYS) as server:
        for tenant, key in KEYS.items():
            async with client(server) as agent:
                agent.send(ping(pack(await agent.hear()), key) + message(entries(tenant), chunk=tenant))
                assert (await agent.hear())[:2] == ["PONG", True]
                assert await agent.hear() == {"ack": tenant}
    assert {record.tenant for record in await world.write()} == set(KEYS)


async def test_a_wrong_key_is_told_so_and_nothing_of_it_is_read(world: World) -> None:
    async with world.served(shared_keys=KEYS) as server, client(server) as agent:
        agent.send(ping(pack(await agent.hear()), "wrong") + message(entries("a"), chunk="a"))
        assert (await agent.hear())[:3] == ["PONG", False, "shared_key mismatch"]
        assert await agent.hear() is None
    assert await world.write() == []


async def test_before_the_ping_no_more_is_read_than_a_ping_has(world: World) -> None:
    async with world.served(shared_keys=KEYS) as server, client(server) as agent:
        await agent.hear()
        agent.send(pack(["app", b"x" * 100_000]))
        assert await agent.hear() is None
    assert await world.write() == []


async def test_who_says_nothing_in_the_handshake_is_sent_away(world: World) -> None:
    async with world.served(replace(QUICK, handshake_s=0.05), shared_keys=KEYS) as server, client(server) as agent:
        assert (await agent.hear())[0] == "HELO"
        assert await agent.hear() is None


async def test_connections_end_when_their_tenant_is_not_let_in_any_more(world: World) -> None:
    refused: set[str] = set()

    async def allowed(tenant: str) -> None:
        if tenant in refused:
            raise Unauthenticated("there are keys now")

    async with world.served(allowed=allowed) as server:
        async with client(server) as agent:
            agent.send(message(entries("a"), chunk="a"))
            assert await agent.hear() == {"ack": "a"}
            refused.add("default")
            assert await agent.hear() is None
        async with client(server) as agent:
            agent.send(message(entries("b"), chunk="b"))
            assert await agent.hear() is None
    await world.write()
    assert world.stored == ["a"]


async def test_a_shared_key_that_is_taken_back_ends_its_connections_alone(world: World) -> None:
    async with world.served(shared_keys=KEYS) as server, client(server) as acme, client(server) as shop:
        for agent, key in ((acme, KEYS["acme"]), (shop, KEYS["shop"])):
            agent.send(ping(pack(await agent.hear()), key))
            assert (await agent.hear())[1] is True
        server.change_shared_keys({"shop": KEYS["shop"], "acme": "another"})
        assert await acme.hear() is None
        shop.send(message(entries("a"), chunk="a"))
        assert await shop.hear() == {"ack": "a"}


@pytest.mark.parametrize("options", [{}, {"tenant": "a", "shared_keys": KEYS}, {"tenant": "a", "users": {"u": "p"}}])
async def test_a_listener_must_know_whose_its_connections_are(world: World, options: dict[str, Any]) -> None:
    with pytest.raises(BadRequest):
        ForwardServer(storing=world.storing, **options)


# ---------------------------------------------------------------------------------------------------------- the limits
@pytest.mark.parametrize("cap", ["max_connections", "max_connections_a_peer"])
async def test_connections_beyond_the_caps_are_refused(world: World, cap: str) -> None:
    async with world.served(replace(QUICK, **{cap: 2})) as server:
        async with client(server) as first, client(server) as second:
            for agent in (first, second):
                agent.send(message(entries("a"), chunk="a"))
                assert await agent.hear() == {"ack": "a"}
            async with client(server) as third:
                assert await third.hear() is None
        await until(lambda: server.open_connections == 0, "they are gone")
        async with client(server) as agent:
            agent.send(message(entries("a"), chunk="a"))
            assert await agent.hear() == {"ack": "a"}
    assert world.counted(FORWARD_REFUSED) == 1


@pytest.mark.parametrize("data", [b"GET / HTTP/1.1\r\n\r\n", pack(["app", b"x" * 2_000, {"chunk": "a"}])])
async def test_what_cannot_be_read_or_is_too_large_ends_the_connection_behind_what_was_good(
    world: World, data: bytes
) -> None:
    async with world.served(replace(QUICK, max_message_bytes=1_000)) as server, client(server) as agent:
        agent.send(message(entries("a"), chunk="good") + data)
        assert await agent.hear() == {"ack": "good"}
        assert await agent.hear() is None


@pytest.mark.parametrize("sent", [b"", message(entries("a"))[:-1]])
async def test_silence_ends_a_connection_in_its_time(world: World, sent: bytes) -> None:
    quick = replace(QUICK, idle_s=0.05 if not sent else 60.0, stalled_s=0.05 if sent else 60.0)
    async with world.served(quick) as server, client(server) as agent:
        agent.send(sent)
        assert await agent.hear() is None


async def test_a_message_for_which_there_is_no_room_is_not_taken(world: World) -> None:
    small = World(most_bytes=1_000_000)
    async with small.served() as server:
        async with client(server) as agent:
            agent.send(message(entries("x" * 900_000), chunk="a"))
            assert await agent.hear() is None
        async with client(server) as agent:
            agent.send(message(entries("b"), chunk="b"))
            assert await agent.hear() == {"ack": "b"}
    await small.http.aclose()


async def test_who_takes_no_acknowledgements_is_sent_away(world: World) -> None:
    async with world.served(replace(QUICK, max_unread_bytes=1_000)) as server, client(server) as agent:
        chunk = "c" * 200_000
        data = message(entries("a"), chunk=chunk)

        async def send() -> None:
            while not agent.writer.is_closing():
                agent.send(data)
                await agent.writer.drain()

        sending = asyncio.create_task(send())
        await until(lambda: server.open_connections == 0, "it is sent away")
        sending.cancel()
        await asyncio.wait([sending])


async def test_a_taken_port_is_said(world: World) -> None:
    async with world.served() as server:
        with pytest.raises(Unavailable, match="port"):
            await server.serve("127.0.0.1", server.ports[0])


async def test_events_are_counted(world: World) -> None:
    async with world.served() as server, client(server) as agent:
        agent.send(message(entries("a", "b"), chunk="a"))
        await agent.hear()
    assert world.counted(PUSH_ACCEPTED) == 2
