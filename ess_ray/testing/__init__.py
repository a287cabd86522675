"""One stand-in for each port, in the memory of one process: for tests, never for a system.

`log`, `objects` and `catalog` are real adapters, gone with their process: they keep every promise of their ports but
durability, in the same suites as the others (tests/conformance). `executor`, `owners` and `receiver` stand in for what
is somebody else's. Results and slots are not here: a system on one machine keeps those in memory itself
(`adapters/memory_results`, `search/executors/pace`).
"""

from ess_ray.testing.catalog import MemoryCatalog, MemorySnapshot
from ess_ray.testing.executor import HereExecutor
from ess_ray.testing.log import MemoryLog
from ess_ray.testing.objects import MemoryObjectStore
from ess_ray.testing.owners import NoOwners, OneWriter
from ess_ray.testing.receiver import HeardReceiver

__all__ = [
    "HeardReceiver",
    "HereExecutor",
    "MemoryCatalog",
    "MemoryLog",
    "MemoryObjectStore",
    "MemorySnapshot",
    "NoOwners",
    "OneWriter",
]
