"""Each way in, from an agent's batch to columns: events a second of one CPU, the same events in every protocol.

In one process, without sockets and log: what differs between the protocols.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

from ess_ray.generate import events
from ess_ray.intake.fields import FIELD_TABLE
from ess_ray.intake.formats import gelf, syslog
from ess_ray.intake.formats.datadog import DATADOG
from ess_ray.intake.formats.elastic_bulk import ELASTIC_BULK
from ess_ray.intake.formats.format import Body, Format
from ess_ray.intake.formats.forward import ForwardEntries
from ess_ray.intake.formats.gelf_http import GELF_HTTP
from ess_ray.intake.formats.hec import COLLECTOR
from ess_ray.intake.formats.journal_export import JournalParser
from ess_ray.intake.formats.journald import JournalPiece
from ess_ray.intake.formats.json_events import JSON_EVENTS
from ess_ray.intake.formats.loki import LOKI_PUSH
from ess_ray.intake.formats.otlp import OTLP_LOGS
from ess_ray.intake.formats.syslog_frames import SyslogFrames
from ess_ray.intake.limits import IntakeLimits
from tests import forward, journal, loki
from tests.benchmarks.report import Row

NOW_US: Final = 1_790_000_000_000_000
LIMITS: Final = IntakeLimits()
TARGET_PER_S: Final = 100_000
SECONDS: Final = 0.5
"""Of each protocol in each round: some hundred batches of most."""
Event = dict[str, Any]


def measure(rounds: int, seconds: float = SECONDS) -> list[Row]:
    """Decode over and over; gives a row for each protocol, the median of the rounds."""
    rates: dict[str, list[float]] = {name: [] for name in WAYS}
    for _ in range(rounds):
        for name, (batch, make) in WAYS.items():
            rates[name].append(_rate(make(_events(batch)), batch, seconds))
    return [
        Row(name, f"{statistics.median(found):,.0f} events/s", f"{WAYS[name][0]:,} a batch; to reach: {TARGET_PER_S:,}")
        for name, found in rates.items()
    ]


def _rate(decode: Callable[[], int], batch: int, seconds: float) -> float:
    assert decode() == batch, "not all were read"
    count, begun_s = 0, time.process_time()
    while (taken_s := time.process_time() - begun_s) < seconds:
        count += decode()
    return count / taken_s


def _events(count: int) -> list[Event]:
    return [
        {name: value for name, value in each.items() if name != "timestamp"} for each in events(count, 1, NOW_US, 1)
    ]


def _body(form: Format, content: bytes, kind: str) -> Callable[[], int]:
    return lambda: len(form.decode(Body(content, kind), NOW_US, LIMITS).batch)


def _lines(values: Sequence[Any]) -> bytes:
    return b"\n".join(json.dumps(value).encode() for value in values) + b"\n"


def _others(event: Event) -> dict[str, str]:
    return {name: str(value) for name, value in event.items() if name not in ("message", "level", "service")}


def _otlp(made: Sequence[Event]) -> Callable[[], int]:
    request = ExportLogsServiceRequest()
    resource = request.resource_logs.add()
    resource.resource.attributes.add(key="service.name").value.string_value = "shop"
    logs = resource.scope_logs.add().log_records
    for event in made:
        record = logs.add(time_unix_nano=NOW_US * 1000, severity_text=event.get("level") or "INFO")
        record.body.string_value = event["message"]
        for name, value in _others(event).items():
            record.attributes.add(key=name).value.string_value = value
    return _body(OTLP_LOGS, request.SerializeToString(), "application/x-protobuf")


def _loki(made: Sequence[Event]) -> Callable[[], int]:
    entries: list[loki.Entry] = [(NOW_US * 1000, each["message"], _others(each)) for each in made]
    return _body(LOKI_PUSH, loki.as_protobuf([({"app": "shop", "level": "info"}, entries)]), "application/x-protobuf")


def _bulk(made: Sequence[Event]) -> Callable[[], int]:
    return _body(
        ELASTIC_BULK, _lines([each for event in made for each in ({"create": {}}, event)]), "application/x-ndjson"
    )


def _gelf(made: Sequence[Event]) -> list[Event]:
    return [
        {"version": "1.1", "host": "h", "short_message": event["message"], "level": 6}
        | {f"_{name}": value for name, value in _others(event).items()}
        for event in made
    ]


def _gelf_socket(made: Sequence[Event]) -> Callable[[], int]:
    messages = [syslog.Received(json.dumps(each).encode(), "192.0.2.7") for each in _gelf(made)]
    return lambda: len(gelf.decode(messages, NOW_US, LIMITS).batch)


def _syslog(made: Sequence[Event]) -> Callable[[], int]:
    texts = [f"<13>1 2026-09-21T10:00:00Z web-1 shop 1 - - {event['message']}".encode() for event in made]
    stream = b"".join(b"%d %b" % (len(text), text) for text in texts)

    def decode() -> int:
        frames = SyslogFrames().feed(stream)
        messages = [syslog.Received(each.content, "192.0.2.7", each.is_cut) for each in frames]
        return len(syslog.decode(messages, NOW_US, LIMITS).batch)

    return decode


def _forward(made: Sequence[Event]) -> Callable[[], int]:
    packed = forward.packed_entries([(forward.event_time(NOW_US * 1000), event) for event in made])
    return _body(ForwardEntries([("app", None)]), packed, "application/msgpack")


def _journald(made: Sequence[Event]) -> Callable[[], int]:
    text = b"".join(journal.usual(number + 1, event["message"]) for number, event in enumerate(made))

    def decode() -> int:
        parser = JournalParser()
        return len(JournalPiece(parser.feed(text) + parser.close()).decode(0, FIELD_TABLE, NOW_US, LIMITS).batch)

    return decode


def _as_lines(form: Format, made: Sequence[Event]) -> Callable[[], int]:
    return _body(form, _lines(made), "application/x-ndjson")


def _as_array(form: Format, made: Sequence[Event]) -> Callable[[], int]:
    return _body(form, json.dumps(made).encode(), "application/json")


WAYS: Final[dict[str, tuple[int, Callable[[Sequence[Event]], Callable[[], int]]]]] = {
    "/push/v1/events, array": (1_000, partial(_as_array, JSON_EVENTS)),
    "OTLP, protobuf (a collector's batch)": (8_192, _otlp),
    "bulk (Filebeat's)": (1_600, _bulk),
    "Loki, protobuf (Promtail's)": (1_000, _loki),
    "HEC (Fluent Bit's)": (
        1_000,
        lambda made: _body(COLLECTOR, _lines([{"event": e} for e in made]), "application/json"),
    ),
    "Datadog (the agent's)": (1_000, partial(_as_array, DATADOG)),
    "forward (Fluentd's)": (2_000, _forward),
    "journald (journal-upload's)": (1_000, _journald),
    "GELF over HTTP": (100, lambda made: _as_lines(GELF_HTTP, _gelf(made))),
    "GELF over TCP or UDP": (200, _gelf_socket),
    "syslog over TCP": (500, _syslog),
}
"""(events of a batch, what makes its decoder)."""
