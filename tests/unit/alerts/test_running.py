"""The loop: what is told whom, once, in order, over restarts, failures, silences, other rules. A clock that stands."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from urllib.parse import parse_qs, urlsplit

import pytest

from ess_ray.alerts.silences import read_matchers
from ess_ray.core.errors import BadRequest, CorruptData, NotFound, Unavailable
from ess_ray.core.query import And, Range
from ess_ray.language import parse
from ess_ray.testing import HeardReceiver
from tests.alerting import INCOMPLETE, MINUTE_US, S_US, World, counted, group, grouped, rule
from tests.stores import AilingStore

BOTH = [("High", "firing"), ("High", "resolved")]


def away(_: str) -> None:
    raise Unavailable("the receiver is away")


def silence(world: World, text: str = "alertname=High", minutes: int = 10) -> str:
    length_us = minutes * MINUTE_US
    made = world.book.silence(
        "t",
        read_matchers(text),
        starts_us=world.now_us,
        ends_us=world.now_us + length_us,
        comment="",
        created_by="",
    )
    return made.id


@pytest.fixture
def pager() -> HeardReceiver:
    return HeardReceiver()


@pytest.fixture
def world(pager: HeardReceiver) -> World:
    made = World(pager, page_url="https://logs.example/ui/")
    made.book.apply("t", group())
    return made


async def test_what_alerts_tell_of_deleted_events_goes_once_everybody_knows_of_its_end(
    world: World, pager: HeardReceiver
) -> None:
    def labels() -> list[str]:
        states = world.book.state("t", "g").values()
        return sorted(one.labels["service"] for state in states for one in state.episodes)

    by_service = rule(expr="* | stats count() by service", missing_data="keep")
    world.book.apply("t", group(by_service))
    await world.step(grouped(alice=3, shop=3))
    world.book.forget("t", world.now_us)
    world.book.forget("t", world.now_us - 1)
    assert world.book.forgotten("t") == world.now_us
    pager.on_send = away
    await world.step(grouped(shop=2, bob=1))
    assert labels() == ["alice", "bob", "shop"]  # somebody waits for its end
    pager.on_send = lambda _: None
    await world.step(grouped(shop=2, bob=1), minutes=5)
    await world.step(grouped(shop=2, bob=1))
    assert labels() == ["bob", "shop"]
    assert sorted(pager.told) == [("High", "firing")] * 3 + [("High", "resolved")]
    await world.step(grouped(shop=2), minutes=1)
    assert labels() == ["bob", "shop"]  # it began later, and is kept as it is
    world.restart()
    await world.step(grouped(bob=0), minutes=1)
    await world.step(grouped(bob=0), minutes=1)
    assert labels() == ["bob"]


async def test_an_alert_is_told_once_when_it_fires_and_once_when_it_is_resolved(
    world: World, pager: HeardReceiver
) -> None:
    for count in (0, 3, 4, 4, 0, 0):
        await world.step(counted(count))
    assert pager.told == BOTH
    firing, resolved = pager.heard
    assert (firing.ends_us, firing.starts_us) == (None, resolved.starts_us)
    assert resolved.ends_us is not None
    assert resolved.ends_us - resolved.starts_us == 3 * MINUTE_US
    assert firing.key != resolved.key


async def test_a_rule_is_asked_of_what_arrived_and_links_to_it(world: World, pager: HeardReceiver) -> None:
    world.book.apply("t", group(rule(expr="a OR b | stats count() as n by service", condition="n > 1")))
    await world.step(grouped(**{"api gw": 5.0}))
    (tenant, alert, (first_us, end_us)) = world.asked[-1]
    assert (tenant, alert, end_us - first_us) == ("t", "High", 5 * MINUTE_US)
    (one,) = pager.heard
    address = urlsplit(one.url)
    assert address.geturl().startswith("https://logs.example/ui/?")
    asked = parse_qs(address.query)
    assert asked["q"][0].startswith('(a OR b) service:"api gw" _ess.observed_timestamp:[')
    root = parse(asked["q"][0])
    assert isinstance(root, And)
    (arrival,) = [leaf for leaf in root.children if isinstance(leaf, Range)]
    assert (arrival.low, arrival.high) == (first_us, end_us)


async def test_nothing_is_forgotten_or_told_twice_over_a_restart_between_any_two_steps(
    world: World, pager: HeardReceiver
) -> None:
    world.book.apply("t", group(rule(for_="2m")))
    for count in (0, 1, 1, 1, 1, 0, 0, 1, 1, 1):
        world.restart()
        world.now_us += MINUTE_US
        world.answer = counted(count)
        await world.loop.step()
        world.restart()
        await world.loop.step()
        await world.tell()
        world.restart()
        await world.loop.step()
        await world.tell()
    assert pager.told == [*BOTH, ("High", "firing")]


async def test_an_incomplete_answer_tells_nobody_of_anything(world: World, pager: HeardReceiver) -> None:
    for answer in (INCOMPLETE, counted(1), INCOMPLETE, INCOMPLETE, counted(1), INCOMPLETE, counted(0)):
        await world.step(answer)
    assert pager.told == BOTH


async def test_a_receiver_that_was_away_is_told_all_of_it_in_order_when_it_is_back(
    world: World, pager: HeardReceiver
) -> None:
    pager.on_send = away
    for count in (1, 0, 1, 1):
        await world.step(counted(count))
    assert pager.told == []
    assert world.loop.trouble == ["alerts: the receiver pager cannot be told: the receiver is away"]
    pager.on_send = lambda _: None
    world.restart()
    await world.step(minutes=5)
    assert sorted(pager.told) == sorted([*BOTH, ("High", "firing")])
    assert pager.told[0] == ("High", "firing")
    assert world.loop.trouble == []


async def test_it_is_tried_again_after_pauses_that_grow(world: World, pager: HeardReceiver) -> None:
    tried: list[int] = []

    def fail(_: str) -> None:
        tried.append(world.now_us)
        raise Unavailable("away")

    pager.on_send = fail
    await world.step(counted(1))
    for _ in range(40):
        world.now_us += S_US
        await world.tell()
    assert [later - before for before, later in pairwise(tried)] == [
        2 * S_US,
        4 * S_US,
        8 * S_US,
        16 * S_US,
    ]


async def test_one_receiver_does_not_wait_for_another() -> None:
    good, bad = HeardReceiver("good"), HeardReceiver("bad", away)
    world = World(good, bad)
    world.book.apply("t", group())
    await world.step(counted(1))
    assert (good.told, bad.told) == ([("High", "firing")], [])


async def test_a_group_may_name_its_receivers() -> None:
    one, two = HeardReceiver("one"), HeardReceiver("two")
    world = World(one, two)
    world.book.apply("t", group(receivers=["two"]))
    await world.step(counted(1))
    assert (one.told, two.told) == ([], [("High", "firing")])
    world.book.delete("t", "g")
    await world.step()
    assert (one.told, two.told) == ([], BOTH)


async def test_a_silenced_alert_is_told_when_the_silence_ends(world: World, pager: HeardReceiver) -> None:
    silence_id = silence(world)
    await world.step(counted(1))
    await world.step()
    assert pager.told == []
    world.book.end_silence("t", silence_id)
    await world.step()
    assert pager.told == [("High", "firing")]
    silence(world)
    await world.step(counted(0))
    assert pager.told == BOTH, "who was told that it fires waits for its end"


async def test_one_that_came_and_went_in_silence_is_never_told(world: World, pager: HeardReceiver) -> None:
    silence(world, minutes=3)
    for count in (1, 0, 0, 0, 0, 0):
        await world.step(counted(count))
    assert pager.told == []


async def test_a_silence_is_of_one_tenant(world: World, pager: HeardReceiver) -> None:
    world.book.silence(
        "other",
        read_matchers("alertname=High"),
        starts_us=0,
        ends_us=world.now_us * 2,
        comment="",
        created_by="",
    )
    await world.step(counted(1))
    assert pager.told == [("High", "firing")]


async def test_what_fires_is_resolved_when_its_rule_becomes_another_one_or_goes(
    world: World, pager: HeardReceiver
) -> None:
    await world.step(counted(1))
    world.book.apply("t", group(rule(annotations={"summary": "new"})))
    await world.step()
    assert pager.told == [("High", "firing")], "the same question is the same rule"
    world.book.apply("t", group(rule(expr="level:WARN")))
    await world.step()
    assert pager.told == [*BOTH, ("High", "firing")] or sorted(pager.told) == sorted([*BOTH, ("High", "firing")])
    world.book.delete("t", "g")
    await world.step()
    await world.step()
    assert len(pager.told) == 4
    assert list(world.book.states()) == [], "nothing is left of it"


async def test_what_cannot_be_kept_is_not_told_and_done_again(world: World, pager: HeardReceiver) -> None:
    keep: Callable[..., None] = world.book.write_state

    def fail(*_: object) -> None:
        raise Unavailable("the store is away")

    world.book.write_state = fail  # type: ignore[method-assign]
    with pytest.raises(Unavailable):
        await world.step(counted(1))
    await world.tell()
    assert pager.told == []
    world.book.write_state = keep  # type: ignore[method-assign]
    await world.step(minutes=0)
    assert pager.told == [("High", "firing")]


async def test_who_must_be_told_again_is_while_it_fires() -> None:
    manager = HeardReceiver("manager", repeat_s=60)
    world = World(manager)
    world.book.apply("t", group())
    await world.step(counted(1))
    await world.step()
    await world.step(INCOMPLETE)
    await world.step(counted(0))
    await world.step()
    assert [status for _, status in manager.told[-2:]] == ["firing", "resolved"]
    assert len({one.key for one in manager.heard}) == 2
    assert len(manager.told) >= 4


async def test_what_is_kept_and_cannot_be_read_is_named_and_harms_nothing_else(
    world: World, pager: HeardReceiver
) -> None:
    world.book.apply("t", group(name="bad"))
    (bad,) = [info.key for info in world.store.list("rules/") if b'"bad"' in world.store.get_range(info.key, 0, 10_000)]
    world.store.put(bad, b"{")
    world.store.put("states/t/x.json", b"{}")
    world.restart()
    await world.step(counted(1))
    assert pager.told == [("High", "firing")]
    assert any("does not read as rules" in flaw for flaw in world.loop.trouble)
    with pytest.raises(CorruptData, match="apply the group again"):
        world.book.group("t", "bad")
    with pytest.raises(NotFound):
        world.book.group("t", "none")
    with pytest.raises(NotFound):
        world.book.end_silence("t", "../x")
    with pytest.raises(BadRequest):
        world.book.group("t", "a/b")


# ------------------------------------------------------------------------------------- what the disk refuses to read
def place_of(world: World, folder: str, text: bytes) -> str:
    """Find the record that holds a text."""
    (found,) = [one.key for one in world.store.list(folder) if text in world.store.get_range(one.key, 0, 10_000)]
    return found


async def test_records_that_the_disk_does_not_give_harm_nothing_else(pager: HeardReceiver) -> None:
    store = AilingStore(lambda: world.now_us)
    world = World(pager, store=store)
    world.book.apply("t", group())
    world.book.apply("t", group(name="lost"))
    await world.step(counted(1))
    store.unreadable = {place_of(world, "rules/", b'"lost"'), place_of(world, "states/", b'"lost"')}
    assert pager.told == [("High", "firing")] * 2
    world.restart()
    await world.step(counted(0))
    assert pager.told.count(("High", "resolved")) == 1, "the other group goes on, and what nobody can read is not over"
    assert [flaw for flaw in world.loop.trouble if "alerts/rules/" in flaw and "Input/output error" in flaw]
    assert [flaw for flaw in world.loop.trouble if "alerts/states/" in flaw and "delete it" in flaw]
    store.unreadable = set()
    world.loop.look()
    await world.step(counted(0))
    assert world.loop.trouble == []
    assert pager.told.count(("High", "resolved")) == 2


async def test_a_group_that_cannot_be_read_any_more_goes_on_as_it_was(pager: HeardReceiver) -> None:
    store = AilingStore(lambda: world.now_us)
    world = World(pager, store=store)
    world.book.apply("t", group())
    await world.step(counted(0))
    store.put(*(changed := (place_of(world, "rules/", b'"g"'), b"{}")))
    store.unreadable = {changed[0]}
    world.loop.look()
    await world.step(counted(1))
    assert pager.told == [("High", "firing")]
    assert changed[0] in world.loop.trouble[0]


async def test_a_silence_that_cannot_be_read_any_more_stays_silent_and_is_told(pager: HeardReceiver) -> None:
    store = AilingStore(lambda: world.now_us)
    world = World(pager, store=store)
    world.book.apply("t", group())
    silenced = silence(world)
    await world.step(counted(0))
    store.unreadable = {f"silences/t/{silenced}.json"}
    world.loop.look()
    await world.step(counted(1))
    assert pager.told == []
    (told,) = world.loop.trouble
    assert f"alerts/silences/t/{silenced}.json" in told
    store.delete(f"silences/t/{silenced}.json")
    world.loop.look()
    await world.step(counted(1))
    assert (pager.told, world.loop.trouble) == ([("High", "firing")], [])
