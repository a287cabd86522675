"""JSON records with a sum of their own bytes: a flipped bit is told, where another digit or letter would read as well.

The last member is the CRC-32 of all before it. Records of before, which have none, are read as they are.
"""

from __future__ import annotations

import json
import re
from typing import Any, Final

from ess_ray.core.checksum import crc32

_SUM: Final = re.compile(rb',"crc32":"([0-9a-f]{8})"\}')
_SUM_BYTES: Final = len(b',"crc32":"00000000"}')


def with_sum(record: bytes) -> bytes:
    """Give a JSON object, which has members, with its sum."""
    return b'%s,"crc32":"%08x"}' % (record[:-1], crc32(record))


def read_summed(data: bytes) -> Any:
    """Read a record; one with a sum without it. Raises ValueError for bytes that are not those that were written."""
    found = _SUM.fullmatch(data, max(0, len(data) - _SUM_BYTES))
    if found is not None:
        data = data[: found.start()] + b"}"
        if int(found[1], 16) != crc32(data):
            raise ValueError("its bytes are not those that were written")
    return json.loads(data)
