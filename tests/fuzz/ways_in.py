"""Fuzzed decoders of what agents send: each reads anything, and loses nothing of what it takes.

Bodies: the only errors are those of a bad request; columns are valid; what is cut into pieces is what it is whole.
Streams: however the bytes are cut, the same comes out.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

from ess_ray.core.errors import BadRequest, EssError, TooLarge, Unsupported
from ess_ray.intake.decoded import Decoded
from ess_ray.intake.fields import FIELD_TABLE
from ess_ray.intake.formats import gelf, syslog
from ess_ray.intake.formats.datadog import DATADOG
from ess_ray.intake.formats.elastic_bulk import ELASTIC_BULK
from ess_ray.intake.formats.format import Body, Format
from ess_ray.intake.formats.forward import ForwardEntries
from ess_ray.intake.formats.forward_message import read_message
from ess_ray.intake.formats.forward_stream import ForwardStream
from ess_ray.intake.formats.gelf_chunks import MAGIC, GelfChunks
from ess_ray.intake.formats.gelf_http import GELF_HTTP
from ess_ray.intake.formats.hec import COLLECTOR
from ess_ray.intake.formats.journal_export import JournalParser
from ess_ray.intake.formats.journald import JournalPiece
from ess_ray.intake.formats.loki import LOKI_PUSH
from ess_ray.intake.formats.otlp import OTLP_LOGS
from ess_ray.intake.formats.syslog import Received
from ess_ray.intake.formats.syslog_frames import SyslogFrames
from ess_ray.intake.limits import IntakeLimits
from tests import forward, journal
from tests.loki import as_json, as_protobuf

NOW_US: Final = 1_790_000_000_000_000
LIMITS: Final = IntakeLimits()
JSON, PROTOBUF, LINES = "application/json", "application/x-protobuf", "application/x-ndjson"
EVENT: Final = {"message": "card declined", "level": "warn", "user": {"id": 7}, "ts": 1_790_000_000.5, "é": None}
Seeds = Callable[[], Iterator[bytes]]
Run = Callable[[bytes], None]


# ------------------------------------------------------------------------------------------------------------- bodies
def body(form: Format, kinds: Sequence[str | None], *seeds: tuple[int, bytes]) -> tuple[Seeds, Run]:
    """Fuzz what reads a body; the first byte says which content type it has."""

    def run(data: bytes) -> None:
        if not data:
            return
        read = Body(data[1:], kinds[data[0] % len(kinds)])
        try:
            whole = form.decode(read, NOW_US, LIMITS)
        except (BadRequest, Unsupported, TooLarge):
            return
        is_valid(whole)
        pieces = form.cut(read)
        parts = [pieces.decode(number, read.table, NOW_US, LIMITS) for number in range(len(pieces))]
        assert sum(len(part.batch) for part in parts) == len(whole.batch), "pieces hold other events than the whole"
        assert sum(len(part.rejected) for part in parts) == len(whole.rejected)

    return lambda: (bytes([number]) + content for number, content in seeds), run


def is_valid(decoded: Decoded) -> None:
    decoded.batch.validate(full=True)
    assert None not in decoded.batch.column("message").to_pylist()


def _otlp() -> bytes:
    request = ExportLogsServiceRequest()
    logs = request.resource_logs.add()
    logs.resource.attributes.add(key="service.name").value.string_value = "shop"
    for number in range(3):
        record = logs.scope_logs.add().log_records.add(time_unix_nano=(NOW_US + number) * 1000, severity_text="WARN")
        record.body.string_value = f"card {number}"
        record.attributes.add(key="user").value.kvlist_value.values.add(key="id").value.int_value = 7
    return bytes(request.SerializeToString())


def _otlp_json() -> bytes:
    record = {"timeUnixNano": str(NOW_US * 1000), "body": {"stringValue": "é"}, "traceId": "AB" * 16}
    attributes = [{"key": "a", "value": {"arrayValue": {"values": [{"intValue": "7"}, {"doubleValue": 0.5}]}}}]
    logs = {"scopeLogs": [{"scope": {"name": "s"}, "logRecords": [{**record, "attributes": attributes}, {}]}]}
    return json.dumps({"resourceLogs": [logs]}).encode()


STREAMS: Final = [({"app": "shop", "level": "warn"}, [(NOW_US * 1000, "one", {"user": "7"}), (NOW_US * 1000, "two")])]
LOKI_JSON: Final = as_json(STREAMS)  # type: ignore[arg-type]
LOKI_PROTOBUF: Final = as_protobuf(STREAMS)  # type: ignore[arg-type]
BULK: Final = b'{"create":{"_index":"web","_id":"1"}}\n%b\n{"delete":{"_id":"2"}}\n{"index":{}}\n%b\n' % (
    (json.dumps(EVENT).encode(),) * 2
)
HEC: Final = json.dumps({"event": EVENT, "time": 1_790_000_000.5, "fields": {"a": [1]}}).encode() * 2
DATADOG_LOG: Final = json.dumps([{**EVENT, "ddtags": "env:prod,x", "status": "error"}, {"message": {"a": 1}}]).encode()
GELF: Final = json.dumps({"short_message": "s", "full_message": "f", "_a": [1], "level": 3, "timestamp": 1.5}).encode()


# ------------------------------------------------------------------------------------------------------------ streams
def parts_of(data: bytes) -> tuple[bytes, list[bytes]]:
    """Give a stream and the same in parts, whose size is the first byte's."""
    stream, size = data[1:], 1 + (data[0] if data else 0)
    return stream, [stream[at : at + size] for at in range(0, len(stream), size)]


def syslog_stream(data: bytes) -> None:
    """Fuzz syslog over TCP."""
    stream, parts = parts_of(data)

    def frames(chunks: Sequence[bytes]) -> list[Any]:
        reader = SyslogFrames()
        found = [frame for chunk in chunks if not reader.is_broken for frame in reader.feed(chunk)]
        return found + list(reader.end())

    whole = frames([stream])
    assert frames(parts) == whole, "it depends on how the bytes are cut"
    decoded = syslog.decode([Received(each.content, "192.0.2.7", each.is_cut) for each in whole], NOW_US, LIMITS)
    is_valid(decoded)
    assert len(decoded.batch) + len(decoded.rejected) == len(whole), "a message has vanished"


def gelf_datagrams(data: bytes) -> None:
    """Fuzz GELF over UDP: each datagram has its length before it."""
    chunks, messages, at = GelfChunks(lambda: 0.0), [], 0
    while at < len(data):
        size = data[at]
        content = chunks.add("192.0.2.7", data[at + 1 : at + 1 + size])
        if content:
            messages.append(Received(content, "192.0.2.7"))
        at += 1 + size
    decoded = gelf.decode(messages, NOW_US, LIMITS)
    is_valid(decoded)
    assert len(decoded.batch) + len(decoded.rejected) == len(messages), "a message has vanished"


def forward_stream(data: bytes) -> None:
    """Fuzz the forward protocol."""
    stream, parts = parts_of(data)

    def messages(chunks: Sequence[bytes]) -> list[Any]:
        found: list[Any] = []
        reader = ForwardStream(1024 * 1024)
        try:
            for chunk in chunks:
                for elements in reader.feed(chunk):
                    found.append(elements)
        except EssError:
            found.append(None)
        return found

    whole = messages([stream])
    assert messages(parts) == whole, "it depends on how the bytes are cut"
    for elements in whole:
        if not elements:
            continue  # a heartbeat, or the end
        message = read_message(elements)
        if message.fault is None and message.encoding is None:
            try:
                is_valid(ForwardEntries([(message.tag, None)]).decode(Body(message.entries), NOW_US, LIMITS))
            except (BadRequest, TooLarge):
                continue


def journal_stream(data: bytes) -> None:
    """Fuzz an upload of the journal."""
    stream, parts = parts_of(data)

    def entries(chunks: Sequence[bytes]) -> list[Any]:
        found: list[Any] = []
        reader = JournalParser()
        try:
            for chunk in chunks:
                found += reader.feed(chunk)
            found += reader.close()
        except BadRequest:
            found += reader.finished()
            found.append(None)
        return found

    whole = entries([stream])
    assert entries(parts) == whole, "it depends on how the bytes are cut"
    found = [entry for entry in whole if entry is not None]
    decoded = JournalPiece(found).decode(0, FIELD_TABLE, NOW_US, LIMITS)
    is_valid(decoded)
    assert len(decoded.batch) + len(decoded.rejected) == len(found), "an entry has vanished"


def _forward_seeds() -> Iterator[bytes]:
    entries = [(forward.event_time(NOW_US * 1000), {"log": "one\n", "a": [1]}), (1_790_000_000, {"message": "two"})]
    for mode in forward.MODES:
        yield b"\x06" + forward.message(entries, mode, chunk="c")


def _syslog_seeds() -> Iterator[bytes]:
    yield b"\x05" + b'52 <34>1 2026-09-21T10:00:00Z h a 1 ID [x y="z"] m\n' + b"<13>Sep 21 10:00:00 h a[1]: m\n"
    yield b"\x02" + b"<189>123: *Mar  1 00:00:01: %SYS-5-X: y\0no priority\r\n9 <13>short"


def _gelf_seeds() -> Iterator[bytes]:
    yield bytes([len(GELF)]) + GELF
    halves = [MAGIC + b"12345678" + bytes([number, 2]) + GELF[number * 40 : 40 + number * 99] for number in (0, 1)]
    yield b"".join(bytes([len(half)]) + half for half in halves)


WAYS_IN: Final[dict[str, tuple[Seeds, Run]]] = {
    "otlp": body(OTLP_LOGS, (PROTOBUF, JSON), (0, _otlp()), (1, _otlp_json())),
    "loki": body(LOKI_PUSH, (PROTOBUF, JSON), (0, LOKI_PROTOBUF), (1, LOKI_JSON)),
    "bulk": body(ELASTIC_BULK, (LINES,), (0, BULK)),
    "hec": body(COLLECTOR, (JSON,), (0, HEC)),
    "datadog": body(DATADOG, (JSON,), (0, DATADOG_LOG)),
    "gelf_http": body(GELF_HTTP, (JSON, LINES), (0, GELF), (1, GELF + b"\n" + GELF)),
    "gelf_udp": (_gelf_seeds, gelf_datagrams),
    "syslog": (_syslog_seeds, syslog_stream),
    "forward": (_forward_seeds, forward_stream),
    "journald": (lambda: iter([b"\x09" + journal.usual(1, "two\nlines") + journal.usual(2)]), journal_stream),
}
