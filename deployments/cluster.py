"""The applications for a Ray cluster of several nodes: what `serve deploy` imports (see infra/ray/serve.yaml)."""

from __future__ import annotations

from typing import Any

from deployments import app
from ess_ray import telemetry
from ess_ray.adapters.places import KEYS, places_of
from ess_ray.core.errors import BadRequest
from ess_ray.keys import KeyBook
from ess_ray.runtime.supervisor import start_pool
from ess_ray.runtime.wiring import System
from ess_ray.settings import Settings, load


def push(args: dict[str, Any]) -> Any:
    """Build the application `push`. `args`: settings that count before the node's `ESS_` variables and `ess.yaml`.

    Starts the pool, or finds it: deploying again leaves it alone, unless its own settings have changed. Raises
    BadRequest for settings that cannot work on several nodes, Unavailable when log or store are away.
    """
    return app.push_application(_system(args))


def search(args: dict[str, Any]) -> Any:
    """Build the application `search`. See `push`."""
    return app.search_application(_system(args))


def ui(args: dict[str, Any]) -> Any:
    """Build the application `ui`. It is files alone, so that no settings matter; Serve gives every builder some."""
    return app.ui_application()


def _system(args: dict[str, Any]) -> System:
    settings = load(**args)
    telemetry.setup(settings.log_level)
    check_shared(settings)
    check_keys(KeyBook(places_of(settings).store(KEYS)))
    system = app.system_of(settings)
    start_pool(system)
    return system


def check_shared(settings: Settings) -> None:
    """Raise BadRequest that names everything that would lie on one node alone."""
    missing = [
        f"{name} (ESS_{name.replace('.', '__').upper()}: {what})"
        for name, what, given in (
            ("log.brokers", "Kafka, in place of the log of one machine", settings.log.brokers),
            ("store.bucket", "S3, in place of a directory of one machine", settings.store.bucket),
            ("results.redis_url", "Redis, in place of one process' memory", settings.results.redis_url),
        )
        if not given
    ]
    if missing:
        raise BadRequest(f"a cluster of several nodes needs {', '.join(missing)}")


def check_keys(keys: KeyBook) -> None:
    """Raise BadRequest while everybody would be let in: replicas listen on their nodes' addresses in any case."""
    if not keys.look().closed:
        raise BadRequest(
            "without a key everybody who reaches a node would be let in: make one first, with the same settings, with "
            "`ess keys create --scope push --scope search --scope admin`"
        )
