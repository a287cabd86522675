"""The names under which clients send what is stored as a column, so that a query of such a name finds what it
became.
"""

from __future__ import annotations

from typing import Final

SENT_AS: Final[dict[str, tuple[str, ...]]] = {
    "message": ("msg", "log", "body", "_msg", "MESSAGE", "short_message", "event.original", "line", "text"),
    "timestamp": ("@timestamp", "time", "ts", "date", "_time", "__REALTIME_TIMESTAMP"),
    "level": ("severity_text", "severity", "log.level", "loglevel", "lvl", "PRIORITY"),
    "service": (
        *("service.name", "service_name", "app_name", "APP-NAME", "SYSLOG_IDENTIFIER", "container_name"),
        *("kubernetes.container_name", "app", "job", "ident"),
    ),
    "host": ("host.name", "hostname", "_HOSTNAME", "kubernetes.host", "kubernetes.node_name", "node_name", "instance"),
    "trace_id": ("traceId", "traceid", "trace.id", "dd.trace_id"),
    "span_id": ("spanId", "spanid", "span.id", "dd.span_id"),
}
"""By column, in the order in which they are looked at, after the column's own name. A name with dots stands for nested
objects and for the dotted key alike."""

LOKI_LEVELS: Final = ("detected_level",)
"""What Loki and its agents call a level, besides; in other protocols it is an attribute."""
HEC_SOURCE: Final = "source"
"""What an envelope of Splunk's calls where an event comes from; inside an event it is an attribute."""

COLUMN_OF: Final[dict[str, str]] = {
    **{name: column for column, names in SENT_AS.items() for name in names},
    **dict.fromkeys(LOKI_LEVELS, "level"),
    HEC_SOURCE: "service",
}
"""By such a name, the column. An event may have an attribute of that name all the same: only the first name that an
event has for a column is taken for it."""
