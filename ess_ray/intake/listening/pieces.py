"""From a piece of messages to the log, the same for every kind of socket."""

from __future__ import annotations

import asyncio
from typing import Final

from ess_ray.core.errors import BadRequest
from ess_ray.intake.listening.shapes import Meter, Piece, Surroundings
from ess_ray.limits import ListenAt
from ess_ray.metrics import reason_class

IN_LOOP_BYTES: Final = 16 * 1024
"""Decoded on the event loop, in two or three milliseconds; more goes to a thread, so that other sockets are read."""


async def store_piece(piece: Piece, at: ListenAt, around: Surroundings, meter: Meter) -> None:
    """Return once a piece's events are durable; what can never be stored is counted. Raises Unavailable at the end."""
    meter.cut(piece.cut)
    if piece.decode is None:
        return
    now_us = around.clock_us()
    if piece.size <= IN_LOOP_BYTES:
        columns = piece.decode(now_us)
    else:
        columns = await asyncio.to_thread(piece.decode, now_us)
    try:
        await around.store.store(piece.tenant or at.whose, columns, piece.key)
    except BadRequest as error:
        meter.reject(reason_class(error.message), len(columns.batch))
    else:
        meter.stored(len(columns.batch))
    meter.reject_named(columns.rejected)
