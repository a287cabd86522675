"""Every metric of the system in one catalogue, and the plain counting that hot paths do.

A name is `ess_<stage>_<what>[_<unit>]`; Ray puts `ray_` before it and `_total` behind a counter. Labels are few and
bounded: never a tenant or a query, whose number nobody bounds (logs have them).
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Final, Literal

MAX_OBSERVED: Final = 100_000
"""Observations kept until they are handed over: a second's requests many times over; beyond, the oldest go."""
_REQUEST_S: Final = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)
"""Borders for what a client waits for: from a lone fsync to the patience of most clients."""
_WORK_S: Final = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0)
"""Borders for work in the background and searches: from an answer out of memory to a scan of everything."""
_FIELDS: Final = frozenset(
    {"message", "timestamp", "id", "attributes", "level", "service", "host", "trace_id", "span_id"}
)


@dataclass(frozen=True, eq=False)
class Metric:
    """One metric as it is defined; equal only to itself, so that counting by it is one quick look-up."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    help: str
    labels: tuple[str, ...] = ()
    borders: tuple[float, ...] = ()

    @property
    def exported(self) -> str:
        """The name that Prometheus sees."""
        return f"ray_{self.name}" + ("_total" if self.kind == "counter" else "")


CATALOGUE: Final[list[Metric]] = []
"""All metrics, in the order of an event's and a query's path."""


def _counter(name: str, text: str, *labels: str) -> Metric:
    CATALOGUE.append(Metric(name, "counter", text, labels))
    return CATALOGUE[-1]


def _gauge(name: str, text: str, *labels: str) -> Metric:
    CATALOGUE.append(Metric(name, "gauge", text, labels))
    return CATALOGUE[-1]


def _histogram(name: str, text: str, borders: tuple[float, ...], *labels: str) -> Metric:
    CATALOGUE.append(Metric(name, "histogram", text, labels, borders))
    return CATALOGUE[-1]


PUSH_REQUESTS: Final = _counter("ess_push_requests", "Requests to push events, by HTTP status", "status")
PUSH_SECONDS: Final = _histogram("ess_push_request_seconds", "From a push request to its answer", _REQUEST_S)
PUSH_ACCEPTED: Final = _counter("ess_push_events_accepted", "Events acknowledged, repeats included")
PUSH_REJECTED: Final = _counter(
    "ess_push_events_rejected", "Events refused, by the field at fault, `size` or `other`", "reason"
)
PUSH_ADJUSTED: Final = _counter(
    "ess_push_events_adjusted", "Events stored at the time of receipt, since the one they had cannot be theirs"
)
PUSH_OTHER_TENANT: Final = _counter(
    "ess_push_other_tenant", "Requests whose X-Scope-OrgID named another tenant than their key, which decides"
)
PUSH_BYTES: Final = _counter("ess_push_body_bytes", "Decompressed bytes of requests that were decoded")
PUSH_RECORDS: Final = _counter(
    "ess_push_records", "Log records appended: accepted events over these is events a record"
)
PUSH_APPEND_SECONDS: Final = _histogram("ess_push_append_seconds", "Appends to the log until durable", _REQUEST_S)
PUSH_APPEND_FAILURES: Final = _counter("ess_push_append_failures", "Appends that the log refused or did not answer")
FORWARD_CONNECTIONS: Final = _gauge("ess_push_forward_connections", "Open connections of the forward protocol")
FORWARD_REFUSED: Final = _counter(
    "ess_push_forward_connections_refused", "Connections of the forward protocol beyond the caps, in all or of one peer"
)
FORWARD_DROPPED: Final = _counter(
    "ess_push_forward_messages_dropped", "Forward messages of metrics and traces, acknowledged and dropped"
)
FORWARD_LOST: Final = _counter(
    "ess_push_forward_messages_lost",
    "Requests without a chunk that were read and could not be stored before their connection had to end",
)
PUSH_HELD_BYTES: Final = _gauge(
    "ess_push_held_bytes", "Bytes of pushes under way: bodies as they are read, events until the log has them"
)

LISTEN_CONNECTIONS: Final = _counter("ess_listen_connections", "Connections that the listener took", "protocol")
LISTEN_OPEN: Final = _gauge("ess_listen_open_connections", "Connections of the listener just now", "protocol")
LISTEN_EVENTS: Final = _counter("ess_listen_events", "Events of the listener that the log has", "protocol")
LISTEN_BYTES: Final = _counter("ess_listen_bytes", "Bytes that the listener read", "protocol")
LISTEN_REJECTED: Final = _counter(
    "ess_listen_rejected", "Events, messages and connections that the listener did not take", "protocol", "reason"
)
LISTEN_CUT: Final = _counter(
    "ess_listen_frames_cut", "Messages that were too long, stored as far as they fit", "protocol"
)
LISTEN_UDP_DROPS: Final = _counter(
    "ess_listen_udp_drops", "Datagrams that the kernel dropped, since the listener could not read them", "protocol"
)

INGEST_RECORDS: Final = _counter("ess_ingest_records", "Log records read by persist actors")
INGEST_EVENTS: Final = _counter("ess_ingest_events", "Events read and kept in buffers")
INGEST_UNREAD: Final = _gauge("ess_ingest_unread_records", "Log end less position: records not searchable yet", "vnode")
INGEST_UNSTORED: Final = _gauge("ess_ingest_unstored_records", "Log end less what the table holds: the lag", "vnode")
INGEST_BUFFER_BYTES: Final = _gauge("ess_ingest_buffer_bytes", "Arrow bytes in an actor's buffers", "actor")
INGEST_BUFFER_AGE: Final = _gauge("ess_ingest_buffer_age_seconds", "Age of an actor's oldest buffered event", "actor")
INGEST_SEAL_SECONDS: Final = _histogram("ess_ingest_seal_seconds", "Making the objects of one flush", _WORK_S)
INGEST_PUT_SECONDS: Final = _histogram("ess_ingest_put_seconds", "Putting the objects of one flush", _WORK_S)
INGEST_COMMIT_SECONDS: Final = _histogram("ess_ingest_commit_seconds", "One commit to the table", _WORK_S)
INGEST_FLUSHES: Final = _counter("ess_ingest_flushes", "Flushes: stored, refused (by the fence), failed", "outcome")
INGEST_OBJECTS: Final = _counter("ess_ingest_objects", "Objects committed by flushes")
INGEST_OBJECT_BYTES: Final = _counter("ess_ingest_object_bytes", "Bytes of those objects")
INGEST_ROWS: Final = _counter("ess_ingest_rows", "Rows committed by flushes")
INGEST_REPEATS: Final = _counter("ess_ingest_repeats", "Events dropped as repeats")
INGEST_KEY_CONFLICTS: Final = _counter("ess_ingest_key_conflicts", "Requests kept though their key had another body")
INGEST_DEAD_LETTERS: Final = _counter("ess_ingest_dead_letters", "Records kept aside since they cannot be decoded")
INGEST_LOST: Final = _counter("ess_ingest_lost_offsets", "Offsets that the log let go of before they were stored")
INGEST_PUT_AGAIN: Final = _counter("ess_ingest_objects_put_again", "Committed objects that had to be put again")

SEARCH_SECONDS: Final = _histogram("ess_search_seconds", "Duration of searches; its count is queries", _WORK_S, "state")
SEARCH_RUNNING: Final = _gauge("ess_search_running", "Searches under way")
SEARCH_TAILS: Final = _gauge("ess_search_tails", "Live tails under way")
SEARCH_TASKS: Final = _counter("ess_search_tasks", "Scan tasks that gave a result")
SEARCH_SCANNED: Final = _counter("ess_search_objects_scanned", "Objects that searches looked into")
SEARCH_PRUNED: Final = _counter("ess_search_objects_pruned", "Objects ruled out by tenant and time")
SEARCH_FAILED: Final = _counter("ess_search_objects_failed", "Objects that could not be read, after retries")
SEARCH_BYTES: Final = _counter("ess_search_bytes_read", "Bytes read from the object store")
SEARCH_GETS: Final = _counter("ess_search_gets", "Requests sent to the object store")
SEARCH_ROWS: Final = _counter("ess_search_rows_matched", "Rows found")
SEARCH_FOOTER_HITS: Final = _counter("ess_search_footer_hits", "Objects opened by a footer in memory")
SEARCH_FOOTER_MISSES: Final = _counter("ess_search_footer_misses", "Objects opened by a request")

DISK_FREE: Final = _gauge("ess_disk_free_bytes", "Free space of the disk that the embedded log is on")
DISK_REFUSE_BELOW: Final = _gauge("ess_disk_refuse_below_bytes", "Free space below which pushes are refused")
DISK_REFUSING: Final = _gauge("ess_disk_refusing", "1 while pushes are refused for want of free space, else 0")

MAINTENANCE_RUNS: Final = _counter("ess_maintenance_runs", "Maintenance and compaction runs: done or failed", "outcome")
MAINTENANCE_SECONDS: Final = _histogram("ess_maintenance_seconds", "Duration of those runs", _WORK_S)
MAINTENANCE_MERGED: Final = _counter("ess_maintenance_merged_objects", "Objects that compaction replaced")
MAINTENANCE_MADE: Final = _counter("ess_maintenance_new_objects", "Objects that compaction made")
MAINTENANCE_EXPIRED: Final = _counter("ess_maintenance_expired_objects", "Objects that retention took out")
MAINTENANCE_DELETED: Final = _counter("ess_maintenance_deleted_objects", "Objects deleted as garbage")
MAINTENANCE_DELETED_BYTES: Final = _counter("ess_maintenance_deleted_bytes", "Bytes of those")

ALERT_EVALUATIONS: Final = _counter(
    "ess_alert_evaluations", "Evaluations of alert rules: complete, or incomplete (which change nothing)", "outcome"
)
ALERT_EVALUATION_SECONDS: Final = _histogram("ess_alert_evaluation_seconds", "Duration of those evaluations", _WORK_S)
ALERTS_ACTIVE: Final = _gauge("ess_alerts", "Alerts just now: pending or firing", "state")
ALERT_DELIVERIES: Final = _counter(
    "ess_alert_deliveries",
    "Messages to receivers of alerts: sent, failed (and sent again), given up",
    "receiver",
    "outcome",
)
ALERT_DELIVERY_SECONDS: Final = _histogram("ess_alert_delivery_seconds", "Sending one of those messages", _REQUEST_S)

Series = tuple[Metric, tuple[str, ...]]


class Tally:
    """One process's figures since it started. Change it on one thread; any other may take them."""

    def __init__(self) -> None:
        self.totals: dict[Series, float] = {}
        self.levels: dict[Series, float] = {}
        self.observed: deque[tuple[Metric, tuple[str, ...], float]] = deque(maxlen=MAX_OBSERVED)

    def count(self, metric: Metric, value: float = 1, *labels: str) -> None:
        """Add to a counter."""
        series = (metric, labels)
        self.totals[series] = self.totals.get(series, 0) + value

    def total(self, metric: Metric, value: float, *labels: str) -> None:
        """Set what a counter has come to, where somebody else counts."""
        self.totals[metric, labels] = value

    def set(self, metric: Metric, value: float, *labels: str) -> None:
        """Set a gauge."""
        self.levels[metric, labels] = value

    def observe(self, metric: Metric, value: float, *labels: str) -> None:
        """Add to a histogram."""
        self.observed.append((metric, labels, value))


def reason_class(reason: str) -> str:
    """Name what is wrong with a rejected event by one of few words: the field, `size`, or `other`."""
    first = reason.partition(" ")[0]
    if first in _FIELDS:
        return first
    return "size" if "larger than" in reason else "other"


def catalogue_table() -> str:
    """Write the catalogue as METRICS.md has it."""
    rows = [f"| `{m.exported}` | {m.kind} | {', '.join(m.labels)} | {m.help} |" for m in CATALOGUE]
    return "\n".join(["| metric | kind | labels | what it tells |", "|---|---|---|---|", *rows]) + "\n"


if __name__ == "__main__":
    print(catalogue_table(), end="")
