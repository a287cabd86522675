"""A Ray of this process' own, on loopback, without Serve: for tests and benchmarks of tasks."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

OBJECT_STORE_BYTES = 256 << 20


@contextmanager
def local_ray(num_cpus: int, **more: Any) -> Iterator[None]:
    """Start Ray as `runtime.node` does it, with `more` for `ray.init`, and end it. One at a time in a process."""
    import pytest

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        patch.setenv("RAY_worker_niceness", "0")
        import ray

        folder = tempfile.mkdtemp(prefix="ess-ray-", dir="/tmp")  # short: socket paths lie in it
        try:
            ray.init(
                address="local",
                num_cpus=num_cpus,
                include_dashboard=False,
                object_store_memory=OBJECT_STORE_BYTES,
                log_to_driver=False,
                logging_level="ERROR",
                _node_ip_address="127.0.0.1",
                _temp_dir=f"{folder}/ray",  # Ray opens its own to everybody
                **more,
            )
            yield
        finally:
            ray.shutdown()
            shutil.rmtree(folder, ignore_errors=True)
