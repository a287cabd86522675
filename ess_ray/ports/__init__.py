"""The seams of ess_ray, as Protocols: what policy (floor 2) may ask of the real things (adapters).

Every adapter of a port passes the same suite in tests/conformance. `tenant` is always an argument. Logs and
results are async (they wait for a network or an owner); stores and catalogs are blocking (the libraries are),
and async callers run them in threads. Who needs a port imports it from here, whatever room it stands in:

- `log`: EventLog, DeadLetters.
- `objects`: ObjectStore.
- `catalog`: Catalog, its snapshots and its writers.
- `views`: InFlight, the owners of what is not stored yet.
- `executor`: ScanExecutor, who runs scan tasks.
- `invocations`: ScanFunction and InvocationSlots, for tasks that run somewhere else.
- `results`: ResultStore.
- `delivery`: Receiver, who is told of alerts.
"""

from ess_ray.ports.catalog import (
    ARRIVAL_SLACK_US,
    Advance,
    Catalog,
    CatalogWriter,
    Ints,
    ObjectColumns,
    ObjectEntry,
    Removed,
    Selection,
    Snapshot,
    StoredColumns,
    Totals,
    vnode_advances,
    vnode_transaction,
)
from ess_ray.ports.delivery import Bundle, Notice, Receiver
from ess_ray.ports.executor import Cost, ScanExecutor, ScanResult, ScanTask
from ess_ray.ports.invocations import InvocationSlots, Invoked, ScanFunction
from ess_ray.ports.log import (
    ARROW_STREAM,
    CONTENT_TYPE,
    MAX_RECORD_BYTES,
    DeadLetters,
    EventLog,
    LogRead,
    Record,
    StoredRecord,
)
from ess_ray.ports.objects import ObjectInfo, ObjectStore
from ess_ray.ports.results import AnswerState, ResultStore
from ess_ray.ports.views import InFlight, View, VnodeRange

__all__ = [
    "ARRIVAL_SLACK_US",
    "ARROW_STREAM",
    "CONTENT_TYPE",
    "MAX_RECORD_BYTES",
    "Advance",
    "AnswerState",
    "Bundle",
    "Catalog",
    "CatalogWriter",
    "Cost",
    "DeadLetters",
    "EventLog",
    "InFlight",
    "Ints",
    "InvocationSlots",
    "Invoked",
    "LogRead",
    "Notice",
    "ObjectColumns",
    "ObjectEntry",
    "ObjectInfo",
    "ObjectStore",
    "Receiver",
    "Record",
    "Removed",
    "ResultStore",
    "ScanExecutor",
    "ScanFunction",
    "ScanResult",
    "ScanTask",
    "Selection",
    "Snapshot",
    "StoredColumns",
    "StoredRecord",
    "Totals",
    "View",
    "VnodeRange",
    "vnode_advances",
    "vnode_transaction",
]
