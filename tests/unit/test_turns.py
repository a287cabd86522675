"""Which bodies are decoded together, and that nobody waits or fails for another."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from ess_ray.core.errors import BadRequest, TooLarge
from ess_ray.intake import turns
from ess_ray.intake.decode import Body, decode_together
from ess_ray.intake.decoded import Decoded
from ess_ray.intake.limits import IntakeLimits
from ess_ray.intake.turns import IN_LOOP_BYTES, TurnDecoder

NOW_US = 1_790_000_000_000_000


class Rig:
    """A decoder, and the sizes of the groups that it decoded."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.decoder = TurnDecoder(IntakeLimits(), lambda: NOW_US)
        self.groups: list[int] = []

        def counted(bodies: Any, now_us: int, limits: IntakeLimits) -> Any:
            self.groups.append(len(bodies))
            return decode_together(bodies, now_us, limits)

        monkeypatch.setattr(turns, "decode_together", counted)

    async def messages(self, message: str, padding: int = 0) -> list[Any]:
        body = json.dumps([{"message": message}]).encode() + b" " * padding
        return (await self.decoder.decode(Body(body))).batch.column("message").to_pylist()


@pytest.fixture
def rig(monkeypatch: pytest.MonkeyPatch) -> Rig:
    return Rig(monkeypatch)


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
    bad = asyncio.create_task(rig.decoder.decode(Body(b"{")))
    good = asyncio.create_task(rig.messages("good"))
    asyncio.get_running_loop().call_soon(gone.cancel)
    results = await asyncio.gather(gone, bad, good, return_exceptions=True)
    assert isinstance(results[0], asyncio.CancelledError)
    assert isinstance(results[1], BadRequest)
    assert results[2] == ["good"]


async def test_a_bug_while_decoding_is_told_to_all_who_wait(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> list[Decoded]:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(turns, "decode_together", broken)
    results = await asyncio.gather(rig.messages("a"), rig.messages("b"), return_exceptions=True)
    assert [type(result) for result in results] == [ZeroDivisionError, ZeroDivisionError]
    assert results[0] is not results[1]


async def test_a_body_over_the_limit_is_refused_however_it_is_compressed(rig: Rig) -> None:
    with pytest.raises(TooLarge):
        await rig.decoder.decompress(b" " * (IntakeLimits().max_batch_bytes + 1), "identity")
