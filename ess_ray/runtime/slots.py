"""Slots: the places in the pool, and how virtual nodes go from one to another while both work.

A slot's actor is replaced under a new name when it dies, and goes in good order when the pool shrinks.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Awaitable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from ess_ray.core.errors import EssError, Unavailable
from ess_ray.runtime.wiring import call

_log = logging.getLogger(__name__)

ASSIGN_TIMEOUT_S: Final = 30.0
"""Taking over reads an hour's footers, and may find the machine busy."""
STORE_TIMEOUT_S: Final = 30.0
"""An actor whose virtual nodes go elsewhere stores first; what it cannot in this time is read again from the log."""
_ACTOR_NAME: Final = re.compile(r"persist-(\d{1,6})\.(\d{1,9})", re.ASCII)


@dataclass(eq=False)
class Slot:
    """One place in the pool; its actor is replaced under a new name when it dies."""

    number: int
    incarnation: int = 0
    handle: Any = None
    assigned: tuple[int, ...] | None = None
    """What searches ask it about; None until this incarnation owns its share."""
    told: tuple[int, ...] | None = None
    """What its actor was told last; more than `assigned` in the midst of a handover. None: we do not know."""
    last: dict[str, Any] = field(default_factory=dict)
    died: str = ""
    """Why the incarnation before was replaced."""

    @property
    def name(self) -> str:
        return f"persist-{self.number}"

    @property
    def actor_name(self) -> str:
        return f"{self.name}.{self.incarnation}"

    def forget(self, reason: str) -> None:
        """Its actor is gone."""
        self.handle, self.assigned, self.told, self.last, self.died = None, None, None, {}, reason


def read_actor_name(name: str) -> tuple[int, int] | None:
    """Give slot and incarnation of a persist actor's name; None for another's."""
    match = _ACTOR_NAME.fullmatch(name)
    return None if match is None else (int(match[1]), int(match[2]))


async def hand_over(slots: Sequence[Slot], wanted: Mapping[int, str]) -> int:
    """Make `wanted` (virtual node -> slot's name) true; gives how many virtual nodes changed their slot. Idempotent.

    1. who loses some stores what it holds, so that little is read again;
    2. who gains some takes them over, at the catalog's offset, while the old owner still has them: a search finds an
       owner at any moment, and of the two only one can commit (the fence), the other takes over anew or lets go;
    3. from one moment to the next, searches are sent to the new owners;
    4. who lost some lets go of them.

    Raises Unavailable and what taking over raises, all that is possible having been done; call it again then.
    """
    shares = {slot: tuple(sorted(v for v, name in wanted.items() if name == slot.name)) for slot in _living(slots)}
    losing = [s for s, share in shares.items() if (s.told is None and not share) or set(s.told or ()) - set(share)]
    await asyncio.gather(*(_store(slot) for slot in losing))
    # An actor of which we do not know what it holds (the supervisor is new) is told its share alone.
    errors = await _all(_assign(slot, {*(slot.told or ()), *share}) for slot, share in shares.items())
    before = {vnode: slot.name for slot in slots for vnode in slot.assigned or ()}
    taken = {vnode for slot, share in shares.items() for vnode in {*share} & {*(slot.told or ())}}
    for slot, share in shares.items():
        if slot.told is not None:  # what its new owner could not take stays where it is
            slot.assigned = tuple(vnode for vnode in slot.told if vnode in share or vnode not in taken)
    errors += await _all(_assign(slot, slot.assigned) for slot in shares if slot.assigned is not None)
    if errors:
        raise errors[0]
    return sum(before.get(vnode, name) != name for vnode, name in wanted.items())


def _living(slots: Iterable[Slot]) -> list[Slot]:
    return [slot for slot in slots if slot.handle is not None]


async def _store(slot: Slot) -> None:
    """Have an actor store what it holds; one that cannot loses nothing by it, the log has everything."""
    try:
        await call(slot.handle.store.remote(), slot.name, STORE_TIMEOUT_S)
    except EssError as error:
        _log.warning("%s gives virtual nodes away unstored, they are read again: %s", slot.name, error.message)


async def _assign(slot: Slot, vnodes: Iterable[int]) -> None:
    share, handle = tuple(sorted(vnodes)), slot.handle
    if slot.told == share and handle is not None:
        return
    if handle is not None:
        await call(handle.assign.remote(share), slot.name, ASSIGN_TIMEOUT_S)
    if slot.handle is not handle or handle is None:
        raise Unavailable(f"{slot.name} was replaced while it was told its virtual nodes")
    slot.told = share


async def _all(steps: Iterable[Awaitable[None]]) -> list[BaseException]:
    """Take all steps at once, to their ends; gives what was raised."""
    results = await asyncio.gather(*steps, return_exceptions=True)
    return [result for result in results if isinstance(result, BaseException)]
