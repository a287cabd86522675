"""The Lambda function: decode the task, scan, encode. The very scan that Ray tasks run.

Its environment says where things lie: `TABLE_URL` (the table's root, read only) and `ANSWERS_URL` (where answers go
that are too large to hand over), each `s3://BUCKET/PREFIX`. Footers and indexes stay cached as long as the execution
environment does.
"""

from __future__ import annotations

import os
from typing import Any, Final

from ess_ray.adapters.store_url import open_store
from ess_ray.search.scan import run_task
from ess_ray.search.wire import decode_task, encode_result

OBJECTS_AT_ONCE: Final = 4
"""Objects of a task in work at a time: while the pages of one are scanned, the others' GETs are under way. They share
the window that one alone would read ahead, so more of them take little more memory."""

_table = open_store(os.environ["TABLE_URL"], os.environ)
_answers = open_store(os.environ["ANSWERS_URL"], os.environ)


def handler(event: Any, context: object) -> dict[str, Any]:
    """Run one scan task. Raises BadRequest for what is none; objects that cannot be read are named in the answer."""
    return encode_result(run_task(_table, decode_task(event), objects_at_once=OBJECTS_AT_ONCE), _answers)
