"""Records that other programs wrote to the log: one JSON event each, without the header of ours.

rsyslog, Vector or Fluent Bit can so write to the topic directly.
"""

from __future__ import annotations

from ess_ray.core.errors import CorruptData, EssError
from ess_ray.intake.formats.format import Body
from ess_ray.intake.formats.json_events import decode_events
from ess_ray.intake.limits import IntakeLimits
from ess_ray.ports import ARROW_STREAM, CONTENT_TYPE, StoredRecord
from ess_ray.record import DecodedRecord, decode_record, identified

_OURS = (CONTENT_TYPE, ARROW_STREAM.encode())


def decode_any(
    record: StoredRecord, log_id: str, vnode: int, *, tenant: str, now_us: int, limits: IntakeLimits
) -> DecodedRecord:
    """Read a record of ours or a foreign one, which belongs to `tenant`. Raises CorruptData, saying why; NewerFormat.

    A foreign event counts as received when the log took it, where the log tells, else at `now_us`: an event without a
    time that is read an hour late, or again, keeps the time at which it came.
    """
    if _OURS in record.headers:
        return decode_record(record, log_id, vnode)
    where = f"the record at offset {record.offset} of virtual node {vnode}, which another program wrote,"
    received_us = now_us if record.received_us is None else record.received_us
    try:
        decoded = decode_events(Body(record.value, table=limits.table_of(tenant)), received_us, limits)
    except EssError as error:
        raise CorruptData(f"{where} is not one valid JSON event: {error.message}") from error
    if decoded.rejected or len(decoded.batch) != 1:
        count = len(decoded.batch) + len(decoded.rejected)
        raise CorruptData(f"{where} holds {count} events instead of one: write each event as a record of its own")
    return DecodedRecord(tenant, identified(decoded.batch, log_id, vnode, record.offset), None)
