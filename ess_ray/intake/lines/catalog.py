"""Which formats there are, by the names that `--format` and the setting `push.parse` take."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final, Literal

from ess_ray.intake.lines.access import ACCESS, ALB, APACHE_ERROR, ELB, NGINX_ERROR
from ess_ray.intake.lines.databases import MYSQL, MYSQL_SLOW, POSTGRES
from ess_ray.intake.lines.joining import Quotes, Single, SlowQueries
from ess_ray.intake.lines.logfmt import LOGFMT
from ess_ray.intake.lines.loggers import JAVA, KLOG, PYTHON, RAILS, ZAP_CONSOLE
from ess_ray.intake.lines.syslog_lines import RFC3164, RFC5424
from ess_ray.intake.lines.tables import CSV, TSV, VPC_FLOW, W3C, Table
from ess_ray.intake.lines.text_format import TextFormat
from ess_ray.intake.lines.texts import Open, open_cri, open_docker
from ess_ray.intake.lines.traces import Indented, Joiner, Traces

Envelope = Literal["none", "container", "journal", "object"]


@dataclass(frozen=True, slots=True)
class Spec:
    """How a format is read. `envelope`: what a line is, besides a text; `opens` reads that of a container."""

    name: str
    read: TextFormat | Table | None = None
    joiner: Callable[[], Joiner] = Traces
    envelope: Envelope = "none"
    opens: Open | None = None


class _Objects(Traces):
    """Joins stack traces, none of which goes on with an object."""

    def __init__(self) -> None:
        super().__init__()
        self._is_object = False

    def begin(self, text: str) -> None:
        self._is_object = text.startswith("{")
        super().begin(text)

    def takes(self, text: str) -> bool | None:
        return False if self._is_object else super().takes(text)


TEXT: Final = "text"
"""Lines of no format that is known: one event each, but for stack traces."""
LINES: Final = "lines"
"""One event a line, whatever stands in it."""
JSON_LINES: Final = "json-lines"
JOURNAL_EXPORT: Final = "journald-export"

TEXT_FORMATS: Final = (
    *(ACCESS, ALB, ELB, RFC5424, RFC3164, POSTGRES, MYSQL, KLOG, ZAP_CONSOLE, RAILS, NGINX_ERROR, APACHE_ERROR),
    *(JAVA, PYTHON, LOGFMT),
)
"""In the order in which they are tried: the first of those that read as many lines."""


def _specs() -> Iterator[Spec]:
    yield Spec(LINES, joiner=Single)
    yield Spec(TEXT)
    yield Spec(JSON_LINES, joiner=_Objects, envelope="object")
    yield Spec("docker", envelope="container", opens=open_docker)
    yield Spec("cri", envelope="container", opens=open_cri)
    yield Spec(JOURNAL_EXPORT, joiner=Single, envelope="journal")
    for table in (CSV, TSV):
        yield Spec(table.name, table, Quotes)
    for table in (W3C, VPC_FLOW):
        yield Spec(table.name, table, Single)
    yield Spec(MYSQL_SLOW.name, MYSQL_SLOW, SlowQueries)
    for one in TEXT_FORMATS:
        yield Spec(one.name, one, Indented if one is POSTGRES else Traces)


SPECS: Final = {spec.name: spec for spec in _specs()}

ALSO_CALLED: Final = {
    **dict.fromkeys(
        ("zap", "slog", "zerolog", "pino", "bunyan", "journald", "windows", "mongodb", "logstash"), JSON_LINES
    ),
    **dict.fromkeys(("apache", "nginx", "combined", "common"), ACCESS.name),
    **dict.fromkeys(("logback", "log4j", "spring"), JAVA.name),
    **{"cloudtrail": "json", "iis": W3C.name, "ruby": RAILS.name, "syslog": RFC3164.name, "postgresql": POSTGRES.name},
}
"""Names of programs, and the form in which they write."""


def names() -> list[str]:
    """Give every name of a format of lines."""
    return sorted({*SPECS, *(name for name, form in ALSO_CALLED.items() if form in SPECS)})


def inner_formats() -> Iterable[TextFormat]:
    """Give the formats of what a container writes: those of programs, not of what collects them."""
    return (one for one in TEXT_FORMATS if one not in (RFC3164, RFC5424, ALB, ELB))
