"""Which bodies are decoded together, and that nobody waits or fails for another."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from ess_ray.core.errors import BadRequest, TooLarge
from ess_ray.intake.formats.format import Body
from ess_ray.intake.formats.json_events import JsonEvents
from ess_ray.intake.limits import IntakeLimits
from ess_ray.intake.turns import IN_LOOP_BYTES, TurnDecoder

NOW_US = 1_790_000_000_000_000


class Counted(JsonEvents):
    """JSON, and the sizes of the groups that were decoded."""

    def __init__(self) -> None:
        self.groups: list[int] = []

    def decode_together(self, bodies: Any, now_us: int, limits: IntakeLimits) -> Any:
        self.groups.append(len(bodies))
        return super().decode_together(bodies, now_us, limits)


class Broken(JsonEvents):
    """A format with a bug."""

    def decode_together(self, bodies: Any, now_us: int, limits: IntakeLimits) -> Any:
        raise ZeroDivisionError("a bug")


class Rig:
    """A decoder, and a format that counts what it is given together."""

    def __init__(self) -> None:
        self.decoder = TurnDecoder(IntakeLimits(), lambda: NOW_US)
        self.format = Counted()

    @property
    def groups(self) -> list[int]:
        return self.format.groups

    async def messages(self, message: str, padding: int = 0, form: JsonEvents | None = None) -> list[Any]:
        body = json.dumps([{"message": message}]).encode() + b" " * padding
        decoded = await self.decoder.decode(self.format if form is None else form, Body(body))
        return decoded.batch.column("message").to_pylist()


@pytest.fixture
def rig() -> Rig:
    return Rig()


async def test_what_arrives_in_one_turn_is_decoded_together_and_each_gets_its_own(rig: Rig) -> None:
    found = await asyncio.gather(*(rig.messages(f"{number}") for number in range(20)))
    assert found == [[f"{number}"] for number in range(20)]
    assert rig.groups == [20]


async def test_a_turn_decodes_no_more_than_the_loop_may_wait_for(rig: Rig) -> None:
    found = await asyncio.gather(*(rig.messages(f"{number}", IN_LOOP_BYTES // 4) for number in range(8)))
    assert found == [[f"{number}"] for number in range(8)]
    assert rig.groups == [3, 3, 2]


async def test_one_after_the_other_each_is_decoded_at_once(rig: Rig) -> None:
    assert [await rig.messages("a"), await rig.messages("b")] == [["a"], ["b"]]
    assert rig.groups == [1, 1]


async def test_a_refused_body_and_a_caller_that_left_concern_nobody_else(rig: Rig) -> None:
    gone = asyncio.create_task(rig.messages("gone"))
    bad = asyncio.create_task(rig.decoder.decode(rig.format, Body(b"{")))
    good = asyncio.create_task(rig.messages("good"))
    asyncio.get_running_loop().call_soon(gone.cancel)
    results = await asyncio.gather(gone, bad, good, return_exceptions=True)
    assert isinstance(results[0], asyncio.CancelledError)
    assert isinstance(results[1], BadRequest)
    assert results[2] == ["good"]


async def test_a_bug_while_decoding_is_told_to_all_who_wait_and_to_nobody_else(rig: Rig) -> None:
    bug = Broken()
    waiting = [rig.messages("a", form=bug), rig.messages("c"), rig.messages("b", form=bug)]
    one, fine, other = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(one), fine, type(other)] == [ZeroDivisionError, ["c"], ZeroDivisionError]
    assert one is not other


async def test_bodies_of_two_formats_in_one_turn_are_each_read_by_their_own(rig: Rig) -> None:
    other = Counted()
    found = await asyncio.gather(rig.messages("a"), rig.messages("b", form=other), rig.messages("c"))
    assert found == [["a"], ["b"], ["c"]]
    assert (rig.groups, other.groups) == ([2], [1])


async def test_a_body_over_the_limit_is_refused_however_it_is_compressed(rig: Rig) -> None:
    with pytest.raises(TooLarge):
        await rig.decoder.decompress(b" " * (IntakeLimits().max_batch_bytes + 1), "identity")
