"""Events as Ray datasets: connect to a system's Ray, read events, write events.

What programs import; neither Ray nor Ray Data is imported before it is needed, so that `connect` can set what Ray
reads at its import.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ess_ray.core.errors import Conflict, EssError, Unavailable
from ess_ray.core.query import Query
from ess_ray.core.tenant import DEFAULT_TENANT, check_tenant
from ess_ray.language import parse, parse_time_us
from ess_ray.runtime.environment import RunDirs, driver_variables
from ess_ray.runtime.processes import read_run_file

if TYPE_CHECKING:
    from ray.data import Dataset

NAMESPACE: Final = "ess"
"""Of the actors of a system, in its Ray."""


def connect(data_dir: str | Path = "ess-data", **more: Any) -> None:
    """Connect this process to the Ray of the system that `ess up` started on a data directory, on this machine.

    Call it before anything imports Ray; `more` goes to `ray.init`. Needs the right to read the directory's secrets:
    that of its owner. Raises Unavailable when nothing runs there, Conflict when Ray was imported before.
    """
    if "ray" in sys.modules:
        raise Conflict("Ray reads its environment when it is imported: call connect() before `import ray`")
    run = read_run_file(Path(data_dir))
    dirs = None if run is None or not run.run_dir else RunDirs(Path(run.run_dir))
    if dirs is None or not dirs.ray_address.exists():
        raise Unavailable(f"no system runs on {data_dir}: start it with `ess up --data-dir {data_dir}`")
    os.environ.update(driver_variables(dirs))
    import ray

    from ess_ray.runtime.loopback import HOOK

    runtime_env = {"worker_process_setup_hook": HOOK, **more.pop("runtime_env", {})}
    ray.init(address=dirs.ray_address.read_text().strip(), namespace=NAMESPACE, runtime_env=runtime_env, **more)


def read_events(
    query: str = "",
    *,
    start: str | float | None = "-1h",
    end: str | float | None = None,
    columns: Sequence[str] = (),
    tenant: str = DEFAULT_TENANT,
    table: str | Path | None = None,
    **read_options: Any,
) -> Dataset:
    """Give the events that match as a dataset, read by Ray tasks where they run; nothing passes through this process.

    Within the Ray of a system (`connect`, a job, or a driver on its nodes) everything that was acknowledged before the
    call is covered: the table is pinned to its version of now, and what is not stored yet is taken once, into Ray's
    object store. Events that come later are not in it. Execute it within 12 hours: objects that compaction replaced are
    deleted after a day. Without a system, `table` names the data directory, or `s3://BUCKET/PREFIX` with credentials
    from the settings (`ESS_STORE__...`): then only what is stored is covered.

    `start`, `end` and `query` as in a search; `columns` of those that Parquet exports have (and so does
    `select_columns`). The order of rows is not told, and repeats by `id` that were stored are not merged, as in counts.
    `read_options` go to `ray.data.read_datasource`. Raises BadRequest, and Unavailable when something acknowledged
    cannot be read now; an object that cannot be read fails the dataset.
    """
    _need_ray_data()
    from ess_ray.runtime.reading import dataset_of

    now_us = time.time_ns() // 1000
    start_us = parse_time_us(start, now_us) if start is not None else None
    end_us = None if end in (None, "now") else parse_time_us(end, now_us)
    asked = Query(parse(query), start_us, end_us)
    return dataset_of(check_tenant(tenant), asked, columns, table, **read_options)


def write_events(
    dataset: Dataset, url: str, key: str | None = None, *, write_id: str | None = None, **write_options: Any
) -> int:
    """Push the rows of a dataset as events, from the tasks that hold them; gives how many were accepted.

    Rows are events as the interface takes them: `timestamp`, `message`, `attributes`, any other column an attribute;
    rows of `read_events` are written as they were pushed, with new identities. Each part has an Idempotency-Key: a task
    that Ray runs again, or a push whose answer was lost, stores nothing twice within an hour; with the same `write_id`
    a whole write may be repeated within that time, if the dataset gives the same blocks
    again, in the same order.

    `url` must be reachable from the workers; `write_options` go to `Dataset.write_datasink`. Raises BadRequest when
    events were rejected (the others are stored), KeyConflict when a repeated block had other rows, Unavailable.
    """
    _need_ray_data()
    from ess_ray.runtime.writing import write

    return write(dataset, url, key, write_id, **write_options)


def _need_ray_data() -> None:
    try:
        import ray.data  # noqa: F401 (whether it is there)
    except ModuleNotFoundError as error:
        raise EssError(f"Ray Data is not installed ({error.name} is missing): `pip install 'ess_ray[data]'`") from error
